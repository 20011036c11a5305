//! Bringing a virtio device up: the same steps for each (VIRTIO 1.2, section 3.1.1, over the registers of section 4.2.2).

use jiffy_abi::{fault::kind, virtio_mmio as mmio};

use crate::{last_words::give_up, ring::Ring, window::Window};

/// Brings up the device of type `id` whose registers are `device`, with `queues`: number, ring, descriptors.
#[inline(always)]
pub(crate) fn bring_up<const N: usize>(device: Window, id: u32, queues: [(usize, &Ring, u16); N]) {
    let read = |register: u64| device.load::<u32>(register as usize);
    let write = |register: u64, value: u32| device.store(register as usize, value);

    if read(mmio::MAGIC_VALUE) != mmio::MAGIC
        || read(mmio::VERSION) != mmio::VERSION_MODERN
        || read(mmio::DEVICE_ID) != id
    {
        give_up(kind::RUNTIME, "a device is not where the memory map has it");
    }
    let mut status = mmio::STATUS_ACKNOWLEDGE | mmio::STATUS_DRIVER;
    write(mmio::STATUS, 0);
    write(mmio::STATUS, status);
    write(mmio::DRIVER_FEATURES_SEL, 1);
    write(mmio::DRIVER_FEATURES, mmio::FEATURE_HIGH_VERSION_1);
    status |= mmio::STATUS_FEATURES_OK;
    write(mmio::STATUS, status);
    if read(mmio::STATUS) != status {
        give_up(kind::RUNTIME, "a device refuses VIRTIO_F_VERSION_1");
    }
    for (number, ring, size) in queues {
        // All addresses are below 4 GiB, and the high halves are zero after a reset.
        let [desc, avail, used] = ring.addresses().map(|address| address as u32);
        write(mmio::QUEUE_SEL, number as u32);
        write(mmio::QUEUE_SIZE, u32::from(size));
        write(mmio::QUEUE_DESC_LOW, desc);
        write(mmio::QUEUE_DRIVER_LOW, avail);
        write(mmio::QUEUE_DEVICE_LOW, used);
        write(mmio::QUEUE_READY, 1);
    }
    write(mmio::STATUS, status | mmio::STATUS_DRIVER_OK);
}
