use jiffy_abi::frame::ResponseKind;
use jiffy_abi::layout::STACK_BYTES_DEFAULT;
use jiffy_control::{Report, Stats};

use super::*;

fn symbols() -> Symbols {
    Symbols::of_snapshot("hello")
}

fn failure(end: VmEnd) -> Failure {
    let report = Box::new(Report {
        end,
        stats: Stats::default(),
    });
    Failure::of_invoke(&VmError::Stopped(report), &symbols())
}

fn text(failure: &Failure) -> String {
    let mut out = vec![];
    failure.print(&mut out).expect("printed");
    String::from_utf8(out).expect("text")
}

fn exception(vector: u8, error_code: u64, address: u64, is_overflow: bool) -> VmEnd {
    overflow(
        vector,
        error_code,
        address,
        is_overflow.then_some(STACK_BYTES_DEFAULT),
    )
}

fn overflow(vector: u8, error_code: u64, address: u64, stack_overflow: Option<u64>) -> VmEnd {
    let backtrace = Backtrace(vec![0x20_0010, 0x20_0020]);
    let (rip, rsp) = (0x20_0010, 0x1f_0000);
    let fault = GuestFault::Exception {
        vector,
        error_code,
        address,
        rip,
        rsp,
        stack_overflow,
        backtrace,
    };
    VmEnd::Fault(fault)
}

fn response(kind: ResponseKind, body: &[u8]) -> Response {
    let error_type = "ParseError".into();
    Response {
        kind,
        status: 0,
        error_type,
        headers: vec![],
        body: body.into(),
    }
}

#[test]
fn error_panic_and_fault_are_told_apart() {
    let error =
        failure_of_response(&response(ResponseKind::FunctionError, b"no")).expect("failure");
    assert_eq!(error.exit(), Exit::FunctionError);
    assert_eq!(text(&error), "function error (ParseError): no\n");
    let panic = failure(VmEnd::Fault(GuestFault::Panic {
        message: "index out of bounds".into(),
        file: "/hello/src/lib.rs".into(),
        line: 3,
        column: 5,
        backtrace: Backtrace::default(),
    }));
    assert_eq!(panic.exit(), Exit::Panic);
    assert_eq!(
        text(&panic),
        "panic at src/lib.rs:3:5: index out of bounds\n"
    );
    let fault = failure(exception(14, 2, 0x10, false));
    assert_eq!(fault.exit(), Exit::Fault);
    let expected = "fault: page fault writing address 0x10\n  at 0x200010\n  by 0x200020\n  (a \
                    snapshot has no symbols: run its image to see functions and lines)\n";
    assert_eq!(text(&fault), expected);
}

#[test]
fn exceptions_are_described() {
    let check = |outcome, message: &str| assert_eq!(failure(outcome).message, message);
    check(exception(0, 0, 0, false), "divide error");
    check(exception(14, 0, 0, false), "page fault reading address 0x0");
    check(
        exception(14, 21, 0x30_0000, false),
        "page fault executing address 0x300000",
    );
    check(
        exception(14, 6, 0x10_0ff8, true),
        "stack overflow: 768.0 KiB are used up: set a larger stack, `bytes = \"8M\"` under [stack] in jiffy.toml, and build again, or look for a recursion without end",
    );
    check(
        overflow(14, 7, 0x16_c000, Some(0)),
        "stack overflow of a thread: give it more with `thread::Builder::stack_size` or `RUST_MIN_STACK`, or look for a recursion without end",
    );
}

#[test]
fn each_end_has_its_code() {
    let check = |outcome, exit| assert_eq!(failure(outcome).exit(), exit);
    let backtrace = Backtrace::default;
    check(VmEnd::Finished, Exit::Fault);
    check(VmEnd::Exited(3), Exit::Fault);
    check(
        VmEnd::TimedOut {
            timeout_ms: 1,
            backtrace: backtrace(),
        },
        Exit::Timeout,
    );
    let fault = |fault| VmEnd::Fault(fault);
    let message = String::new;
    check(
        fault(GuestFault::Init { message: message() }),
        Exit::FunctionError,
    );
    check(
        fault(GuestFault::Runtime { message: message() }),
        Exit::Fault,
    );
    check(
        fault(GuestFault::Cpu {
            message: message(),
            backtrace: backtrace(),
        }),
        Exit::Fault,
    );
    let out_of_memory = GuestFault::OutOfMemory {
        requested_bytes: 1,
        ram_bytes: 2,
        backtrace: backtrace(),
    };
    check(fault(out_of_memory), Exit::OutOfMemory);
    let check = |error, exit| assert_eq!(Failure::of_invoke(&error, &symbols()).exit(), exit);
    let failed = |blame| VmError::Failed {
        blame,
        message: String::new(),
    };
    check(failed(Blame::Input), Exit::ImageRefused);
    check(failed(Blame::Host), Exit::Host);
    check(failed(Blame::Bug), Exit::Host);
    check(
        VmError::Stream(jiffy_control::StreamFault::Nonce),
        Exit::Fault,
    );
    check(VmError::Malformed("Ready twice".into()), Exit::Fault);
    assert!(failure_of_response(&response(ResponseKind::Ok, b"")).is_none());
    let bad_event = failure_of_response(&response(ResponseKind::BadEvent, b"")).expect("failure");
    assert_eq!(bad_event.exit(), Exit::BadEvent);
}

#[test]
fn json_names_kind_and_place() {
    let json = serde_json::to_value(failure(exception(14, 2, 0x10, false))).expect("JSON");
    assert_eq!(json["kind"], "exception");
    assert_eq!(
        (&json["vector"], &json["name"]),
        (&14.into(), &"page fault".into())
    );
    assert_eq!(json["address"], 0x10);
    assert_eq!(json["backtrace"][1]["address"], 0x20_0020);
    let text = ResponseView::new(&response(ResponseKind::Ok, b"hi")).body;
    assert_eq!(text, "hi");
    let response = response(ResponseKind::Ok, b"\xff");
    let view = ResponseView::new(&response);
    assert_eq!((view.encoding, &*view.body), ("base64", "/w=="));
}

#[test]
fn a_guests_texts_cannot_steer_the_terminal() {
    let failure = failure(VmEnd::Fault(GuestFault::Runtime {
        message: "\x1b[2J".into(),
    }));
    assert_eq!(text(&failure), "fault in the library OS: \\u{1b}[2J\n");
}
