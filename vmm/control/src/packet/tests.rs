use jiffy_abi::log_ring::Level;
use jiffy_snapshots::State;
use proptest::prelude::*;

use super::*;
use crate::{
    Backtrace, Blame, Event, GuestFault, LogRecord, LogSource, Phases, Report, Stats, VmEnd,
};

fn backtrace() -> impl Strategy<Value = Backtrace> {
    prop::collection::vec(any::<u64>(), 0..=crate::event::BACKTRACE_FRAMES_MAX).prop_map(Backtrace)
}

fn end() -> impl Strategy<Value = VmEnd> {
    let panic = (
        any::<String>(),
        any::<String>(),
        any::<(u32, u32)>(),
        backtrace(),
    )
        .prop_map(|(message, file, (line, column), backtrace)| {
            VmEnd::Fault(GuestFault::Panic {
                message,
                file,
                line,
                column,
                backtrace,
            })
        });
    let exception = (
        any::<u8>(),
        any::<[u64; 4]>(),
        any::<Option<u64>>(),
        backtrace(),
    )
        .prop_map(
            |(vector, [error_code, address, rip, rsp], stack_overflow, backtrace)| {
                VmEnd::Fault(GuestFault::Exception {
                    vector,
                    error_code,
                    address,
                    rip,
                    rsp,
                    stack_overflow,
                    backtrace,
                })
            },
        );
    let timed_out =
        (any::<u64>(), backtrace()).prop_map(|(timeout_ms, backtrace)| VmEnd::TimedOut {
            timeout_ms,
            backtrace,
        });
    prop_oneof![
        Just(VmEnd::Finished),
        any::<u8>().prop_map(VmEnd::Exited),
        panic,
        exception,
        timed_out,
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let record = (any::<u8>(), any::<String>()).prop_map(|(level, text)| LogRecord {
        level,
        text,
        source: LogSource::Function,
    });
    let report = (end(), any::<u64>()).prop_map(|(end, bytes_out)| {
        Event::Stopped(Report {
            end,
            stats: Stats {
                bytes_out,
                ..Stats::default()
            },
        })
    });
    prop_oneof![
        any::<u64>().prop_map(|init_ns| Event::Ready(Phases {
            init_ns,
            ..Phases::default()
        })),
        prop::collection::vec(record, 0..20).prop_map(Event::Log),
        report,
        prop::collection::vec(any::<(u64, u64)>(), 0..20).prop_map(Event::WorkingSet),
        any::<u64>().prop_map(|cpu_ns| Event::Done(Stats {
            cpu_ns,
            ..Stats::default()
        })),
        any::<u64>().prop_map(|rip| {
            let mut state = Box::new(State::default());
            state.vcpu.regs.rip = rip;
            Event::Captured(state)
        }),
        any::<String>().prop_map(|message| Event::Failed {
            blame: Blame::Host,
            message
        }),
    ]
}

proptest! {
    #[test]
    fn what_is_sent_is_received(event in event()) {
        let packet = Packet::new(&event).expect("encode");
        prop_assert_eq!(decode::<Event>(packet.bytes()).expect("decode"), event);
    }

    #[test]
    fn arbitrary_packets_are_refused_or_decoded(mut packet: Vec<u8>, versioned: bool) {
        if versioned {
            let [low, high] = MESSAGE_VERSION.to_le_bytes();
            packet.splice(..0, [low, high, Event::KIND]);
        }
        if let Ok(event) = decode::<Event>(&packet) {
            // Not the same bytes: postcard also reads numbers that are longer than need be.
            let again = Packet::new(&event).expect("encode");
            prop_assert_eq!(decode::<Event>(again.bytes()).expect("decode"), event);
        }
    }
}

#[test]
fn golden_packet() {
    let event = Event::Log(vec![LogRecord::new(Level::Info, "hi")]);
    let golden = b"\x07\x00\x01\x01\x01\x03\x02hi";
    assert_eq!(Packet::new(&event).expect("encode").bytes(), golden);
    // Who speaks for a VM cannot say that it is the platform.
    let forged = Event::Log(vec![LogRecord::of_platform(Level::Info, "hi")]);
    let forged = Packet::new(&forged).expect("encode");
    assert_eq!(forged.bytes(), golden);
    assert_eq!(decode::<Event>(forged.bytes()).expect("decode"), event);
}
