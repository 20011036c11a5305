//! Keys, and what they seal: XChaCha20-Poly1305, a random nonce, then ciphertext and tag.

use chacha20poly1305::{
    XChaCha20Poly1305, XNonce,
    aead::{Aead as _, KeyInit as _, Payload},
};
use rustix::rand::{GetRandomFlags, getrandom};
use zeroize::Zeroizing;

use crate::{Clear, SecretsError};

pub(crate) const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;

/// A key, which is wiped when it is dropped.
#[derive(Clone)]
pub(crate) struct Key(Zeroizing<[u8; KEY_BYTES]>);

impl From<Zeroizing<[u8; KEY_BYTES]>> for Key {
    fn from(bytes: Zeroizing<[u8; KEY_BYTES]>) -> Self {
        Self(bytes)
    }
}

impl Key {
    pub(crate) fn random() -> Result<Self, SecretsError> {
        let mut bytes: Zeroizing<[u8; KEY_BYTES]> = Zeroizing::default();
        fill_random::<KEY_BYTES>(&mut bytes)?;
        Ok(Self(bytes))
    }

    pub(crate) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// Encrypts `clear`; it opens as `what` and as nothing else.
    pub(crate) fn seal(&self, what: &str, clear: &[u8]) -> Result<Vec<u8>, SecretsError> {
        let mut nonce = [0; NONCE_BYTES];
        fill_random(&mut nonce)?;
        let payload = Payload {
            msg: clear,
            aad: what.as_bytes(),
        };
        let sealed = self.cipher().encrypt(&XNonce::from(nonce), payload);
        // Only what has gigabytes cannot be sealed.
        let sealed = sealed.map_err(|_| SecretsError::Bytes(clear.len()))?;
        Ok([&nonce[..], &sealed].concat())
    }

    /// What was sealed as `what` by this key; `None` if it was not, or was changed.
    pub(crate) fn open(&self, what: &str, sealed: &[u8]) -> Option<Clear> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>()?;
        let payload = Payload {
            msg: sealed,
            aad: what.as_bytes(),
        };
        let opened = self.cipher().decrypt(&XNonce::from(*nonce), payload);
        opened.ok().map(Clear::from)
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(self.bytes().into())
    }
}

/// Up to 256 bytes come at once.
fn fill_random<const N: usize>(bytes: &mut [u8; N]) -> Result<(), SecretsError> {
    match getrandom(&mut bytes[..], GetRandomFlags::empty()) {
        Ok(read) if read == N => Ok(()),
        _ => Err(SecretsError::Random),
    }
}
