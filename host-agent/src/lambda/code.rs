//! Takes an image out of the zip file that a client of Lambda's API uploads.
//!
//! A zip file is hostile: what it says of its sizes is believed only as far as it refuses the file early; what counts
//! is what comes out, and that is cut at the limit.

use std::{
    borrow::Cow,
    io::{Cursor, Read},
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use jiffy_model::{EndsRequest, Outcome};
use jiffy_snapshots::Digest;
use zip::{CompressionMethod, ZipArchive, result::ZipError};

use crate::model::ZipFacts;

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
    #[error("cannot read ZipFile as a zip file: {0}")]
    Zip(#[from] ZipError),
    #[error("the zip file has {0} entries, more than {ENTRIES_MAX}: put only the image in it")]
    Entries(usize),
    #[error(
        "the zip file has several files and none is called {ENTRY_NAME}: call the image that, or put only it in"
    )]
    Ambiguous,
    #[error(
        "the zip file's {name} is compressed with {method}: make the zip file with deflate, which `zip` does by default, or without compression"
    )]
    Method { name: String, method: String },
    #[error("the zip file's {0} is encrypted: make the zip file without a password")]
    Encrypted(String),
    #[error("the zip file has no file in it: put the image in it")]
    Empty,
    #[error("the image has more than {0} bytes: make it smaller or raise image_bytes_max")]
    TooLarge(u64),
    #[error("the zip file is damaged: make it again")]
    Damaged(#[source] std::io::Error),
}

impl EndsRequest for CodeError {
    fn outcome(&self) -> Outcome {
        match self {
            Self::TooLarge(_) => Outcome::TooLarge,
            _ => Outcome::InvalidRequest,
        }
    }
}

/// The image in `zip_file`, which is a zip file in base64, and what is to be remembered of that. Blocks while it
/// decompresses.
pub(super) fn unpack(
    zip_file: &str,
    image_bytes_max: u64,
) -> Result<(Vec<u8>, ZipFacts), CodeError> {
    let bytes = BASE64.decode(without_whitespace(zip_file).as_bytes());
    let bytes = bytes.map_err(|_| CodeError::Base64)?;
    let facts = ZipFacts {
        sha256: Digest::of(&bytes),
        bytes: bytes.len() as u64,
    };
    Ok((image_in(bytes, image_bytes_max)?, facts))
}

fn image_in(bytes: Vec<u8>, image_bytes_max: u64) -> Result<Vec<u8>, CodeError> {
    let mut archive = ZipArchive::new(Cursor::new(bytes))?;
    if archive.len() > ENTRIES_MAX {
        return Err(CodeError::Entries(archive.len()));
    }
    let index = image_index(&mut archive)?;
    check_method(&mut archive, index)?;
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
        // `zip -r x.zip .` puts a folder before the name that means nothing.
        let mut name = entry.name_raw();
        while let Some(rest) = name.strip_prefix(b"./") {
            name = rest;
        }
        if name == ENTRY_NAME.as_bytes() {
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

/// Refuses what cannot be read because of how it was made, so that it is not taken for damaged.
fn check_method(archive: &mut ZipArchive<Cursor<Vec<u8>>>, index: usize) -> Result<(), CodeError> {
    let entry = archive.by_index_raw(index)?;
    let name = || String::from_utf8_lossy(entry.name_raw()).into_owned();
    if entry.encrypted() {
        return Err(CodeError::Encrypted(name()));
    }
    let method = entry.compression();
    if matches!(
        method,
        CompressionMethod::Stored | CompressionMethod::Deflated
    ) {
        return Ok(());
    }
    // The numbers are those of APPNOTE.TXT 4.4.5.
    #[expect(
        deprecated,
        reason = "the number is all that is known of a method that is not built in"
    )]
    let method = match method.to_u16() {
        9 => "Deflate64".into(),
        12 => "bzip2".into(),
        14 => "LZMA".into(),
        93 => "Zstandard".into(),
        95 => "xz".into(),
        98 => "PPMd".into(),
        number => format!("method {number}"),
    };
    Err(CodeError::Method {
        name: name(),
        method,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write;

    use zip::{ZipWriter, write::SimpleFileOptions};

    use super::*;

    fn image_of(zip_file: &str, image_bytes_max: u64) -> Result<Vec<u8>, CodeError> {
        unpack(zip_file, image_bytes_max).map(|(image, _)| image)
    }

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
        let two: [(&str, &[u8]); 2] = [("a", b"1"), ("././bootstrap", b"2")];
        assert_eq!(check(&two).expect("image"), b"2");
        let two: [(&str, &[u8]); 2] = [("a", b"1"), ("d/bootstrap", b"2")];
        assert!(matches!(check(&two), Err(CodeError::Ambiguous)));
        assert!(matches!(check(&[]), Err(CodeError::Empty)));
        let names: Vec<_> = (0..=ENTRIES_MAX).map(|n| n.to_string()).collect();
        let many: Vec<_> = names.iter().map(|name| (&**name, &b""[..])).collect();
        assert!(matches!(check(&many), Err(CodeError::Entries(65))));
    }

    /// Made by Python's `zipfile`: a file `bootstrap` that holds `image`.
    const BZIP2: &str = "UEsDBC4AAAAMAAAAIQBfBD3FKAAAAAUAAAAJAAAAYm9vdHN0cmFwQlpoOTFBWSZTWXaAKk4AAAGBACKiIAAhhoGaDFNxdyRThQkHaAKk4FBLAQIuAy4AAAAMAAAAIQBfBD3FKAAAAAUAAAAJAAAAAAAAAAAAAACAAQAAAABib290c3RyYXBQSwUGAAAAAAEAAQA3AAAATwAAAAAA";
    const LZMA: &str = "UEsDBD8AAgAOAAAAIQBfBD3FGAAAAAUAAAAJAAAAYm9vdHN0cmFwCQQFAF0AAIAAADSbSEdXEHoOx//8LzAAUEsBAj8DPwACAA4AAAAhAF8EPcUYAAAABQAAAAkAAAAAAAAAAAAAAIABAAAAAGJvb3RzdHJhcFBLBQYAAAAAAQABADcAAAA/AAAAAAA=";

    #[test]
    fn a_method_that_is_not_taken_is_named() {
        for (zip_file, name) in [(BZIP2, "bzip2"), (LZMA, "LZMA")] {
            let error = image_of(zip_file, 100).expect_err("not taken");
            assert!(
                matches!(&error, CodeError::Method { method, .. } if method == name),
                "{error}"
            );
            let text = error.to_string();
            assert!(
                text.contains("deflate") && text.contains("bootstrap"),
                "{text}"
            );
        }
        // The flag that says so, in both headers.
        let mut bytes = BASE64
            .decode(zip_of(&[("bootstrap", b"image")]))
            .expect("base64");
        for signature in [b"PK\x03\x04", b"PK\x01\x02"] {
            let start = bytes.windows(4).position(|window| window == signature);
            let flags = if signature[2] == 3 { 6 } else { 8 };
            bytes[start.expect("a header") + flags] |= 1;
        }
        let error = image_of(&BASE64.encode(&bytes), 100).expect_err("encrypted");
        assert!(
            matches!(&error, CodeError::Encrypted(name) if name == "bootstrap"),
            "{error}"
        );
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
