use jiffy_abi::layout::RAM_BYTES_MIN;
use jiffy_snapshots::devices::CONSOLE_FIFO_BYTES_MAX;
use proptest::prelude::*;

use super::*;
use crate::mem::Ram;

const DATA: u64 = 0;
const INTERRUPT_ENABLE: u64 = 1;
const LINE_CONTROL: u64 = 3;
const MODEM_CONTROL: u64 = 4;
const LINE_STATUS: u64 = 5;
const SCRATCH: u64 = 7;
const LOOPBACK: u32 = 1 << 4;

struct Setup {
    ram: Ram,
    console: Console,
}

impl Setup {
    fn new() -> Self {
        Self {
            ram: Ram::new(RAM_BYTES_MIN).expect("4 MiB"),
            console: Console::default(),
        }
    }

    fn set(&mut self, register: u64, value: u32) {
        let effect = self
            .console
            .write(self.ram.device_memory(), register, value);
        assert_eq!(effect.expect("a register"), Effect::None);
    }

    fn get(&mut self, register: u64) -> u32 {
        self.console.read(register).expect("a register")
    }

    /// Writes bytes, and gives the lines that there are after each.
    fn say(&mut self, bytes: &[u8]) -> Vec<String> {
        let lines = bytes.iter().filter_map(|byte| {
            self.set(DATA, u32::from(*byte));
            self.console.take_line()
        });
        lines.collect()
    }

    fn put_back(&mut self, state: &DeviceState) -> Result<(), DeviceError> {
        self.console.set_state(self.ram.device_memory(), state)
    }
}

#[test]
fn lines_come_out_as_they_end() {
    let mut setup = Setup::new();
    assert_eq!(
        setup.say(b"one\ntwo\r\n\n\r\nth"),
        ["one", "two", "", ""].map(String::from)
    );
    assert_eq!(setup.console.take_rest(), Some("th".into()));
    assert_eq!(setup.console.take_rest(), None);
    assert_eq!(setup.say(b"\xff\x1b[2J\n"), ["\u{fffd}\x1b[2J"]);
}

#[test]
fn a_line_without_end_is_told_in_parts() {
    let mut setup = Setup::new();
    let parts = setup.say(&vec![b'x'; 2 * LINE_BYTES_MAX + 7]);
    assert_eq!(parts, vec!["x".repeat(LINE_BYTES_MAX); 2]);
    assert_eq!(setup.console.take_rest(), Some("x".repeat(7)));
}

#[test]
fn a_driver_finds_a_port_that_is_always_ready() {
    let mut setup = Setup::new();
    assert_eq!(setup.get(LINE_STATUS) & 0x60, 0x60);
    setup.say(b"x");
    assert_eq!(setup.get(LINE_STATUS), 0x60, "nothing to read");
    assert_eq!(setup.get(DATA), 0);
    setup.set(SCRATCH, 0xa5);
    assert_eq!(setup.get(SCRATCH), 0xa5);
    // With the divisor latch open, the first two registers are the divisor's, and nothing comes out.
    setup.console.take_rest();
    setup.set(LINE_CONTROL, 0x80);
    setup.set(DATA, 1);
    assert_eq!((setup.get(DATA), setup.console.take_rest()), (1, None));
}

/// In loopback mode bytes go nowhere; there are never more of them than the FIFO holds.
#[test]
fn loopback_is_bounded() {
    let mut setup = Setup::new();
    setup.set(MODEM_CONTROL, LOOPBACK);
    setup.set(INTERRUPT_ENABLE, 0xff);
    assert!(setup.say(&[b'\n'; 1000]).is_empty());
    let Some(DeviceState::Console(mut state)) = setup.console.state() else {
        panic!("nothing to deliver");
    };
    assert_eq!(state.fifo.len(), CONSOLE_FIFO_BYTES_MAX);
    let full = DeviceState::Console(state.clone());
    setup.put_back(&full).expect("a state that was");
    state.fifo.push(0);
    let over = setup.put_back(&DeviceState::Console(state));
    assert!(matches!(over, Err(DeviceError::Fifo(65))));
}

#[test]
fn what_is_not_told_yet_is_in_no_snapshot() {
    let mut setup = Setup::new();
    let new = setup.console.state().expect("nothing to deliver");
    setup.say(b"half a li");
    assert_eq!(setup.console.state(), None);
    setup.put_back(&new).expect("a state that was");
    assert_eq!(setup.console.take_rest(), None);
    let other = DeviceState::Unknown {
        number: 1,
        state: vec![],
    };
    let refused = setup.put_back(&other);
    assert!(matches!(refused, Err(DeviceError::Missing("console"))));
}

proptest! {
    /// Whatever was written after it, a console put back to a state is the one that has been in no other.
    #[test]
    fn a_console_put_back_is_one_that_was_never_used(
        before in prop::collection::vec((0..8_u64, any::<u8>()), 0..100),
        after in prop::collection::vec((0..8_u64, any::<u8>()), 0..100),
    ) {
        let mut used = Setup::new();
        for (register, value) in before {
            used.set(register, value.into());
        }
        used.console.take_rest();
        let state = used.console.state().expect("nothing to deliver");
        for (register, value) in after {
            used.set(register, value.into());
            used.get(register);
        }
        used.put_back(&state).expect("a state that was");
        prop_assert_eq!(used.console.state(), Some(state.clone()));
        let mut new = Setup::new();
        new.put_back(&state).expect("a state that was");
        for register in 0..8 {
            prop_assert_eq!(used.get(register), new.get(register));
        }
        prop_assert_eq!(used.console.take_rest(), None);
    }
}
