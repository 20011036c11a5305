//! How latency grows: with live VMs, with RAM, with pages that a request writes, and with what it carries.
//!
//! Every figure is the client's, without the agent: `fresh` is a request to a VM that has been reset, `cold` and `restore` a
//! snapshot and a request handed to a shell that waits. With many live VMs each fresh request goes to one of them at random, which
//! is what caches, TLB and the kernel's lists see of a full host.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use jiffy_client::Shell;
use jiffy_control::{Isolation, error_chain};

use super::{Fallible, Run, density::fill};
use crate::{
    load::room::{allow_files, available_kib},
    samples::Samples,
    setup::{self, Function, HELLO_EVENT},
    sides,
};

const VMS: &[usize] = &[1, 10, 100, 500];
const VMS_FULL: &[usize] = &[1, 10, 100, 1000, 2000, 5000];
/// What a live VM may cost, kernel included, with room to spare.
const VM_KIB_MAX: u64 = 1536;
const RAM_MIB: [u32; 4] = [16, 64, 256, 1024];
const DIRTY_PAGES: [u32; 4] = [8, 24, 128, 1024];
const PAYLOAD_BYTES: [u32; 4] = [0, 1 << 10, 64 << 10, 1 << 20];
/// RAM of the VMs that write many pages or carry large payloads.
const RAM_BYTES: u64 = 64 << 20;
const RESTORE_TIMES: usize = 150;
const FRESH_TIMES: usize = 1000;
/// Times beside many VMs: the tail is what matters there.
const VMS_FRESH_TIMES: usize = 4000;
const VMS_FRESH_TIMES_FULL: usize = 20_000;
/// Which VMs are chosen at random is the same in every run.
const SEED: u64 = 6;

/// Measures.
pub fn run(run: &mut Run) -> Fallible<()> {
    by_live_vms(run)?;
    by_ram(run)?;
    by_dirty_pages(run)?;
    by_payload(run)
}

fn by_live_vms(run: &mut Run) -> Fallible<()> {
    let (counts, times) = if run.full {
        (VMS_FULL, VMS_FRESH_TIMES_FULL)
    } else {
        (VMS, VMS_FRESH_TIMES)
    };
    let vms_max = allow_files(counts.iter().copied().max().unwrap_or(0) + 1).saturating_sub(1);
    let function = Function::hello(run)?;
    let mut random = fastrand::Rng::with_seed(SEED);
    let mut vms = vec![];
    for &count in counts {
        let what = format!("scale: {count} live VMs");
        run.progress(&what);
        let more = count - vms.len();
        let made = has_room(count, more, vms_max).and_then(|()| fill(&function, more));
        match made {
            Ok(more) => vms.extend(more),
            Err(why) => {
                run.absent(&format!("scale.vms at {count}"), error_chain(&*why));
                break;
            }
        }
        let choose = || random.usize(..count);
        let samples = fresh(run, &what, times, &function, &vms, choose)?;
        let live = number(u32::try_from(count)?);
        run.found(samples.measured("scale.vms.fresh").at("live VMs", live, ""));
        let samples = restores(run, &what, &function)?;
        run.found(samples.measured("scale.vms.cold").at("live VMs", live, ""));
    }
    // They go before the spawner, which then waits until their processes are gone.
    drop(vms);
    Ok(())
}

/// Whether `count` VMs, `more` of them new, can live at once.
fn has_room(count: usize, more: usize, vms_max: usize) -> Fallible<()> {
    if count > vms_max {
        return Err(format!(
            "open files are limited to those of {vms_max} VMs: raise the hard limit (ulimit -Hn)"
        )
        .into());
    }
    let (available_kib, wanted_kib) = (available_kib()?, u64::try_from(more)? * VM_KIB_MAX);
    if available_kib < wanted_kib {
        let [available, wanted] = [available_kib, wanted_kib].map(|kib| kib >> 10);
        return Err(format!(
            "{more} more VMs want {wanted} MiB, and {available} are available: free some memory"
        )
        .into());
    }
    Ok(())
}

