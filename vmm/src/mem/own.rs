//! The process's own memory, touched before it is needed.
//!
//! A forked process has the page tables of what its parent wrote, and none for its program: the first use of each
//! page is a fault, about 2.5 µs on the development host, and the pages of heap and stack that it then writes are copied
//! one by one. A shell takes these faults before it waits, so that a cold request does not.

use std::{
    fs,
    hint::black_box,
    io,
    ops::Range,
    path::Path,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

/// Deeper than the stack is while a snapshot is restored and its first request served.
const STACK_BYTES: usize = 20 << 10;

static HUGE_PAGES_FORGONE: AtomicBool = AtomicBool::new(false);

/// Forgoes transparent huge pages in this process and in those that it forks from now on: one call for all of their
/// mappings, instead of one for each VM's RAM.
pub fn forgo_huge_pages() -> io::Result<()> {
    // SAFETY: it changes which pages the kernel takes for mappings to come, and nothing that a program sees.
    match unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) } {
        0 => {
            HUGE_PAGES_FORGONE.store(true, Relaxed);
            Ok(())
        }
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether a mapping of this process may get huge pages, as far as this program knows.
pub(super) fn huge_pages_possible() -> bool {
    !HUGE_PAGES_FORGONE.load(Relaxed)
}

/// Where the program's instructions are mapped. Those of its libraries have been used by the time a shell waits.
#[derive(Clone, Debug, Default)]
pub struct Program(Vec<Range<usize>>);

impl Program {
    /// Looks for them; the processes forked from this one have them at the same addresses.
    pub fn find() -> io::Result<Self> {
        let maps = fs::read_to_string("/proc/self/maps")?;
        Ok(Self::parse(&maps, &fs::read_link("/proc/self/exe")?))
    }

    fn parse(maps: &str, program: &Path) -> Self {
        let range = |line: &str| {
            let mut fields = line.split_whitespace();
            let (range, access, path) = (fields.next()?, fields.next()?, fields.nth(3)?);
            let (start, end) = range.split_once('-')?;
            let start = usize::from_str_radix(start, 16).ok()?;
            let end = usize::from_str_radix(end, 16).ok()?;
            (access == "r-xp" && Path::new(path) == program).then_some(start..end)
        };
        Self(maps.lines().filter_map(range).collect())
    }

    /// Has their pages in this process's page tables. It is no more than faster afterwards, so a kernel that cannot
    /// (before Linux 5.14) is not told of.
    pub fn touch(&self) {
        for range in &self.0 {
            let (start, len) = (range.start as *mut libc::c_void, range.len());
            // SAFETY: it changes nothing but page tables, whatever is mapped there.
            unsafe { libc::madvise(start, len, libc::MADV_POPULATE_READ) };
        }
    }
}

/// Has the pages of the stack that will be written copied now.
#[inline(never)]
pub fn touch_stack() {
    let mut pages = [0_u8; STACK_BYTES];
    black_box(&mut pages);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_s_instructions_are_found_and_nothing_else() {
        let maps = "\
55d0c0000000-55d0c0020000 r--p 00000000 08:01 42 /usr/bin/jiffy-vmm
55d0c0020000-55d0c0180000 r-xp 00020000 08:01 42 /usr/bin/jiffy-vmm
55d0c0180000-55d0c0190000 rw-p 00180000 08:01 42 /usr/bin/jiffy-vmm
55d0c1000000-55d0c1021000 rw-p 00000000 00:00 0 [heap]
7f0000000000-7f0000200000 r-xp 00000000 08:01 43 /lib/libc.so.6
7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0 [stack]
7ffd00100000-7ffd00102000 r-xp 00000000 00:00 0 [vdso]
nonsense
";
        let found = Program::parse(maps, Path::new("/usr/bin/jiffy-vmm")).0;
        let text = 0x55d0_c002_0000..0x55d0_c018_0000;
        assert_eq!(found, std::slice::from_ref(&text));
        assert!(!Program::find().expect("proc").0.is_empty());
    }
}
