//! Crates that many use, as plain dependencies.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rayon::prelude::*;

const MS: Duration = Duration::from_millis(1);

/// Does it, if it is one of these.
pub(crate) fn deed(deed: &str) -> Option<String> {
    Some(match deed {
        "rayon" => rayon_works(),
        "tokio" => tokio_works(),
        "tokio-blocking" => tokio_blocks(),
        "tokio-calls" => tokio_calls(),
        "crossbeam" => crossbeam(),
        "parking-lot" => parking_lots(),
        _ => return None,
    })
}

fn rayon_works() -> String {
    let sum: u64 = (0..10_000u64).into_par_iter().map(|n| n * n).sum();
    let mut words: Vec<u32> = (0..5000)
        .map(|n: u32| n.wrapping_mul(2_654_435_761))
        .collect();
    words.par_sort_unstable();
    let (one, other) = rayon::join(|| 1, || 2);
    let is_sorted = words.is_sorted();
    format!(
        "{sum} {is_sorted} {one} {other} {}",
        rayon::current_num_threads()
    )
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().build().expect("a runtime")
}

fn tokio_works() -> String {
    runtime().block_on(async {
        let before = Instant::now();
        let (sender, mut receiver) = tokio::sync::mpsc::channel(2);
        let sends = tokio::spawn(async move {
            for number in 0..5 {
                tokio::time::sleep(2 * MS).await;
                sender.send(number).await.expect("somebody receives");
            }
        });
        let mut sum = 0;
        while let Some(number) = receiver.recv().await {
            sum += number;
        }
        sends.await.expect("it ended");
        let is_in_time = before.elapsed() >= 10 * MS;
        let (one, other) = tokio::join!(async { 1 }, async { 2 });
        let first = tokio::select! {
            () = tokio::time::sleep(500 * MS) => "late",
            () = tokio::time::sleep(MS) => "early",
        };
        let timeout = tokio::time::timeout(MS, std::future::pending::<()>()).await;
        let mut ticks = tokio::time::interval(MS);
        ticks.tick().await;
        ticks.tick().await;
        format!(
            "{sum} {is_in_time} {one} {other} {first} {}",
            timeout.is_err()
        )
    })
}

fn tokio_blocks() -> String {
    runtime().block_on(async {
        let blocking = tokio::task::spawn_blocking(|| {
            thread::sleep(MS);
            thread::current().name().map(str::to_owned)
        });
        format!("{:?}", blocking.await.expect("it ended"))
    })
}

/// Futures of calls are awaited by an executor that knows nothing of the host.
fn tokio_calls() -> String {
    runtime().block_on(async {
        let (one, other) = (jiffy::host_info().start(), jiffy::host_info().start());
        let (one, other) = tokio::join!(one, other);
        let late = tokio::time::timeout(500 * MS, jiffy::host_info().start()).await;
        let one = one.expect("an answer").request_id;
        let late = late.expect("in time").expect("an answer").request_id;
        format!(
            "{} {}",
            one == other.expect("an answer").request_id,
            one == late
        )
    })
}

fn crossbeam() -> String {
    let (sender, receiver) = crossbeam_channel::bounded::<u32>(1);
    let (done, ends) = crossbeam_channel::bounded::<()>(0);
    let other = thread::spawn(move || {
        let mut sum = 0;
        loop {
            crossbeam_channel::select! {
                recv(receiver) -> number => sum += number.unwrap_or(0),
                recv(ends) -> _ => return sum,
            }
            thread::yield_now();
        }
    });
    for number in 0..20 {
        sender.send(number).expect("somebody receives");
    }
    let tick = crossbeam_channel::after(2 * MS);
    tick.recv().expect("a tick");
    done.send(()).expect("somebody receives");
    other.join().expect("nobody panicked").to_string()
}

fn parking_lots() -> String {
    let state = Arc::new((parking_lot::Mutex::new(0), parking_lot::Condvar::new()));
    let other = {
        let state = Arc::clone(&state);
        thread::spawn(move || {
            let (value, changed) = &*state;
            let mut value = value.lock();
            changed.wait_while(&mut value, |value| *value < 3);
            let timed_out = changed.wait_for(&mut value, MS).timed_out();
            *value += 10;
            timed_out
        })
    };
    for _ in 0..3 {
        thread::sleep(MS);
        *state.0.lock() += 1;
        state.1.notify_all();
    }
    let timed_out = other.join().expect("nobody panicked");
    format!("{} {timed_out}", *state.0.lock())
}
