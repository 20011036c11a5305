//! Takes an image out of the zip file that a client of Lambda's API uploads.
//!
//! A zip file is hostile: what it says of its sizes is believed only as far as it refuses the file early; what counts
//! is what comes out, and that is cut at the limit.

use std::{
    borrow::Cow,
    io::{Cursor, Read},
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use zip::{ZipArchive, result::ZipError};

/// Entries of a zip file at most.
pub const ENTRIES_MAX: usize = 64;
/// The entry that is the image if there are several.
pub const ENTRY_NAME: &str = "bootstrap";

/// Why there is no image. Blames the client.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum CodeError {
    #[error("ZipFile is not base64: encode the zip file")]
    Base64,
    #[error("ZipFile is no zip file that can be read: {0}")]
    Zip(#[from] ZipError),
    #[error("the zip file has {0} entries, more than {ENTRIES_MAX}: put only the image in it")]
    Entries(usize),
    #[error(
        "the zip file has several files and none is called {ENTRY_NAME}: call the image that, or put only it in"
    )]
    Ambiguous,
    #[error("the zip file has no file in it: put the image in it")]
    Empty,
    #[error("the image has more than {0} bytes: make it smaller or raise image_bytes_max")]
    TooLarge(u64),
    #[error("the zip file is damaged: make it again")]
    Damaged(#[source] std::io::Error),
}

/// The image in `zip_file`, which is a zip file in base64. Blocks while it decompresses.
pub(super) fn image_of(zip_file: &str, image_bytes_max: u64) -> Result<Vec<u8>, CodeError> {
    let bytes = BASE64.decode(without_whitespace(zip_file).as_bytes());
    let bytes = bytes.map_err(|_| CodeError::Base64)?;
    let mut archive = ZipArchive::new(Cursor::new(bytes))?;
    if archive.len() > ENTRIES_MAX {
        return Err(CodeError::Entries(archive.len()));
    }
    let index = image_index(&mut archive)?;
    let entry = archive.by_index(index)?;
    if entry.size() > image_bytes_max {
        return Err(CodeError::TooLarge(image_bytes_max));
    }
    let mut image = Vec::new();
    let mut limited = entry.take(image_bytes_max.saturating_add(1));
    limited
        .read_to_end(&mut image)
        .map_err(CodeError::Damaged)?;
    if image.len() as u64 > image_bytes_max {
        return Err(CodeError::TooLarge(image_bytes_max));
    }
    Ok(image)
}

/// Some encoders break lines.
fn without_whitespace(text: &str) -> Cow<'_, str> {
    if text.contains(['\r', '\n']) {
        Cow::Owned(text.replace(['\r', '\n'], ""))
    } else {
        Cow::Borrowed(text)
    }
}

/// The only file, or the one with the name.
fn image_index(archive: &mut ZipArchive<Cursor<Vec<u8>>>) -> Result<usize, CodeError> {
    let mut only = None;
    let mut files = 0;
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index)?;
        if entry.is_dir() {
            continue;
        }
        if entry.name_raw() == ENTRY_NAME.as_bytes() {
            return Ok(index);
        }
        files += 1;
        only = Some(index);
    }
    match files {
        0 | 1 => only.ok_or(CodeError::Empty),
        _ => Err(CodeError::Ambiguous),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write;

    use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

    use super::*;

    /// A zip file in base64.
    pub(in crate::lambda) fn zip_of(entries: &[(&str, &[u8])]) -> String {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default();
        for (name, bytes) in entries {
            if name.ends_with('/') {
                writer.add_directory(*name, options).expect("directory");
                continue;
            }
            let options = options.compression_method(CompressionMethod::Deflated);
            writer.start_file(*name, options).expect("entry");
            writer.write_all(bytes).expect("content");
        }
        BASE64.encode(writer.finish().expect("end").into_inner())
    }

    #[test]
    fn the_only_file_or_the_one_with_the_name_is_taken() {
        let check = |entries: &[(&str, &[u8])]| image_of(&zip_of(entries), 100);
        assert_eq!(check(&[("any.elf", b"1")]).expect("image"), b"1");
        assert_eq!(check(&[("d/", b""), ("d/x", b"1")]).expect("image"), b"1");
        let two: [(&str, &[u8]); 2] = [("a", b"1"), ("bootstrap", b"2")];
        assert_eq!(check(&two).expect("image"), b"2");
        let two: [(&str, &[u8]); 2] = [("a", b"1"), ("b", b"2")];
        assert!(matches!(check(&two), Err(CodeError::Ambiguous)));
        assert!(matches!(check(&[]), Err(CodeError::Empty)));
        let names: Vec<_> = (0..=ENTRIES_MAX).map(|n| n.to_string()).collect();
        let many: Vec<_> = names.iter().map(|name| (&**name, &b""[..])).collect();
        assert!(matches!(check(&many), Err(CodeError::Entries(65))));
    }

    #[test]
    fn a_bomb_is_cut_at_the_limit() {
        let bomb = zip_of(&[("bootstrap", &vec![0; 1 << 20])]);
        assert!(bomb.len() < 1 << 12);
        assert!(image_of(&bomb, 1 << 20).is_ok());
        let refused = image_of(&bomb, (1 << 20) - 1);
        assert!(matches!(refused, Err(CodeError::TooLarge(_))));
    }

    /// The size in both headers is a lie: what comes out is what counts.
    #[test]
    fn a_bomb_that_lies_about_its_size_is_cut_too() {
        let mut bytes = BASE64
            .decode(zip_of(&[("bootstrap", &vec![0; 1 << 20])]))
            .expect("base64");
        let size = (1_u32 << 20).to_le_bytes();
        for start in 0..bytes.len() - 4 {
            if bytes[start..start + 4] == size {
                bytes[start..start + 4].copy_from_slice(&10_u32.to_le_bytes());
            }
        }
        let image = image_of(&BASE64.encode(&bytes), 1 << 10);
        assert!(image.is_err() || image.is_ok_and(|image| image.len() <= 1 << 10));
    }

    #[test]
    fn damage_is_refused() {
        assert!(matches!(image_of("%", 1), Err(CodeError::Base64)));
        assert!(matches!(image_of("", 1), Err(CodeError::Zip(_))));
        let whole = zip_of(&[("bootstrap", b"some text that is long enough to be cut")]);
        let broken_lines = whole.replacen('U', "U\r\n", 1);
        assert!(image_of(&broken_lines, 100).is_ok());
        let bytes = BASE64.decode(whole).expect("base64");
        for index in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[index] ^= 0xff;
            // Some bytes, such as a time stamp, mean nothing here.
            let _ = image_of(&BASE64.encode(&damaged), 100);
            let cut = image_of(&BASE64.encode(&bytes[..index]), 100);
            assert!(cut.is_err(), "cut at {index}");
        }
    }
}
