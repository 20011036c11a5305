use std::{fs, sync::mpsc::channel};

use super::*;
use crate::{
    Outcome,
    testing::{FakeVmm, failed, finished, ready, send},
};

#[test]
fn a_life_with_one_response() {
    let (ready, finished) = (ready(), finished());
    let log = send(&Event::Log(vec![LogRecord {
        level: 3,
        text: "hi".into(),
    }]));
    let response = r"printf 'jfRS\001\000\001\000\000\000\000\000\002\000\000\000ok' >&0";
    // The header of an empty request is 16 bytes.
    let fake = FakeVmm::new(&format!(
        "{ready}; head -c 16 >/dev/null; {log}; {response}; cat >/dev/null; {finished}"
    ));
    let (sender, logs) = channel();
    let mut instance =
        Instance::spawn(&fake.launch(), move |log| sender.send(log).expect("send")).expect("spawn");
    assert_eq!(instance.wait_ready().expect("ready").init_ns, 5);
    let response = instance.invoke(&Request::default()).expect("response");
    assert_eq!(response.body, b"ok");
    let report = instance.finish().expect("report");
    assert_eq!(report.outcome, Outcome::Finished);
    let texts: Vec<_> = logs.iter().map(|log| log.text).collect();
    assert_eq!(texts, ["hi"]);
}

#[test]
fn each_untimely_end_is_named() {
    let (ready, finished, failed) = (ready(), finished(), failed());
    let invoke = |script: &str| {
        FakeVmm::new(script)
            .spawn()
            .invoke(&Request::default())
            .expect_err("no response")
    };
    let error = invoke("exit 3");
    assert!(matches!(error, InvokeError::VmmDied(status) if status.code() == Some(3)));
    let error = invoke(&format!("{ready}; exit 3"));
    assert!(matches!(error, InvokeError::VmmDied(status) if status.code() == Some(3)));
    let error = invoke(&format!("{ready}; {finished}"));
    assert!(matches!(error, InvokeError::Stopped(_)), "{error:?}");
    let error = invoke(&failed);
    assert!(
        matches!(&error, InvokeError::Failed { blame: Blame::Host, message } if message == "no")
    );
    let error = invoke(&format!("{ready}; {failed}"));
    assert!(matches!(error, InvokeError::Failed { .. }), "{error:?}");
    let error = invoke("printf x");
    assert!(matches!(error, InvokeError::Control(_)), "{error:?}");
    let error = invoke(&format!("{ready}; {ready}"));
    assert!(
        matches!(error, InvokeError::OutOfTurn("Ready")),
        "{error:?}"
    );
    let error = invoke(&format!("{ready}; printf 'HTTP/1.1 200 OK..' >&0; cat"));
    assert!(matches!(error, InvokeError::Response(_)), "{error:?}");
}

#[test]
fn a_vmm_of_another_release_is_named() {
    let error = FakeVmm::new(r"printf '\001\000\000'")
        .spawn()
        .wait_ready()
        .expect_err("another version");
    assert!(matches!(error, InvokeError::OtherRelease(_)), "{error:?}");
    let text = crate::error_chain(&error);
    assert!(text.contains("install jiffy and jiffy-vmm"), "{text}");
}

#[test]
fn a_working_set_comes_at_any_time_and_once() {
    const WAIT: Duration = Duration::from_secs(60);
    let (ready, finished) = (ready(), finished());
    let runs = send(&Event::WorkingSet(vec![(1, 2), (5, 1)]));
    for script in [
        format!("{runs}; {ready}; cat >/dev/null; {finished}"),
        format!("{ready}; {runs}; cat >/dev/null; {finished}"),
    ] {
        let fake = FakeVmm::new(&script);
        let mut instance = fake.spawn();
        instance.wait_ready().expect("ready");
        assert_eq!(instance.working_set(WAIT), Some(vec![(1, 2), (5, 1)]));
        assert_eq!(instance.working_set(Duration::ZERO), None);
        assert_eq!(
            instance.finish().expect("report").outcome,
            Outcome::Finished
        );
    }
    // A VMM that ends without one is not waited for.
    let fake = FakeVmm::new(&ready);
    let mut instance = fake.spawn();
    instance.wait_ready().expect("ready");
    assert_eq!(instance.working_set(WAIT), None);
}

#[test]
fn a_missing_vmm_is_named() {
    let launch = Launch {
        vmm: "/nonexistent/vmm".into(),
        ..FakeVmm::new("").launch()
    };
    let error = Instance::spawn(&launch, |_| {})
        .expect_err("no such file")
        .to_string();
    assert!(error.contains("/nonexistent/vmm"), "{error}");
}

#[test]
fn dropping_kills() {
    let fake = FakeVmm::new(&format!("{}; exec sleep 1000", ready()));
    let mut instance = fake.spawn();
    instance.wait_ready().expect("ready");
    let process = format!("/proc/{}", instance.process_id());
    assert!(fs::exists(&process).expect("stat"));
    drop(instance);
    assert!(!fs::exists(&process).expect("stat"));
}
