use jiffy_abi::note::Note;

use super::*;

/// A little-endian ELF file for 64 bits whose one program header is a segment of notes.
pub(crate) fn image(name: &str) -> Vec<u8> {
    let note = Note::new(0, "0.1.0", name, "1.2.3").to_bytes();
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    file.extend([2, 0, 62, 0, 1, 0, 0, 0]); // An executable for x86-64.
    for offset in [0_u64, 64, 0] {
        file.extend(offset.to_le_bytes()); // Entry, program headers, sections.
    }
    file.extend([0; 4]);
    for half in [64_u16, 56, 1, 0, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    file.extend([4, 0, 0, 0, 4, 0, 0, 0]); // PT_NOTE, readable.
    let note_bytes = note.len() as u64;
    for value in [120, 0, 0, note_bytes, note_bytes, 4] {
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
    assert_eq!(
        (images.list().expect("list").len(), left_over(&images)),
        (1, 0)
    );
}

#[tokio::test]
async fn what_is_refused_leaves_nothing() {
    let (_folder, images) = images();
    let good = image("hello");
    let error = put(&images, &good, good.len() as u64 - 1)
        .await
        .expect_err("too large");
    assert!(matches!(error, ImageError::TooLarge(_)));
    let mut other_abi = good.clone();
    other_abi[120 + 20] = 99;
    let mut no_note = good.clone();
    no_note[64] = 1;
    let mut endless = good.clone();
    endless[64 + 32..64 + 40].copy_from_slice(&u64::MAX.to_le_bytes());
    type Case<'a> = (&'a [u8], fn(&NoteProblem) -> bool);
    let cases: [Case<'_>; 6] = [
        (b"", |problem| matches!(problem, NoteProblem::NotElf)),
        (b"#!/bin/sh", |problem| {
            matches!(problem, NoteProblem::NotElf)
        }),
        (&good[..100], |problem| {
            matches!(problem, NoteProblem::NotElf)
        }),
        (&no_note, |problem| matches!(problem, NoteProblem::NoNote)),
        (&endless, |problem| matches!(problem, NoteProblem::NoNote)),
        (&other_abi, |problem| {
            matches!(problem, NoteProblem::AbiVersion(99))
        }),
    ];
    for (bytes, expected) in cases {
        match put(&images, bytes, 1 << 20).await {
            Err(ImageError::NotAnImage(problem)) => assert!(expected(&problem), "{problem:?}"),
            other => panic!("{other:?}"),
        }
    }
    let mut dropped = images.upload(1 << 20).await.expect("upload");
    dropped.write(&good).await.expect("write");
    drop(dropped);
    assert_eq!(
        (images.list().expect("list").len(), left_over(&images)),
        (0, 0)
    );
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
    assert_eq!(images.remove_unreferenced(&keep, hour).expect("young"), 0);
    let freed = images
        .remove_unreferenced(&keep, Duration::ZERO)
        .expect("old");
    assert_eq!(freed, old.bytes);
    assert_eq!(images.list().expect("list"), [kept]);
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
