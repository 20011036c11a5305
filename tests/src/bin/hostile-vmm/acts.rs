//! What the hostile VMM can be told to try: system calls, made directly, so that the jail meets the
//! very call that an act is named for and none of a library's.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
    ptr,
};

use jiffy_abi::layout::RAM_BYTES_MAX;

const PAGE_BYTES: u64 = 4096;
/// `EINVAL`, for orders that nobody understands.
const UNKNOWN: i32 = libc::EINVAL;
// Linux include/uapi/linux/kvm.h.
const KVM_GET_API_VERSION: u64 = 0xae00;
const KVM_CREATE_VM: u64 = 0xae01;

/// What lies at the same address in all shells of a spawner.
static LANDMARK: [u8; 8] = *b"landmark";

/// Makes a system call; an error is its number. Every caller says why it may.
macro_rules! call {
    ($number:expr $(, $argument:expr)*) => {
        match libc::syscall($number $(, $argument)*) {
            -1 => Err(io::Error::last_os_error().raw_os_error().unwrap_or(UNKNOWN)),
            result => Ok(result.unsigned_abs()),
        }
    };
}

/// What mounts without a jail do is to be seen by nobody.
pub(crate) fn spare_the_host() -> Result<(), rustix::io::Errno> {
    use rustix::{
        mount::{MountPropagationFlags, mount_change},
        process::geteuid,
        thread::{UnshareFlags, unshare_unsafe},
    };
    if !geteuid().is_root() {
        return Ok(());
    }
    // SAFETY: descriptors stay shared, and this process has one thread.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }?;
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
}

/// Plays `order`, `act` or `act=number`; the error is the kernel's number.
pub(crate) fn play(order: &str, files: &[OwnedFd]) -> Result<(), i32> {
    let (act, number) = order.split_once('=').unwrap_or((order, "0"));
    let number: u64 = number.parse().map_err(|_| UNKNOWN)?;
    let file = files.first().map_or(-1, AsRawFd::as_raw_fd);
    match act {
        "nothing" => Ok(()),
        "open a host file" => open(c"/etc/passwd"),
        "open a file of /proc" => open(c"/proc/self/environ"),
        "make an Internet socket" => socket(libc::AF_INET),
        "make a Unix socket" => socket(libc::AF_UNIX),
        "trace another" => trace(number),
        "fork" => fork(),
        "execute" => execute(),
        "map executable memory" => map_executable(),
        "make memory executable" => make_executable(),
        "mount" => mount(),
        "become root" => become_root(),
        "make another VM" => ioctl(file, KVM_CREATE_VM),
        "ask KVM for its version" => ioctl(file, KVM_GET_API_VERSION),
        "signal another" => signal(number),
        "read another's memory" => read_memory(number),
        "take another's RAM file" => take_file(number),
        "map more addresses than allowed" => map(1 << 37).map(drop),
        "eat memory" => eat(number),
        "read page frame numbers" => read_frame_numbers(),
        "write past the file limit" => write_past_limit(file),
        "touch what is not mapped" => touch(8),
        "touch a file behind its end" => touch_behind_end(file),
        "make a system call" => system_call(number),
        _ => Err(UNKNOWN),
    }
}

fn open(path: &std::ffi::CStr) -> Result<(), i32> {
    // SAFETY: the path ends with a zero.
    unsafe {
        call!(
            libc::SYS_openat,
            libc::AT_FDCWD,
            path.as_ptr(),
            libc::O_RDONLY
        )
    }
    .map(drop)
}

fn socket(family: i32) -> Result<(), i32> {
    // SAFETY: no memory is passed.
    unsafe { call!(libc::SYS_socket, family, libc::SOCK_STREAM, 0) }.map(drop)
}

fn trace(process: u64) -> Result<(), i32> {
    // SAFETY: no memory is passed; the other process is not stopped.
    unsafe { call!(libc::SYS_ptrace, libc::PTRACE_SEIZE, process, 0, 0) }.map(drop)
}

fn fork() -> Result<(), i32> {
    // SAFETY: this process has one thread, so its copy is whole.
    match unsafe { call!(libc::SYS_fork) }? {
        // SAFETY: it ends the copy, which has nothing to clean up.
        0 => unsafe { libc::_exit(0) },
        _ => Ok(()),
    }
}

fn execute() -> Result<(), i32> {
    let arguments = [c"/bin/true".as_ptr(), ptr::null()];
    let nothing = [ptr::null::<libc::c_char>()];
    // SAFETY: the path ends with a zero, both lists with a null.
    unsafe {
        call!(
            libc::SYS_execve,
            arguments[0],
            arguments.as_ptr(),
            nothing.as_ptr()
        )
    }
    .map(drop)
}

fn map_with(bytes: u64, protection: i32) -> Result<u64, i32> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: the kernel picks a free range.
    unsafe { call!(libc::SYS_mmap, 0u64, bytes, protection, flags, -1i64, 0u64) }
}

fn map(bytes: u64) -> Result<u64, i32> {
    map_with(bytes, libc::PROT_READ | libc::PROT_WRITE)
}

fn touch(address: u64) -> Result<(), i32> {
    let at: *const u8 =
        ptr::with_exposed_provenance(usize::try_from(address).map_err(|_| UNKNOWN)?);
    // SAFETY: it is a mapped byte, or the process ends, which is what it is to do.
    unsafe {
        std::arch::asm!("mov {read}, byte ptr [{at}]", at = in(reg) at, read = out(reg_byte) _)
    };
    Ok(())
}

