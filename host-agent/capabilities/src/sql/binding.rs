//! What a password is bound to: the certificate of the server that it is given to, so that no other can pass it on. `tls-server-end-point`
//! of RFC 5929: the certificate's digest by the function that it was signed with.

use std::{
    future::{Ready, ready},
    io,
};

use sha2::{Digest, Sha256, Sha384, Sha512};
use tokio_postgres::tls::{TlsConnect, TlsStream};

/// Of DER: a sequence, and an object identifier.
const SEQUENCE: u8 = 0x30;
const OBJECT: u8 = 0x06;
/// The beginnings of what names signatures by RSA and by ECDSA; what is behind them is the digest.
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04];

/// What stands for a certificate; `None` if that is not known of its signature.
pub(super) fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let (whole, _) = element(certificate, SEQUENCE)?;
    let (_, rest) = element(whole, SEQUENCE)?;
    let (algorithm, _) = element(rest, SEQUENCE)?;
    let (object, _) = element(algorithm, OBJECT)?;
    let digest = match (object.strip_prefix(RSA), object.strip_prefix(ECDSA)) {
        // MD5 and SHA-1 are taken for SHA-256.
        (Some([4 | 5 | 11]), _) | (_, Some([1] | [3, 2])) => Sha256::digest(certificate).to_vec(),
        (Some([12]), _) | (_, Some([3, 3])) => Sha384::digest(certificate).to_vec(),
        (Some([13]), _) | (_, Some([3, 4])) => Sha512::digest(certificate).to_vec(),
        _ => return None,
    };
    Some(digest)
}

/// The inside of a first element of this kind, and what is behind it.
fn element(der: &[u8], kind: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, short], rest) = der.split_first_chunk()?;
    let (bytes, rest) = match short {
        0..0x80 => (usize::from(short), rest),
        _ => {
            let (long, rest) = rest.split_at_checked(usize::from(short - 0x80))?;
            let is_long = (1..=4).contains(&long.len());
            let bytes = long
                .iter()
                .fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
            (usize::try_from(bytes).ok().filter(|_| is_long)?, rest)
        }
    };
    (found == kind).then(|| rest.split_at_checked(bytes))?
}

/// Takes a stream as it is: TLS was made before, where it is.
pub(super) struct AsItIs;

impl<S: TlsStream + Unpin> TlsConnect<S> for AsItIs {
    type Stream = S;
    type Error = io::Error;
    type Future = Ready<io::Result<S>>;

    fn connect(self, stream: S) -> Self::Future {
        ready(Ok(stream))
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    #[test]
    fn a_certificate_is_taken_by_the_digest_of_its_signature() {
        let mut makes = [
            (&rcgen::PKCS_ECDSA_P256_SHA256, 32),
            (&rcgen::PKCS_ECDSA_P384_SHA384, 48),
        ]
        .into_iter()
        .map(|(algorithm, bytes)| {
            let key = KeyPair::generate_for(algorithm).expect("a key");
            let certificate = CertificateParams::new(vec!["localhost".to_owned()]);
            let certificate = certificate.expect("parameters").self_signed(&key);
            (certificate.expect("a certificate").der().to_vec(), bytes)
        });
        let (der, _) = makes.next().expect("one");
        assert_eq!(end_point(&der), Some(Sha256::digest(&der).to_vec()));
        for (der, bytes) in makes {
            assert_eq!(end_point(&der).expect("known").len(), bytes);
        }
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("a key");
        let certificate = CertificateParams::new(vec![]).expect("parameters");
        let certificate = certificate.self_signed(&key).expect("a certificate");
        assert_eq!(end_point(certificate.der()), None);
        // What is cut off or something else is not known, and that is all.
        for end in 0..der.len() - 1 {
            let _ = end_point(&der[..end]);
        }
        for wrong in [&b""[..], &[0x30], &[0x30, 0xff], &[0x30, 0x80], &[0x30; 40]] {
            assert_eq!(end_point(wrong), None);
        }
    }
}