fn by_ram(run: &mut Run) -> Fallible<()> {
    for mib in RAM_MIB {
        let what = format!("scale: {mib} MiB of RAM");
        run.progress(&what);
        let function = Function::new(run, &run.hello, u64::from(mib) << 20, HELLO_EVENT)?;
        let samples = restores(run, &what, &function)?;
        let result = samples.measured("scale.ram.restore");
        run.found(result.at("RAM", number(mib), "MiB"));
    }
    Ok(())
}

fn by_dirty_pages(run: &mut Run) -> Fallible<()> {
    for pages in DIRTY_PAGES {
        let what = format!("scale: {pages} dirty pages");
        run.progress(&what);
        let event = pages.to_string();
        let function = Function::new(run, &run.dirty, RAM_BYTES, event.as_bytes())?;
        let vms = fill(&function, 1)?;
        let samples = fresh(run, &what, FRESH_TIMES, &function, &vms, || 0)?;
        let result = samples.measured("scale.dirty.fresh");
        run.found(result.at("dirty pages", number(pages), ""));
        drop(vms);
        let samples = restores(run, &what, &function)?;
        let result = samples.measured("scale.dirty.restore");
        run.found(result.at("dirty pages", number(pages), ""));
    }
    Ok(())
}

fn by_payload(run: &mut Run) -> Fallible<()> {
    let image = match echo(run) {
        Ok(image) => image,
        Err(why) => {
            run.absent("scale.payload.fresh", error_chain(&*why));
            return Ok(());
        }
    };
    for bytes in PAYLOAD_BYTES {
        let what = format!("scale: {bytes} bytes of payload");
        run.progress(&what);
        let event = vec![b'x'; usize::try_from(bytes)?];
        let function = Function::new(run, &image, RAM_BYTES, &event)?;
        let vms = fill(&function, 1)?;
        let samples = fresh(run, &what, FRESH_TIMES, &function, &vms, || 0)?;
        let result = samples.measured("scale.payload.fresh");
        run.found(result.at("payload", number(bytes), "bytes"));
        drop(vms);
    }
    Ok(())
}

/// The image of `echo`: beside `hello`'s, or built there.
fn echo(run: &Run) -> Fallible<PathBuf> {
    const SOURCE: &str = "examples/echo";
    let image = run.hello.with_file_name("echo.elf");
    if image.is_file() {
        return Ok(image);
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(SOURCE);
    let mut build = Command::new(run.programs.join("jiffy"));
    build.arg("build").arg(source).arg("-o").arg(&image);
    if build.stdin(Stdio::null()).output()?.status.success() {
        return Ok(image);
    }
    let image = image.display();
    Err(format!("no {image}: must be an image; `jiffy build {SOURCE} -o {image}` makes it").into())
}

/// Requests to VMs that are chosen by number. Each is asked once before, so that none has its second request in the samples, which
/// is the first after a reset.
fn fresh(
    run: &Run,
    what: &str,
    times: usize,
    function: &Function,
    vms: &[Shell],
    mut choose: impl FnMut() -> usize,
) -> Fallible<Samples> {
    let request = function.request();
    let ask = |vm: &Shell| {
        let took = setup::request(vm, &request)?;
        setup::done(vm)?;
        Fallible::Ok(took)
    };
    let _near = sides::near();
    for vm in vms {
        sides::far(vm.process_id());
        ask(vm)?;
    }
    let mut samples = Samples::new();
    for counts in run.rounds(what, run.times(times)) {
        samples.push_if(counts, ask(&vms[choose()])?);
    }
    Ok(samples)
}

/// A snapshot and a request handed to a shell, again and again; each VM is gone before the next is made.
fn restores(run: &Run, what: &str, function: &Function) -> Fallible<Samples> {
    let _near = sides::near();
    function.make_far();
    let mut samples = Samples::new();
    for counts in run.rounds(what, run.times(RESTORE_TIMES)) {
        let shell = function.shell()?;
        samples.push_if(counts, function.hand_over(&shell, Isolation::Fresh)?);
        setup::done(&shell)?;
        setup::end(shell);
    }
    Ok(samples)
}

fn number(number: u32) -> f64 {
    number.into()
}
