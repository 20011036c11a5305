//! What a VM costs: a start, a round trip by payload size, a line of log.
//!
//! Everything is measured from outside the VMM's process, over its request stream, except
//! `boot/init`, which is the VMM's own count from the first `KVM_RUN` to `READY`.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use jiffy_client::{Instance, Launch, Source, SpawnerOptions};
use jiffy_control::Request;

fn launch(function: &str, ram_bytes: u64) -> Launch {
    let (image, vmm) = jiffy_benches::image_and_vmm(&format!("examples/{function}"));
    Launch {
        vmm,
        spawner: SpawnerOptions::default(),
        source: Source::Image {
            path: image,
            ram_bytes: Some(ram_bytes),
        },
        timeout: Some(Duration::from_secs(10)),
        devices: vec![],
    }
}

fn spawn(launch: &Launch) -> Instance {
    let mut instance = Instance::spawn(launch, |_| {}).expect("jiffy-vmm starts");
    instance.wait_ready().expect("the image boots");
    instance
}

fn event(body: Vec<u8>) -> Request {
    Request {
        body,
        ..Request::default()
    }
}

/// A new process each time: until `init` is done, and until `hello` has answered.
fn boot(criterion: &mut Criterion) {
    let launch = launch("hello", 16 << 20);
    let hello = event(br#"{"name":"Ada"}"#.to_vec());
    let mut group = criterion.benchmark_group("boot");
    group.sample_size(50);
    group.bench_function("init", |bencher| {
        bencher.iter_custom(|times| {
            let init = |_| {
                let phases = spawn(&launch).wait_ready().expect("it was ready");
                Duration::from_nanos(phases.init_ns)
            };
            (0..times).map(init).sum()
        });
    });
    group.bench_function("process", |bencher| {
        bencher.iter_custom(|times| {
            let start = |_| {
                let start = Instant::now();
                let mut instance = Instance::spawn(&launch, |_| {}).expect("jiffy-vmm starts");
                black_box(instance.invoke(&hello).expect("hello answers"));
                start.elapsed() // Ending the process is not part of it.
            };
            (0..times).map(start).sum()
        });
    });
    group.finish();
}

fn echo(criterion: &mut Criterion) {
    let mut instance = spawn(&launch("echo", 64 << 20));
    let mut group = criterion.benchmark_group("echo");
    for bytes in [100, 4 << 10, 64 << 10, 1 << 20, 4 << 20] {
        let request = event(vec![0x5a; bytes]);
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_with_input(
            BenchmarkId::from_parameter(bytes),
            &request,
            |bencher, request| {
                bencher.iter(|| instance.invoke(request).expect("echo answers"));
            },
        );
    }
    group.finish();
}

fn hello(criterion: &mut Criterion) {
    let mut instance = spawn(&launch("hello", 16 << 20));
    let request = event(br#"{"name":"Ada"}"#.to_vec());
    criterion.bench_function("hello", |bencher| {
        bencher.iter(|| instance.invoke(&request).expect("hello answers"));
    });
}

/// Lines per second, from the handler to the parent's callback.
fn log(criterion: &mut Criterion) {
    const LINES: u64 = 20_000; // As many as `faults` writes; what is over the limit is counted and dropped.
    let mut instance = spawn(&launch("faults", 16 << 20));
    let request = event(br#"{"kind":"log-flood"}"#.to_vec());
    let mut group = criterion.benchmark_group("log");
    group.throughput(Throughput::Elements(LINES));
    group.bench_function("lines", |bencher| {
        bencher.iter(|| instance.invoke(&request).expect("faults answers"));
    });
    group.finish();
}

criterion_group!(benches, boot, hello, echo, log);
criterion_main!(benches);
