//! Whom TLS trusts: the authorities of the system, and those of the operator.

use std::{
    io,
    path::Path,
    sync::{Arc, OnceLock},
};

use rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};

/// Bytes of a file of certificates at most.
const CA_FILE_BYTES_MAX: u64 = 4 << 20;

/// What a client of TLS needs.
#[derive(Debug)]
pub(crate) struct Tls {
    /// Of the operator's authorities.
    certificates: Vec<CertificateDer<'static>>,
    /// Made for the first connection: reading the system's authorities takes milliseconds, and most functions call nothing.
    config: OnceLock<Arc<ClientConfig>>,
}

impl Tls {
    /// Reads the operator's authorities, if there are any.
    pub(crate) fn new(ca_file: Option<&Path>) -> io::Result<Self> {
        let certificates = ca_file.map_or(Ok(vec![]), read)?;
        Ok(Self {
            certificates,
            config: OnceLock::new(),
        })
    }

    /// What a connection is made with.
    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(self.config.get_or_init(|| Arc::new(self.make())))
    }

    fn make(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        // One that cannot be read is not trusted, and that is all.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots.add_parsable_certificates(self.certificates.iter().cloned());
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions();
        let builder = builder.expect("ring knows the versions that rustls takes by default");
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        // A session that is resumed ties two functions together in their server's eyes. Connections are kept instead.
        config.resumption = Resumption::disabled();
        config
    }
}

fn read(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let named = |error: &dyn std::fmt::Display| {
        io::Error::other(format!("cannot use {}: {error}", path.display()))
    };
    let text = jiffy_files::read_text(path, CA_FILE_BYTES_MAX).map_err(|error| named(&error))?;
    let all = CertificateDer::pem_slice_iter(text.as_bytes());
    let all: Vec<_> = all
        .collect::<Result<_, _>>()
        .map_err(|error| named(&error))?;
    match all.is_empty() {
        true => Err(named(&"it has no certificate in PEM")),
        false => Ok(all),
    }
}
