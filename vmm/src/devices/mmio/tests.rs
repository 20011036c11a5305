#![allow(
    clippy::cast_possible_truncation,
    reason = "the numbers of these tests are small"
)]
use jiffy_abi::layout::{IMAGE, RAM_BYTES_MIN};
use jiffy_snapshots::{
    devices::{ConsoleState, VsockState},
    state::AddressRange,
};
use proptest::prelude::*;

use super::*;
use crate::mem::Ram;

const QUEUES: usize = 3;
const OFFERED: u64 = 1 << 40 | 1 << 5;

/// A device with nothing of its own, that offers two features.
#[derive(Debug, Default, PartialEq, Eq)]
struct Plain {
    config: Vec<u8>,
    ups: u32,
}

impl VirtioDevice<QUEUES> for Plain {
    const ID: DeviceId = DeviceId::Vsock;
    const TYPE: u32 = 19;
    const QUEUE_SIZE_MAX: u16 = 64;
    const FEATURES: u64 = OFFERED;

    fn config(&self) -> &[u8] {
        &self.config
    }

    fn driver_up(&mut self) {
        self.ups += 1;
    }

    fn reset(&mut self) -> bool {
        true
    }

    fn state(&self, transport: TransportState) -> Option<DeviceState> {
        Some(DeviceState::Vsock(VsockState {
            transport,
            tx_count: self.ups,
            ..VsockState::default()
        }))
    }

    fn set_state<'a>(&mut self, state: &'a DeviceState) -> Option<&'a TransportState> {
        match state {
            DeviceState::Vsock(state) => {
                self.ups = state.tx_count;
                Some(&state.transport)
            }
            _ => None,
        }
    }
}

type Device = Transport<Plain, QUEUES>;

fn device(config: &[u8]) -> Device {
    Transport::new(Plain {
        config: config.into(),
        ups: 0,
    })
}

/// RAM that a device may write from the image on.
fn ram() -> Ram {
    let mut ram = Ram::new(RAM_BYTES_MIN).expect("4 MiB");
    let (start, end) = (IMAGE, RAM_BYTES_MIN);
    ram.let_devices_write(&[AddressRange { start, end }]);
    ram
}

fn write(transport: &mut Device, register: u64, value: u32) -> Result<Effect, TransportError> {
    transport.write_register(ram().device_memory().writable(), register, value)
}

fn queue_invalid(queue: usize) -> TransportError {
    let size_max = 64;
    TransportError::QueueInvalid { queue, size_max }
}

#[test]
fn a_driver_that_keeps_to_the_steps_comes_up() {
    let mut transport = device(&[3, 0, 0, 0, 0, 0, 0, 0]);
    let mut set = |register, value| write(&mut transport, register, value).expect("allowed");
    for status in [0, 1, 3] {
        set(mmio::STATUS, status);
    }
    set(mmio::DRIVER_FEATURES_SEL, 1);
    set(mmio::DRIVER_FEATURES, 1);
    set(mmio::STATUS, 11);
    set(mmio::QUEUE_SIZE, 16);
    set(mmio::QUEUE_DESC_LOW, 0x20_1000);
    set(mmio::QUEUE_DRIVER_LOW, 0x20_2000);
    set(mmio::QUEUE_DEVICE_LOW, 0x20_3000);
    set(mmio::QUEUE_READY, 1);
    assert_eq!(set(mmio::STATUS, 15), Effect::Serve);
    assert_eq!(set(mmio::STATUS, 15), Effect::None);
    assert_eq!(set(mmio::QUEUE_NOTIFY, 0), Effect::Serve);
    let mut is_in_use = |queue| transport.parts().1.get(queue).is_some();
    assert_eq!(
        [0, 1, 2, 3].map(&mut is_in_use),
        [true, false, false, false]
    );
    assert_eq!(transport.device().ups, 1);
    let in_use = write(&mut transport, mmio::QUEUE_DESC_LOW, 0);
    assert_eq!(in_use, Err(TransportError::QueueInUse(0)));
    assert_eq!(transport.read_register(mmio::CONFIG), Ok(3));
    assert_eq!(
        transport.read_register(mmio::CONFIG + 5),
        Err(TransportError::Read(0x105))
    );
    assert_eq!(write(&mut transport, mmio::STATUS, 0), Ok(Effect::None));
    assert!(!transport.is_up());
}