fn touch_behind_end(file: i32) -> Result<(), i32> {
    let (read, shared) = (libc::PROT_READ, libc::MAP_SHARED);
    // SAFETY: the kernel picks a free range.
    let mapped = unsafe { call!(libc::SYS_mmap, 0u64, PAGE_BYTES, read, shared, file, 0u64) }?;
    touch(mapped)
}

fn map_executable() -> Result<(), i32> {
    map_with(PAGE_BYTES, libc::PROT_READ | libc::PROT_EXEC).map(drop)
}

fn make_executable() -> Result<(), i32> {
    let address = map(PAGE_BYTES)?;
    let protection = libc::PROT_READ | libc::PROT_EXEC;
    // SAFETY: the page was just mapped, and nobody else knows of it.
    unsafe { call!(libc::SYS_mprotect, address, PAGE_BYTES, protection) }.map(drop)
}

fn mount() -> Result<(), i32> {
    let (what, place) = (c"tmpfs".as_ptr(), c"/proc".as_ptr());
    // SAFETY: the texts end with zeros.
    unsafe { call!(libc::SYS_mount, what, place, what, 0u64, 0u64) }.map(drop)
}

fn become_root() -> Result<(), i32> {
    // SAFETY: no memory is passed.
    unsafe { call!(libc::SYS_setresuid, 0, 0, 0) }.map(drop)
}

fn ioctl(file: i32, request: u64) -> Result<(), i32> {
    // SAFETY: neither request takes memory.
    unsafe { call!(libc::SYS_ioctl, file, request, 0u64) }.map(drop)
}

fn signal(process: u64) -> Result<(), i32> {
    // SAFETY: signal 0 only asks whether one could be sent.
    unsafe { call!(libc::SYS_kill, process, 0) }.map(drop)
}

fn read_memory(process: u64) -> Result<(), i32> {
    let mut found = [0u8; LANDMARK.len()];
    let part = |base: *const u8| libc::iovec {
        iov_base: base.cast_mut().cast(),
        iov_len: LANDMARK.len(),
    };
    let (here, there) = (part(found.as_mut_ptr()), part(LANDMARK.as_ptr()));
    // SAFETY: the kernel writes into `found`, whose length is given, and reads in another process.
    unsafe {
        call!(
            libc::SYS_process_vm_readv,
            process,
            &raw const here,
            1u64,
            &raw const there,
            1u64,
            0u64
        )
    }?;
    if found == LANDMARK {
        Ok(())
    } else {
        Err(UNKNOWN)
    }
}

/// Takes over a descriptor of another process that has a length, and reads from it.
fn take_file(process: u64) -> Result<(), i32> {
    const DESCRIPTORS: u64 = 32;
    // SAFETY: no memory is passed.
    let other = unsafe { call!(libc::SYS_pidfd_open, process, 0) }?;
    for number in 3..DESCRIPTORS {
        // SAFETY: no memory is passed.
        let Ok(taken) = (unsafe { call!(libc::SYS_pidfd_getfd, other, number, 0) }) else {
            continue;
        };
        // SAFETY: no memory is passed.
        let length = unsafe { call!(libc::SYS_lseek, taken, 0u64, libc::SEEK_END) };
        let mut bytes = [0u8; 8];
        // SAFETY: the kernel writes into `bytes`, whose length is given.
        let read = unsafe { call!(libc::SYS_pread64, taken, bytes.as_mut_ptr(), 8u64, 0u64) };
        if length.is_ok_and(|length| length > 0) && read == Ok(8) {
            return Ok(());
        }
    }
    Err(UNKNOWN)
}

fn eat(bytes: u64) -> Result<(), i32> {
    let address = map(bytes)?;
    for offset in (0..bytes).step_by(4096) {
        let byte = ptr::with_exposed_provenance_mut::<u8>(
            usize::try_from(address + offset).map_err(|_| UNKNOWN)?,
        );
        // SAFETY: it lies in the range just mapped, which nobody else knows of.
        unsafe { byte.write_volatile(1) };
    }
    Ok(())
}

/// Looks in every descriptor for a page map, and in that for where in the host's memory a page of its own is.
fn read_frame_numbers() -> Result<(), i32> {
    const PRESENT: u64 = 1 << 63;
    const FRAME: u64 = (1 << 55) - 1;
    let page = map(4096)?;
    let byte = ptr::with_exposed_provenance_mut::<u8>(usize::try_from(page).map_err(|_| UNKNOWN)?);
    // SAFETY: it lies in the page just mapped, which nobody else knows of.
    unsafe { byte.write_volatile(1) };
    let offset = i64::try_from(page / 4096 * 8).map_err(|_| UNKNOWN)?;
    for descriptor in 0..32 {
        let mut entry = 0_u64;
        // SAFETY: the kernel writes at most eight bytes to a number that outlives the call.
        let read = unsafe { libc::pread64(descriptor, (&raw mut entry).cast(), 8, offset) };
        if read == 8 && entry & PRESENT != 0 {
            return match entry & FRAME {
                0 => Err(libc::ENODATA),
                _ => Ok(()),
            };
        }
    }
    Err(libc::ENOENT)
}

fn write_past_limit(file: i32) -> Result<(), i32> {
    let byte = [1u8];
    // SAFETY: the kernel reads one byte, which is there.
    unsafe { call!(libc::SYS_pwrite64, file, byte.as_ptr(), 1u64, RAM_BYTES_MAX) }.map(drop)
}

fn system_call(number: u64) -> Result<(), i32> {
    const NOTHING: i64 = -1;
    let number = i64::try_from(number).map_err(|_| UNKNOWN)?;
    // SAFETY: no address is valid and no descriptor is open, so a call that is let through is refused
    // by the kernel, or ends this process, which has nothing left to do.
    unsafe { call!(number, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING) }.map(drop)
}
