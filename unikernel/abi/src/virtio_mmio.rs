//! Registers of a virtio-mmio device, version 2: offsets in its window, all accessed as u32.
//!
//! Source: Virtual I/O Device (VIRTIO) version 1.2, section 4.2.2 and appendix of numbers. There
//! are no interrupts, so the two interrupt registers are left out.

/// Reads [`MAGIC`].
pub const MAGIC_VALUE: u64 = 0x000;
/// Reads [`VERSION_MODERN`].
pub const VERSION: u64 = 0x004;
/// Reads the device's type.
pub const DEVICE_ID: u64 = 0x008;
/// Reads [`VENDOR`].
pub const VENDOR_ID: u64 = 0x00c;
/// Reads 32 bits of what the device offers, as selected.
pub const DEVICE_FEATURES: u64 = 0x010;
/// Selects which 32 bits [`DEVICE_FEATURES`] reads.
pub const DEVICE_FEATURES_SEL: u64 = 0x014;
/// Writes 32 bits of what the driver takes, as selected.
pub const DRIVER_FEATURES: u64 = 0x020;
/// Selects which 32 bits [`DRIVER_FEATURES`] writes.
pub const DRIVER_FEATURES_SEL: u64 = 0x024;
/// Selects the queue that the following registers are of.
pub const QUEUE_SEL: u64 = 0x030;
/// Reads the largest size of the queue.
pub const QUEUE_SIZE_MAX: u64 = 0x034;
/// Writes the size of the queue.
pub const QUEUE_SIZE: u64 = 0x038;
/// Reads or writes whether the queue is in use.
pub const QUEUE_READY: u64 = 0x044;
/// Writes the number of a queue that has new buffers; the library OS rings `WAIT` instead.
pub const QUEUE_NOTIFY: u64 = 0x050;
/// Reads or writes the device's status.
pub const STATUS: u64 = 0x070;
/// Writes the low half of the descriptor table's address.
pub const QUEUE_DESC_LOW: u64 = 0x080;
/// Writes the high half of the descriptor table's address.
pub const QUEUE_DESC_HIGH: u64 = 0x084;
/// Writes the low half of the available ring's address.
pub const QUEUE_DRIVER_LOW: u64 = 0x090;
/// Writes the high half of the available ring's address.
pub const QUEUE_DRIVER_HIGH: u64 = 0x094;
/// Writes the low half of the used ring's address.
pub const QUEUE_DEVICE_LOW: u64 = 0x0a0;
/// Writes the high half of the used ring's address.
pub const QUEUE_DEVICE_HIGH: u64 = 0x0a4;
/// Reads a number that changes with the configuration space.
pub const CONFIG_GENERATION: u64 = 0x0fc;
/// Where the configuration space begins.
pub const CONFIG: u64 = 0x100;

/// "virt", little-endian.
pub const MAGIC: u32 = 0x7472_6976;
/// The version without legacy interface.
pub const VERSION_MODERN: u32 = 2;
/// "jify", little-endian.
pub const VENDOR: u32 = 0x7966_696a;

/// Type of a network device.
pub const DEVICE_ID_NET: u32 = 1;
/// Type of a vsock device.
pub const DEVICE_ID_VSOCK: u32 = 19;

/// Status: the driver has found the device.
pub const STATUS_ACKNOWLEDGE: u32 = 1;
/// Status: the driver can drive it.
pub const STATUS_DRIVER: u32 = 2;
/// Status: the driver is up.
pub const STATUS_DRIVER_OK: u32 = 4;
/// Status: both agree on the features.
pub const STATUS_FEATURES_OK: u32 = 8;

/// Feature `VIRTIO_F_VERSION_1`.
pub const FEATURE_VERSION_1: u64 = 1 << 32;
/// The same, in the high 32 bits.
pub const FEATURE_HIGH_VERSION_1: u32 = 1;
const _: () = assert!(FEATURE_VERSION_1 == (FEATURE_HIGH_VERSION_1 as u64) << 32);

/// Descriptor flag: the chain goes on at `next`.
pub const DESC_NEXT: u16 = 1;
/// Descriptor flag: the device writes the buffer.
pub const DESC_WRITE: u16 = 2;