#[test]
fn a_driver_that_skips_a_step_is_refused() {
    let mut transport = device(&[]);
    assert_eq!(
        write(&mut transport, mmio::STATUS, 4),
        Err(TransportError::Status(4))
    );
    assert_eq!(write(&mut transport, mmio::STATUS, 11), Ok(Effect::None));
    assert_eq!(
        transport.read_register(mmio::STATUS),
        Ok(3),
        "features were not accepted"
    );
    assert_eq!(
        write(&mut transport, mmio::STATUS, 15),
        Err(TransportError::Status(15))
    );
    let no_queue = Err(TransportError::NoSuchQueue {
        selected: 3,
        queues: 3,
    });
    assert_eq!(write(&mut transport, mmio::QUEUE_SEL, 3), no_queue);
    for size in [3, 128, u32::MAX] {
        let invalid = Err(queue_invalid(0));
        assert_eq!(write(&mut transport, mmio::QUEUE_SIZE, size), invalid);
    }
}

#[test]
fn a_queue_outside_ram_is_refused() {
    let mut transport = device(&[]);
    write(&mut transport, mmio::QUEUE_SIZE, 16).expect("allowed");
    for register in [
        mmio::QUEUE_DESC_LOW,
        mmio::QUEUE_DRIVER_LOW,
        mmio::QUEUE_DEVICE_LOW,
    ] {
        write(&mut transport, register, 0xffff_f000).expect("checked later");
    }
    let invalid = Err(queue_invalid(0));
    assert_eq!(write(&mut transport, mmio::QUEUE_READY, 1), invalid);
    assert_eq!(transport.read_register(mmio::QUEUE_READY), Ok(0));
}

/// Every register that there is, and one that there is not.
const REGISTERS: [u64; 19] = [
    mmio::MAGIC_VALUE,
    mmio::VERSION,
    mmio::DEVICE_ID,
    mmio::VENDOR_ID,
    mmio::DEVICE_FEATURES,
    mmio::DEVICE_FEATURES_SEL,
    mmio::DRIVER_FEATURES,
    mmio::DRIVER_FEATURES_SEL,
    mmio::QUEUE_SEL,
    mmio::QUEUE_SIZE_MAX,
    mmio::QUEUE_SIZE,
    mmio::QUEUE_READY,
    mmio::QUEUE_NOTIFY,
    mmio::STATUS,
    mmio::QUEUE_DESC_LOW,
    mmio::QUEUE_DRIVER_LOW,
    mmio::QUEUE_DEVICE_LOW,
    mmio::CONFIG,
    0x1c,
];

fn any_write() -> impl Strategy<Value = (u64, u32)> {
    let register = prop::sample::select(&REGISTERS[..]);
    // Status values of a driver that keeps to the steps, selectors, ring addresses, and anything.
    let value = prop_oneof![
        prop::sample::select(&[0, 1, 3, 11, 15][..]),
        0..4u32,
        (0..16u32).prop_map(|page| 0x20_0000 + page * 0x1000),
        any::<u32>(),
    ];
    (register, value)
}

/// What a driver can read of the device: every register, those behind a selector for each of its values.
fn shown(transport: &mut Device) -> Vec<Result<u32, TransportError>> {
    let mut shown: Vec<_> = REGISTERS
        .map(|register| transport.read_register(register))
        .into();
    for selected in 0..QUEUES as u32 {
        write(transport, mmio::QUEUE_SEL, selected).expect("a queue");
        shown.push(transport.read_register(mmio::QUEUE_READY));
    }
    for half in 0..2 {
        write(transport, mmio::DEVICE_FEATURES_SEL, half).expect("a selector");
        shown.push(transport.read_register(mmio::DEVICE_FEATURES));
    }
    shown
}

