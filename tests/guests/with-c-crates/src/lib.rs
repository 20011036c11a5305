//! Uses crates that compile C. What they make of an event is the same in a VM and on the host: `expected.txt`.

use std::io::{Read, Write};

use flate2::{Compression, read::ZlibDecoder, write::ZlibEncoder};
use ring::{
    digest, hmac,
    signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Digests, signatures and archives of `event`, which come back as it.
fn made_of(event: &[u8]) -> Result<String, Box<dyn std::error::Error>> {
    let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).map_err(|error| error.to_string())?;
    let signature = key.sign(event);
    let public = UnparsedPublicKey::new(&ED25519, key.public_key().as_ref());
    public
        .verify(event, signature.as_ref())
        .map_err(|error| error.to_string())?;
    let is_forged = public.verify(b"another", signature.as_ref()).is_err();
    let digest = digest::digest(&digest::SHA512, event);
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"key"), event);

    let archive = zstd::encode_all(event, 3)?;
    let back = zstd::decode_all(&*archive)?;
    let mut encoder = ZlibEncoder::new(vec![], Compression::best());
    encoder.write_all(event)?;
    let deflated = encoder.finish()?;
    let mut inflated = vec![];
    ZlibDecoder::new(&*deflated).read_to_end(&mut inflated)?;
    let cut = ZlibDecoder::new(&deflated[..deflated.len() / 2]).read_to_end(&mut vec![]);

    Ok(format!(
        "signature {}, forged {is_forged}\nsha512 {}\nhmac {}\nzstd {} {}\nzlib {} {} cut {}\n",
        hex(signature.as_ref()),
        hex(digest.as_ref()),
        hex(tag.as_ref()),
        hex(&archive),
        back == event,
        hex(&deflated),
        inflated == event,
        cut.is_err(),
    ))
}

/// What is made of the event.
#[jiffy::function]
pub fn handler(event: &[u8]) -> Result<Vec<u8>, jiffy::Error> {
    let made = made_of(event).map_err(jiffy::Error::msg)?;
    Ok(made.into_bytes())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_host_makes_what_is_expected() {
        let event = include_str!("lib.rs")
            .split_once('\n')
            .expect("a line")
            .0
            .repeat(20);
        let outcome = jiffy::testing::call!().event(&event).run();
        assert_eq!(outcome.text(), include_str!("../expected.txt"));
    }
}
