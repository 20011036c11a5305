use jiffy_abi::{
    layout::{MMIO_VSOCK, MMIO_WINDOW_BYTES, RAM_BYTES_MIN},
    virtio_mmio as mmio,
};
use jiffy_snapshots::devices::TransportState;

use super::*;
use crate::mem::Ram;

fn ram() -> Ram {
    Ram::new(RAM_BYTES_MIN).expect("4 MiB")
}

#[test]
fn a_register_is_found_in_its_window_and_nowhere_else() {
    let (ram, mut bus) = (ram(), Bus::default());
    let magic = bus.read_window(MMIO_VSOCK + mmio::MAGIC_VALUE);
    assert_eq!(magic.expect("a register"), mmio::MAGIC);
    let status = MMIO_VSOCK + mmio::STATUS;
    let effect = bus.write_window(ram.device_memory(), status, 3);
    assert_eq!(effect.expect("a register"), Effect::None);
    assert_eq!(bus.read_window(status).expect("a register"), 3);
    for address in [
        0,
        MMIO_VSOCK - 4,
        MMIO_VSOCK + MMIO_WINDOW_BYTES,
        1 << 32,
        u64::MAX,
    ] {
        let read = bus.read_window(address);
        assert!(matches!(read, Err(DeviceError::NoDevice(at)) if at == address));
        let written = bus.write_window(ram.device_memory(), address, 0);
        assert!(matches!(written, Err(DeviceError::NoDevice(at)) if at == address));
    }
}

#[test]
fn devices_are_in_the_order_of_their_numbers() {
    let ids = Bus::default().ids();
    assert_eq!(ids, [DeviceId::Vsock]);
    let all = Bus {
        console: Some(Console::default()),
        nic: Some(NicDevice::default()),
        ..Bus::default()
    };
    let ids = all.ids();
    assert_eq!(ids, devices::TABLE.map(|(id, _)| id));
    assert!(ids.is_sorted());
}

/// Two windows side by side, each with the registers of its own device.
#[test]
fn a_window_is_there_only_with_its_device() {
    let (ram, mut bus) = (ram(), Bus::default());
    let nic = MMIO_VSOCK + MMIO_WINDOW_BYTES;
    let refused = bus.read_window(nic + mmio::DEVICE_ID);
    assert!(matches!(refused, Err(DeviceError::NoDevice(_))));
    bus.nic = Some(NicDevice::default());
    let kinds = [MMIO_VSOCK, nic].map(|window| bus.read_window(window + mmio::DEVICE_ID).ok());
    let expected = [mmio::DEVICE_ID_VSOCK, mmio::DEVICE_ID_NET];
    assert_eq!(kinds, expected.map(Some));
    let effect = bus.write_window(ram.device_memory(), nic + mmio::STATUS, 3);
    assert_eq!(effect.expect("a register"), Effect::None);
    let statuses = [MMIO_VSOCK, nic].map(|window| bus.read_window(window + mmio::STATUS).ok());
    assert_eq!(statuses, [Some(0), Some(3)]);
}

/// Only a snapshot with just the devices that the VM was given is taken, in their order.
#[test]
fn states_of_other_devices_are_refused() {
    let (ram, mut bus) = (ram(), Bus::default());
    let good = bus.state().expect("nothing to deliver");
    let unknown = |number| DeviceState::Unknown {
        number,
        state: vec![],
    };
    let mut set = |states: &[DeviceState]| bus.set_state(ram.device_memory(), states);
    set(&good).expect("its own");
    let missing = set(&[]);
    assert!(matches!(missing, Err(DeviceError::Missing("vsock device"))));
    let twice = set(&[good[0].clone(), good[0].clone()]);
    assert!(matches!(twice, Err(DeviceError::NotGiven(0))));
    let surplus = set(&[good[0].clone(), unknown(9)]);
    assert!(matches!(surplus, Err(DeviceError::NotGiven(9))));
    let other = set(&[unknown(9)]);
    assert!(matches!(other, Err(DeviceError::Missing("vsock device"))));
    let nic = set(&[good[0].clone(), DeviceState::Nic(TransportState::default())]);
    assert!(matches!(nic, Err(DeviceError::NotGiven(2))));
    bus.nic = Some(NicDevice::default());
    let mut set = |states: &[DeviceState]| bus.set_state(ram.device_memory(), states);
    assert!(matches!(set(&good), Err(DeviceError::Missing("NIC"))));
}