proptest! {
    /// Whatever a driver wrote after it, a device put back to a state is the one that has been in no other.
    #[test]
    fn a_device_put_back_is_one_that_was_never_used(
        before in prop::collection::vec(any_write(), 0..40),
        after in prop::collection::vec(any_write(), 0..40),
    ) {
        let ram = ram();
        let memory = ram.device_memory();
        let mut used = device(&[3, 0, 0, 0, 0, 0, 0, 0]);
        for (register, value) in before {
            let _ = used.write(memory, register, value);
        }
        let state = used.state().expect("nothing to deliver");
        for (register, value) in after {
            let _ = used.write(memory, register, value);
        }
        let mut new = device(&[3, 0, 0, 0, 0, 0, 0, 0]);
        new.set_state(memory, &state).expect("a state that was");
        used.set_state(memory, &state).expect("a state that was");
        prop_assert_eq!(&used, &new);
        prop_assert_eq!(used.state(), Some(state));
        prop_assert_eq!(shown(&mut used), shown(&mut new));
    }
}

#[test]
fn a_state_that_is_not_this_devices_is_refused() {
    let ram = ram();
    let mut transport = device(&[]);
    let mut check = |state: TransportState, expected: &str| {
        let state = DeviceState::Vsock(VsockState {
            transport: state,
            ..VsockState::default()
        });
        let refused = transport.set_state(ram.device_memory(), &state);
        assert_eq!(refused.expect_err("refused").to_string(), expected);
    };
    let good = device(&[]).transport_state();
    let with = |change: fn(&mut TransportState)| {
        let mut state = good.clone();
        change(&mut state);
        state
    };
    let selected = with(|state| state.queue_sel = 3);
    check(selected, "the driver selected queue 3, but there are 3");
    let few = with(|state| state.queues.truncate(2));
    check(few, "it has 2 queues, not 3");
    let many = with(|state| state.queues.push(state.queues[0]));
    check(many, "it has 4 queues, not 3");
    let large = with(|state| (state.queues[1].size, state.queues[1].ready) = (128, true));
    let invalid = "queue 1 is not a power of two of at most 64, or not inside RAM";
    check(large, invalid);
    let other = DeviceState::Console(ConsoleState::default());
    let refused = transport.set_state(ram.device_memory(), &other);
    assert!(matches!(refused, Err(DeviceError::Missing("vsock device"))));
}

/// What was not offered is not taken, in either half; what was, may be left.
#[test]
fn features_are_agreed_upon() {
    const VERSION: u64 = mmio::FEATURE_VERSION_1;
    let offered = VERSION | OFFERED;
    let mut transport = device(&[]);
    for (selected, half) in [(0, 1 << 5), (1, 1 | 1 << 8), (2, 0), (u32::MAX, 0)] {
        write(&mut transport, mmio::DEVICE_FEATURES_SEL, selected).expect("a selector");
        assert_eq!(transport.read_register(mmio::DEVICE_FEATURES), Ok(half));
    }
    let check = |features: u64, is_agreed: bool| {
        let mut transport = device(&[]);
        let mut set = |register, value| write(&mut transport, register, value).expect("allowed");
        set(mmio::STATUS, 3);
        for (selected, half) in [(1, features >> 32), (0, features & 0xffff_ffff)] {
            set(mmio::DRIVER_FEATURES_SEL, selected);
            set(mmio::DRIVER_FEATURES, half as u32);
        }
        // There is no third half.
        set(mmio::DRIVER_FEATURES_SEL, 2);
        set(mmio::DRIVER_FEATURES, u32::MAX);
        set(mmio::STATUS, 11);
        let status = transport.read_register(mmio::STATUS).expect("a register");
        assert_eq!(status == 11, is_agreed, "{features:#x}");
    };
    for features in [offered, VERSION, VERSION | 1 << 5, VERSION | 1 << 40] {
        check(features, true);
    }
    let bits = (0..64).map(|bit| 1_u64 << bit);
    for bit in bits.filter(|bit| offered & bit == 0) {
        check(offered | bit, false);
    }
    check(OFFERED, false);
    check(0, false);
}
