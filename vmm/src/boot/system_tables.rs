//! GDT, TSS, IDT and fault stubs: what the CPU needs to run ring 3 and to report its faults.
//!
//! Source: Intel SDM volume 3, sections 3.4.5, 6.14.1, 7.7; volume 1, section 19.5.2 (I/O bitmap).
#![allow(
    clippy::cast_possible_truncation,
    reason = "every number here is a constant, and the assertions below hold the narrow ones"
)]

use jiffy_abi::{
    devices::{DeviceId, PORT_LAST, Place},
    doorbell,
    layout::{PAGE_BYTES, RING0_STACK_TOP, STUB_BYTES, STUBS, TSS, VECTORS},
};

const RING0_CODE_SELECTOR: u16 = 0x08;
/// Selector of ring-3 data. This and the next are the numbers Linux uses: the PVM backend expects
/// them.
pub const DATA_SELECTOR: u16 = 0x28 | 3;
/// Selector of 64-bit ring-3 code.
pub const CODE_SELECTOR: u16 = 0x30 | 3;
/// Selector of the TSS, whose descriptor takes two entries.
pub const TSS_SELECTOR: u16 = 0x38;

const GDT_ENTRIES: usize = 9;
/// Last byte of the GDT.
pub const GDT_LIMIT: u16 = (GDT_ENTRIES * 8 - 1) as u16;
/// Last byte of the IDT.
pub const IDT_LIMIT: u16 = (VECTORS * 16 - 1) as u16;

/// The I/O permission bitmap follows the 104 bytes of the TSS proper.
const IO_BITMAP: usize = 0x68;
/// A bit for each port up to the last that can be open, and the byte of ones that ends the map.
const TSS_BYTES: usize = IO_BITMAP + PORT_LAST as usize / 8 + 2;
const _: () = {
    assert!(VECTORS <= 32 && *doorbell::PORTS.end() <= 0xff);
    assert!(TSS_BYTES <= PAGE_BYTES as usize && VECTORS * 16 <= PAGE_BYTES);
};
/// Last byte of the TSS.
pub const TSS_LIMIT: u16 = (TSS_BYTES - 1) as u16;

pub(super) fn gdt() -> Vec<u8> {
    // Present 64-bit code and flat data, accessed bits set, and a busy 64-bit TSS.
    let (ring0_code, ring0_data) = (0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff);
    let (ring3_data, ring3_code) = (0x00cf_f300_0000_ffff, 0x00af_fb00_0000_ffff);
    let tss = u64::from(TSS_LIMIT) | (TSS & 0xff_ffff) << 16 | 0x8b << 40;
    let entries: [u64; GDT_ENTRIES] = [
        0, ring0_code, ring0_data, 0, 0, ring3_data, ring3_code, tss, 0,
    ];
    entries
        .iter()
        .flat_map(|entry| entry.to_le_bytes())
        .collect()
}

/// The TSS of a guest that has `devices`.
pub(super) fn tss(devices: &[DeviceId]) -> Vec<u8> {
    let mut tss = vec![0; TSS_BYTES];
    tss[4..12].copy_from_slice(&RING0_STACK_TOP.to_le_bytes()); // rsp0
    tss[0x66..0x68].copy_from_slice(&(IO_BITMAP as u16).to_le_bytes());
    tss[IO_BITMAP..].fill(0xff);
    let ports = devices.iter().filter_map(|device| match device.place() {
        Place::Ports { first, last } => Some(first..=last),
        Place::Window(_) => None,
    });
    for port in ports.chain([doorbell::PORTS]).flatten() {
        tss[IO_BITMAP + usize::from(port / 8)] &= !(1 << (port % 8));
    }
    tss
}

/// An interrupt gate to its stub for each vector, reachable only by the CPU.
pub(super) fn idt() -> Vec<u8> {
    let mut idt = Vec::new();
    for vector in 0..VECTORS {
        let stub = STUBS + vector * STUB_BYTES;
        let low = stub & 0xffff
            | u64::from(RING0_CODE_SELECTOR) << 16
            | 0x8e00 << 32
            | (stub >> 16 & 0xffff) << 48;
        idt.extend(low.to_le_bytes());
        idt.extend((stub >> 32).to_le_bytes());
    }
    idt
}

/// Each stub pushes its vector, on top of what the CPU pushed, and rings `FAULT`.
pub(super) fn stubs() -> Vec<u8> {
    let mut stubs = Vec::new();
    for vector in 0..VECTORS as u8 {
        let mut stub = vec![0x6a, vector, 0xe6, doorbell::FAULT as u8]; // push vector; out FAULT, al
        stub.resize(STUB_BYTES as usize, 0xf4); // hlt: nobody comes back here
        stubs.extend(stub);
    }
    stubs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_doorbells_and_the_ports_of_given_devices_are_open() {
        let check = |devices: &[DeviceId], ports: &[std::ops::RangeInclusive<u16>]| {
            let tss = tss(devices);
            let count = (tss.len() - IO_BITMAP) * 8;
            let open: Vec<usize> = (0..count)
                .filter(|port| tss[IO_BITMAP + port / 8] & 1 << (port % 8) == 0)
                .collect();
            let expected = ports.iter().cloned().flatten().map(usize::from);
            assert_eq!(open, expected.collect::<Vec<_>>());
            assert_eq!(tss.last(), Some(&0xff));
        };
        check(&[DeviceId::Vsock], &[doorbell::PORTS]);
        check(
            &[DeviceId::Vsock, DeviceId::Console],
            &[doorbell::PORTS, 0x3f8..=0x3ff],
        );
    }

    #[test]
    fn sizes_match_limits() {
        assert_eq!(gdt().len(), usize::from(GDT_LIMIT) + 1);
        assert_eq!(idt().len(), usize::from(IDT_LIMIT) + 1);
        assert_eq!(tss(&[]).len(), usize::from(TSS_LIMIT) + 1);
        assert_eq!(stubs().len() as u64, VECTORS * STUB_BYTES);
    }
}
