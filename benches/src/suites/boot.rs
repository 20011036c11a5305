//! `boot.*`: `hello` from its image, without a snapshot.

use std::{
    fs::File,
    io::Read,
    os::fd::AsFd,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use jiffy_client::{Spawner, SpawnerOptions, boot_packet};
use jiffy_control::Phases;

use super::{Fallible, Run};
use crate::{
    report::Breakdown,
    samples::Samples,
    setup::{self, HELLO_ANSWER, HELLO_EVENT, LIMIT, RAM_BYTES},
};

const TIMES: usize = 200;

/// Measures `boot.image`, the VMM's own count from the first `KVM_RUN` to `READY`, and `boot.process`, from starting a
/// `jiffy-vmm` of its own, jail and all, until it has printed the answer.
pub fn run(run: &mut Run) -> Fallible<()> {
    let vmm = run.programs.join("jiffy-vmm");
    let spawner = Spawner::start(&vmm, &SpawnerOptions::default())?;
    let mut init = Samples::new();
    let mut before = [(); 3].map(|()| Samples::new());
    for counts in run.rounds("boot.image", run.times(TIMES)) {
        let phases = boot(run, &spawner)?;
        init.push_if(counts, Duration::from_nanos(phases.init_ns));
        let times = [phases.image_ns, phases.kvm_ns, phases.load_ns];
        for (samples, ns) in before.iter_mut().zip(times) {
            samples.push_if(counts, Duration::from_nanos(ns));
        }
    }
    drop(spawner);
    let mut parts = vec![];
    for (what, samples) in ["image verified", "VM and vCPU", "image loaded"]
        .into_iter()
        .zip(before)
    {
        parts.push((what.to_owned(), samples.p50_us()));
    }
    parts.push(("first instruction to READY".to_owned(), init.p50_us()));
    run.breakdowns.push(Breakdown {
        name: "boot.image".into(),
        parts,
    });
    run.found(init.measured("boot.image"));

    let mut process = Samples::new();
    for counts in run.rounds("boot.process", run.times(TIMES)) {
        process.push_if(counts, answer_of_process(run)?);
    }
    run.found(process.measured("boot.process"));
    Ok(())
}

fn boot(run: &Run, spawner: &Spawner) -> Fallible<Phases> {
    let image = File::open(&run.hello)?;
    let shell = setup::waiting(spawner, RAM_BYTES)?;
    let packet = boot_packet(RAM_BYTES, Some(LIMIT), vec![], &[])?;
    shell.control.send_with(&packet, &[image.as_fd()])?;
    let phases = setup::ready(&shell)?;
    setup::end(shell);
    Ok(phases)
}

fn answer_of_process(run: &Run) -> Fallible<Duration> {
    let mut command = Command::new(run.programs.join("jiffy-vmm"));
    command
        .arg(&run.hello)
        .arg("--event")
        .arg(std::str::from_utf8(HELLO_EVENT)?)
        .arg(format!("--memory={RAM_BYTES}"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut answer = vec![0; HELLO_ANSWER.len()];
    let began = Instant::now();
    let mut process = command.spawn()?;
    let read = process
        .stdout
        .as_mut()
        .map_or(Ok(()), |stdout| stdout.read_exact(&mut answer));
    let took = began.elapsed();
    drop(process.stdout.take());
    let status = process.wait()?;
    read.map_err(|_| {
        format!("jiffy-vmm ended without an answer, {status}: see its standard error")
    })?;
    if answer != HELLO_ANSWER {
        let answer = String::from_utf8_lossy(&answer);
        return Err(format!(
            "hello answered {answer}: build it from this checkout's examples/hello"
        )
        .into());
    }
    Ok(took)
}
