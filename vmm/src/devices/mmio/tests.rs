#![allow(
    clippy::cast_possible_truncation,
    reason = "the numbers of these tests are small"
)]
use jiffy_abi::layout::{IMAGE, RAM_BYTES_MIN};
use jiffy_snapshots::state::AddressRange;
use proptest::prelude::*;

use super::*;
use crate::mem::Ram;

/// RAM that a device may write from the image on.
fn ram() -> Ram {
    let mut ram = Ram::new(RAM_BYTES_MIN).expect("4 MiB");
    let (start, end) = (IMAGE, RAM_BYTES_MIN);
    ram.let_devices_write(&[AddressRange { start, end }]);
    ram
}

fn write(transport: &mut Transport, register: u64, value: u32) -> Result<Effect, TransportError> {
    transport.write(ram().device_memory().writable(), register, value)
}

#[test]
fn a_driver_that_keeps_to_the_steps_comes_up() {
    let mut transport = Transport::new(19, vec![3, 0, 0, 0, 0, 0, 0, 0]);
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
    assert_eq!(set(mmio::STATUS, 15), Effect::DriverOk);
    assert_eq!(set(mmio::STATUS, 15), Effect::None);
    assert!(transport.queue(0).is_some() && transport.queue(1).is_none());
    let in_use = write(&mut transport, mmio::QUEUE_DESC_LOW, 0);
    assert_eq!(in_use, Err(TransportError::QueueInUse(0)));
    assert_eq!(transport.read(mmio::CONFIG), Ok(3));
    assert_eq!(
        transport.read(mmio::CONFIG + 5),
        Err(TransportError::Read(0x105))
    );
    assert_eq!(write(&mut transport, mmio::STATUS, 0), Ok(Effect::Reset));
    assert!(!transport.is_up());
}

#[test]
fn a_driver_that_skips_a_step_is_refused() {
    let mut transport = Transport::new(19, vec![]);
    assert_eq!(
        write(&mut transport, mmio::STATUS, 4),
        Err(TransportError::Status(4))
    );
    assert_eq!(write(&mut transport, mmio::STATUS, 11), Ok(Effect::None));
    assert_eq!(
        transport.read(mmio::STATUS),
        Ok(3),
        "features were not accepted"
    );
    assert_eq!(
        write(&mut transport, mmio::STATUS, 15),
        Err(TransportError::Status(15))
    );
    let no_queue = Err(TransportError::NoSuchQueue(3));
    assert_eq!(write(&mut transport, mmio::QUEUE_SEL, 3), no_queue);
    for size in [3, 128, u32::MAX] {
        let invalid = Err(TransportError::QueueInvalid(0));
        assert_eq!(write(&mut transport, mmio::QUEUE_SIZE, size), invalid);
    }
}

#[test]
fn a_queue_outside_ram_is_refused() {
    let mut transport = Transport::new(19, vec![]);
    write(&mut transport, mmio::QUEUE_SIZE, 16).expect("allowed");
    for register in [
        mmio::QUEUE_DESC_LOW,
        mmio::QUEUE_DRIVER_LOW,
        mmio::QUEUE_DEVICE_LOW,
    ] {
        write(&mut transport, register, 0xffff_f000).expect("checked later");
    }
    let invalid = Err(TransportError::QueueInvalid(0));
    assert_eq!(write(&mut transport, mmio::QUEUE_READY, 1), invalid);
    assert_eq!(transport.read(mmio::QUEUE_READY), Ok(0));
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
fn shown(transport: &mut Transport) -> Vec<Result<u32, TransportError>> {
    let mut shown: Vec<_> = REGISTERS.map(|register| transport.read(register)).into();
    for selected in 0..QUEUES as u32 {
        write(transport, mmio::QUEUE_SEL, selected).expect("a queue");
        shown.push(transport.read(mmio::QUEUE_READY));
    }
    for half in 0..2 {
        write(transport, mmio::DEVICE_FEATURES_SEL, half).expect("a selector");
        shown.push(transport.read(mmio::DEVICE_FEATURES));
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
        let memory = ram.device_memory().writable();
        let mut used = Transport::new(19, vec![3, 0, 0, 0, 0, 0, 0, 0]);
        for (register, value) in before {
            let _ = used.write(memory, register, value);
        }
        let state = used.state();
        for (register, value) in after {
            let _ = used.write(memory, register, value);
        }
        let mut new = Transport::new(19, vec![3, 0, 0, 0, 0, 0, 0, 0]);
        new.set_state(memory, &state).expect("a state that was");
        used.set_state(memory, &state).expect("a state that was");
        prop_assert_eq!(&used, &new);
        prop_assert_eq!(used.state(), state);
        prop_assert_eq!(shown(&mut used), shown(&mut new));
    }
}

#[test]
fn a_state_with_a_queue_that_is_not_there_is_refused() {
    let ram = ram();
    let memory = ram.device_memory().writable();
    let mut transport = Transport::new(19, vec![]);
    let state = TransportState {
        queue_sel: 3,
        ..transport.state()
    };
    let refused = transport.set_state(memory, &state);
    assert_eq!(refused, Err(TransportError::NoSuchQueue(3)));
}
