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
    images.store.list().expect("a list")
}

fn left_over(root: &Path) -> usize {
    std::fs::read_dir(root.join("images/tmp"))
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
    assert_eq!((digests(&images).len(), left_over(_folder.path())), (1, 0));
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
        (patched(text, &[7]), Refused::NoSegments),
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
    assert_eq!((digests(&images).len(), left_over(_folder.path())), (0, 0));
    let missing = images.open(&Digest::of(b"")).expect_err("missing");
    assert!(matches!(missing, ImageError::NotFound(_)));
}

/// What killed agents, and people, leave among the images stops neither a start nor a collection; old images go.
#[tokio::test]
async fn a_killed_agents_uploads_are_removed_and_a_stranger_stops_nothing() {
    let (folder, images) = images();
    let old = put(&images, &image("old"), 1 << 20).await.expect("stored");
    let temporary = folder.path().join("images/tmp");
    std::fs::write(temporary.join("left"), b"x").expect("write");
    std::fs::create_dir(temporary.join("mine")).expect("directory");
    let images = Images::new(folder.path().join("images")).expect("again");
    assert_eq!((digests(&images).len(), left_over(folder.path())), (1, 1));
    let hour = Duration::from_secs(3600);
    assert_eq!(images.remove_unreferenced(&|_| false, hour).freed_bytes, 0);
    let removed = images.remove_unreferenced(&|_| false, Duration::ZERO);
    assert!(removed.freed_bytes >= old.bytes);
    assert!(matches!(&removed.left[..], [StoreError::Stranger(path)] if path.ends_with("mine")));
    let gone = images.open(&old.digest);
    assert!(matches!(gone, Err(ImageError::NotFound(_))));
}

/// An image that was damaged on disk is not built into a snapshot.
#[tokio::test]
async fn a_damaged_image_is_told() {
    use std::os::unix::fs::{FileExt, PermissionsExt};

    let (_folder, images) = images();
    let stored = put(&images, &image("one"), 1 << 20).await.expect("stored");
    let (_, bytes) = images.open_whole(&stored.digest).expect("whole");
    assert_eq!(bytes, stored.bytes);
    let path = images.store.path(&stored.digest);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("mode");
    let file = File::options().write(true).open(&path).expect("open");
    file.write_all_at(b"x", stored.bytes - 1).expect("write");
    let error = images.open_whole(&stored.digest).expect_err("damaged");
    assert!(
        matches!(error, ImageError::Store(StoreError::WrongDigest { .. })),
        "{error}"
    );
}

#[tokio::test]
async fn nobody_else_reads_an_image() {
    use std::os::unix::fs::MetadataExt;

    let (folder, images) = images();
    let upload = images.upload(1 << 20).await.expect("upload");
    let mode = |path: &Path| std::fs::metadata(path).expect("there").mode() & 0o777;
    assert_eq!(mode(upload.new.path()), 0o400);
    drop(upload);
    let stored = put(&images, &image("one"), 1 << 20).await.expect("stored");
    let path = images.store.path(&stored.digest);
    assert_eq!(mode(&path), 0o400);
    for directory in [path.parent().expect("shard"), &folder.path().join("images")] {
        assert_eq!(mode(directory), 0o700);
    }
}
