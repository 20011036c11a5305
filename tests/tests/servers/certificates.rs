//! An authority that nobody knows but who is told, and its certificate for localhost.

use std::{fs, path::Path};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

/// Makes the authority, `ca.pem`, and its certificate, `server.pem` with `key.pem`.
pub(crate) fn certificates(folder: &Path) {
    let write = |name: &str, text: String| {
        fs::write(folder.join(name), text).expect("written");
    };
    let mut authority = CertificateParams::new(vec![]).expect("parameters");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let certificate = authority.self_signed(&key).expect("a certificate");
    write("ca.pem", certificate.pem());
    let issuer = Issuer::new(authority, key);
    let key = KeyPair::generate().expect("a key");
    let server = CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
    let certificate = server.signed_by(&key, &issuer).expect("a certificate");
    write("server.pem", certificate.pem());
    write("key.pem", key.serialize_pem());
}
