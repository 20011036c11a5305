use jiffy_abi::{layout::IMAGE, note::Note};
use jiffy_image::{Image, ImageError as Refused};

use super::*;

/// Where the note is: behind the ELF header and two program headers.
const NOTE: u64 = 64 + 2 * 56;

/// The smallest image: a note, and some text.
pub(crate) fn image(name: &str) -> Vec<u8> {
    image_with(0, name)
}

/// The same with flags in its note.
pub(crate) fn image_with(flags: u32, name: &str) -> Vec<u8> {
    let note = Note::new(flags, "0.1.0", name, "1.2.3").to_bytes();
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    file.extend([2, 0, 62, 0, 1, 0, 0, 0]); // An executable for x86-64.
    for offset in [IMAGE, 64, 0] {
        file.extend(offset.to_le_bytes()); // Entry, program headers, sections.
    }
    file.extend([0; 4]);
    for half in [64_u16, 56, 2, 0, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    file.extend([4, 0, 0, 0, 4, 0, 0, 0]); // PT_NOTE, readable.
    let note_bytes = note.len() as u64;
    for value in [NOTE, 0, 0, note_bytes, note_bytes, 4] {
        file.extend(value.to_le_bytes());
    }
    file.extend([1, 0, 0, 0, 5, 0, 0, 0]); // PT_LOAD, readable and executable.
    for value in [NOTE, IMAGE, IMAGE, note_bytes, note_bytes, 1] {
        file.extend(value.to_le_bytes());
    }
    file.extend(note);
    file
}

fn images() -> (tempfile::TempDir, Images) {
    let folder = tempfile::tempdir().expect("folder");
    let images = Images::new(folder.path().join("images")).expect("images");
    (folder, images)
}

async fn put(images: &Images, bytes: &[u8], bytes_max: u64) -> Result<StoredImage, ImageError> {
    let mut upload = images.upload(bytes_max).await?;
    for piece in bytes.chunks(50) {
        upload.write(piece).await?;
    }
    upload.finish().await
}

fn digests(images: &Images) -> Vec<Digest> {
    let mut unread = vec![];
    let digests = images.list(&mut unread);
    assert!(unread.is_empty(), "{unread:?}");
    digests
}

fn left_over(images: &Images) -> usize {
    fs::read_dir(images.root.join(TEMPORARY))
        .expect("folder")
        .count()
}

#[tokio::test]
async fn an_image_is_stored_under_its_digest() {
    let (_folder, images) = images();
    let bytes = image("hello");
    for _ in 0..2 {
        let stored = put(&images, &bytes, bytes.len() as u64)
            .await
            .expect("stored");
        assert_eq!(stored.digest, Digest::of(&bytes));
        assert_eq!(stored.bytes, bytes.len() as u64);
        assert_eq!(
            (&*stored.note.function_name, &*stored.note.function_version),
            ("hello", "1.2.3")
        );
        let (mut file, len) = images.open(&stored.digest).expect("open");
        let mut read = vec![];
        io::Read::read_to_end(&mut file, &mut read).expect("read");
        assert_eq!((read, len), (bytes.clone(), stored.bytes));
    }
    assert_eq!((digests(&images).len(), left_over(&images)), (1, 0));
}

#[tokio::test]
async fn what_is_refused_leaves_nothing() {
    let (_folder, images) = images();
    let good = image("hello");
    let error = put(&images, &good, good.len() as u64 - 1)
        .await
        .expect_err("too large");
    assert!(matches!(error, ImageError::TooLarge(_)));
    let patched = |at: usize, bytes: &[u8]| {
        let mut file = good.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        file
    };
    let text = 64 + 56;
    let cases = [
        (vec![], Refused::NotElf),
        (b"#!/bin/sh".to_vec(), Refused::NotElf),
        (good[..100].to_vec(), Refused::Truncated),
        (patched(64, &[0]), Refused::NoNote),
        (patched(64 + 32, &[0xff; 8]), Refused::NoteDamaged),
        (patched(64 + 2 * 56 + 20, &[99]), Refused::AbiVersion(99)),
        // What had a note was taken, and only a VM could say that it cannot be run.
        (patched(18, &[183]), Refused::Machine(183)),
        (
            patched(text + 4, &[7]),
            Refused::WritableExecutable { address: IMAGE },
        ),
        (
            patched(text + 4, &[1]),
            Refused::Unreadable { address: IMAGE },
        ),
        (patched(text, &[7]), Refused::ThreadLocal),
        (patched(24, &[0; 8]), Refused::Entry(0)),
        (patched(56, &[17]), Refused::TooManyHeaders(17)),
    ];
    for (bytes, expected) in cases {
        match put(&images, &bytes, 1 << 20).await {
            Err(ImageError::NotAnImage(refused)) => {
                assert_eq!(refused, expected);
                assert_eq!(Image::parse(&bytes), Err(expected), "as a VMM says it");
            }
            other => panic!("{other:?}"),
        }
    }
    let mut dropped = images.upload(1 << 20).await.expect("upload");
    dropped.write(&good).await.expect("write");
    drop(dropped);
    assert_eq!((digests(&images).len(), left_over(&images)), (0, 0));
    let missing = images.open(&Digest::of(b"")).expect_err("missing");
    assert!(matches!(missing, ImageError::NotFound(_)));
}

#[tokio::test]
async fn only_old_and_unwanted_images_are_removed() {
    let (_folder, images) = images();
    let kept = put(&images, &image("kept"), 1 << 20)
        .await
        .expect("stored")
        .digest;
    let old = put(&images, &image("old"), 1 << 20).await.expect("stored");
    let hour = Duration::from_secs(3600);
    let keep = |digest: &Digest| *digest == kept;
    assert_eq!(images.remove_unreferenced(&keep, hour).freed_bytes, 0);
    let removed = images.remove_unreferenced(&keep, Duration::ZERO);
    assert_eq!(removed.freed_bytes, old.bytes);
    assert_eq!(digests(&images), [kept]);
    assert!(matches!(
        images.open(&old.digest),
        Err(ImageError::NotFound(_))
    ));
}

#[tokio::test]
async fn a_killed_agents_uploads_are_removed() {
    let (_folder, images) = images();
    fs::write(images.root.join(TEMPORARY).join("left"), b"x").expect("write");
    Images::new(&*images.root).expect("again");
    assert_eq!(left_over(&images), 0);
}

/// Whatever lies about among the images, what is garbage goes, and the agent starts.
#[tokio::test]
async fn a_stranger_stops_no_collection() {
    let (_folder, images) = images();
    let old = put(&images, &image("old"), 1 << 20).await.expect("stored");
    fs::write(images.root.join("notes"), b"mine").expect("write");
    let shard = images.path(&old.digest);
    let shard = shard.parent().expect("shard");
    fs::write(shard.join("notes"), b"mine").expect("write");
    let mut name = old.digest.to_string();
    name.replace_range(2.., &"0".repeat(62));
    fs::create_dir(shard.join(&name)).expect("directory");
    fs::create_dir(images.root.join(TEMPORARY).join("mine")).expect("directory");

    let removed = images.remove_unreferenced(&|_| false, Duration::ZERO);
    assert_eq!(removed.freed_bytes, old.bytes);
    assert!(matches!(&removed.left[..], [ImageError::Stranger(path)] if path.ends_with(&name)));
    assert_eq!(fs::read(images.root.join("notes")).expect("there"), b"mine");
    Images::new(&*images.root).expect("again");
}

#[tokio::test]
async fn nobody_else_reads_an_image() {
    use std::os::unix::fs::MetadataExt;

    let (_folder, images) = images();
    let upload = images.upload(1 << 20).await.expect("upload");
    let mode = |path: &Path| fs::metadata(path).expect("there").mode() & 0o777;
    assert_eq!(mode(&upload.temporary.0), 0o600);
    drop(upload);
    let stored = put(&images, &image("one"), 1 << 20).await.expect("stored");
    let path = images.path(&stored.digest);
    assert_eq!(mode(&path), 0o600);
    for directory in [path.parent().expect("shard"), &images.root] {
        assert_eq!(mode(directory), 0o700);
    }
}
