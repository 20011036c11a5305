//! Images with as much data and text as honest programs have: they boot in every VM that has room for them, are
//! captured and restored, and answer over HTTP.

mod agent_common;

use std::{fs, path::Path, process::Command};

use agent_common::can_run;
use jiffy_abi::layout::RAM_BYTES_MAX;
use jiffy_tests::{agent::Setup, image, jiffy, require_kvm, vmm_path};
use serde_json::json;

/// A function, the least RAM that holds it, MiB, and what it answers.
const LARGE: [(&str, u64, &str); 2] = [
    // Zero at first, and not in the file.
    ("large-data", 88, "86"),
    // In the file and in RAM, but never twice in the VM's memory, of which it is most.
    ("large-text", 60, "a"),
];

/// What a command said that has to succeed.
fn answer(command: &mut Command) -> String {
    let output = command.output().expect("a program");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn much_data_and_text_boot_and_answer() {
    if !require_kvm() {
        return;
    }
    for (function, mib, expected) in LARGE {
        for memory in [&*format!("{mib}M"), "3G"] {
            let mut run = jiffy();
            run.arg("run").arg(image(function)).args(["--event", "a"]);
            let said = answer(run.args(["--timeout", "20s", "--memory", memory]));
            assert_eq!(said, expected, "{function} in {memory}");
        }
        let mut vmm = Command::new(vmm_path());
        vmm.arg(image(function))
            .args(["--event", "a", "--timeout-ms", "20000"]);
        assert_eq!(
            answer(vmm.args(["--memory", &(mib << 20).to_string()])),
            expected
        );
        let mut run = jiffy();
        let run = run.arg("run").arg(image(function)).args(["--event", "a"]);
        let refused = run.args(["--memory", "32M"]).output().expect("a program");
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(8), "{said}");
        assert!(
            said.contains("needs at least") && said.contains("--memory"),
            "{said}"
        );
    }
}

/// Every size of data that the largest VM has room for, not only what a linker lets through.
#[test]
fn data_up_to_the_largest_memory_boot_and_answer() {
    if !require_kvm() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("image.elf");
    for (data_bytes, memory) in [
        (63 << 20, "66M"),
        (1_000 << 20, "1004M"),
        (RAM_BYTES_MAX - (4 << 20), "3G"),
    ] {
        fs::write(&path, with_data(&image("hello"), data_bytes)).expect("an image");
        let mut run = jiffy();
        run.arg("run")
            .arg(&path)
            .args(["--event", r#"{"name":"Ada"}"#]);
        let said = answer(run.args(["--memory", memory]));
        assert!(said.contains("Ada"), "{data_bytes}: {said}");
    }
}

/// The image with `bytes` of data, most of which are zero and not in the file.
fn with_data(image: &Path, bytes: u64) -> Vec<u8> {
    const PT_LOAD: u32 = 1;
    const READ_WRITE: u32 = 6;
    let mut file = fs::read(image).expect("an image");
    let number = |at: usize| u64::from_le_bytes(file[at..at + 8].try_into().expect("8 bytes"));
    let headers = usize::try_from(number(32)).expect("small");
    let is_data = |at: &usize| {
        let kind = u64::from(PT_LOAD) | u64::from(READ_WRITE) << 32;
        number(*at) == kind && number(at + 32) > 0
    };
    let data = (headers..).step_by(56).take(5).find(is_data);
    let memory_bytes = data.expect("a segment of data") + 40;
    file[memory_bytes..memory_bytes + 8].copy_from_slice(&bytes.to_le_bytes());
    file
}

#[test]
fn a_large_image_is_captured_and_restored() {
    if !require_kvm() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (function, mib, expected) in LARGE {
        let snapshot = folder.path().join(function);
        let mut create = jiffy();
        create.args(["snapshot", "create"]).arg(image(function));
        let memory = format!("{mib}M");
        answer(create.args(["--memory", &memory, "-o"]).arg(&snapshot));
        let mut run = jiffy();
        run.args(["run", "--event", "a", "--timeout", "20s", "--snapshot"])
            .arg(&snapshot);
        // What the first request added to its data is gone for the second.
        assert_eq!(answer(run.args(["--requests", "2"])), expected);
    }
}

#[test]
fn a_large_image_is_deployed_and_answers_over_http() {
    if !can_run() {
        return;
    }
    let setup = Setup::new(&[]);
    let agent = setup.start();
    for (function, mib, expected) in LARGE {
        let image = agent.upload(function);
        let deploy = |mib: u64| {
            let settings = json!({ "memory_bytes": mib << 20, "timeout_ms": 20_000 });
            agent.deploy(function, &image, settings)
        };
        let refused = deploy(32);
        assert_eq!(refused.status, 422, "{}", refused.text());
        assert!(
            refused.text().contains("needs at least"),
            "{}",
            refused.text()
        );
        deploy(mib).expect(201);
        for _ in 0..2 {
            assert_eq!(agent.invoke(function, "a").expect(200).text(), expected);
        }
    }
}
