use super::*;

fn check(program: &str, times: u64) -> Found {
    let symbolizer = Symbolizer::new(program.into());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let function = "f".parse().expect("a name");
    let frames = |first: u64| {
        let image = tempfile::tempfile().expect("a file");
        let backtrace = Backtrace(vec![first, 0x20_1000]);
        runtime.block_on(symbolizer.frames(
            &function,
            Digest::of(b"image"),
            &backtrace,
            Innermost::Return,
            async { Some(image) },
        ))
    };
    for number in 1..times {
        frames(0x20_0000 + number);
    }
    frames(0x20_0000)
}

#[test]
fn without_a_reader_addresses_stay() {
    for program in ["/does/not/exist", "/bin/false", "/bin/echo"] {
        let found = check(program, 1);
        let addresses: Vec<_> = found.frames.iter().map(|frame| frame.address).collect();
        assert_eq!(addresses, [0x20_0000, 0x20_1000], "{program}");
        assert_eq!(found.note, None);
    }
}

/// Each time somewhere else, and the reader computes as long as it may.
#[test]
fn a_function_that_breaks_all_the_time_gets_no_more_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("busy");
    std::fs::write(&program, "#!/bin/sh\nulimit -t 1\nwhile :; do :; done\n").expect("a script");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&program, mode).expect("executable");
    let began = Instant::now();
    let found = check(program.to_str().expect("UTF-8"), 200);
    assert!(began.elapsed() < Duration::from_secs(60));
    assert_eq!(found.frames.len(), 2);
    let note = found.note.expect("why");
    assert!(note.contains("500 ms of CPU time a minute"), "{note}");
}
