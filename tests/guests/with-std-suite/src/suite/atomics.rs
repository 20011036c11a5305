//! `sync::atomic`.

use std::{
    sync::atomic::{
        AtomicBool, AtomicI8, AtomicI64, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize,
        Ordering::*, fence,
    },
    thread,
};

tests! {
    adds_wrap bits swap_and_exchange exchange_weak_in_a_loop min_and_max update bools pointers many_threads_count
    message_by_release exclusive_access from_mut_and_debug of_each_size
}

fn adds_wrap() {
    let number = AtomicU8::new(250);
    assert_eq!(
        (number.fetch_add(10, Relaxed), number.load(Relaxed)),
        (250, 4)
    );
    assert_eq!(
        (number.fetch_sub(5, Relaxed), number.load(Relaxed)),
        (4, 255)
    );
    let signed = AtomicI8::new(i8::MAX);
    assert_eq!(
        (signed.fetch_add(1, SeqCst), signed.load(SeqCst)),
        (127, -128)
    );
}

fn bits() {
    let number = AtomicU32::new(0b1100);
    assert_eq!(
        (
            number.fetch_and(0b0110, AcqRel),
            number.fetch_or(0b0001, AcqRel),
            number.fetch_xor(0b1111, AcqRel)
        ),
        (0b1100, 0b0100, 0b0101)
    );
    assert_eq!(
        (number.fetch_nand(0b0010, AcqRel), number.into_inner()),
        (0b1010, !0b0010)
    );
}

fn swap_and_exchange() {
    let number = AtomicU64::new(1);
    assert_eq!(
        (
            number.swap(2, AcqRel),
            number.compare_exchange(1, 9, AcqRel, Acquire),
            number.compare_exchange(2, 3, AcqRel, Acquire)
        ),
        (1, Err(2), Ok(2))
    );
    assert_eq!(number.load(Acquire), 3);
}

fn exchange_weak_in_a_loop() {
    let number = AtomicUsize::new(5);
    let mut seen = number.load(Relaxed);
    while let Err(now) = number.compare_exchange_weak(seen, seen * 2, AcqRel, Relaxed) {
        seen = now;
    }
    assert_eq!(number.load(Relaxed), 10);
}

fn min_and_max() {
    let number = AtomicI64::new(-3);
    assert_eq!(
        (
            number.fetch_max(4, Relaxed),
            number.fetch_min(-9, Relaxed),
            number.load(Relaxed)
        ),
        (-3, 4, -9)
    );
    let unsigned = AtomicU64::new(3);
    assert_eq!(
        (
            unsigned.fetch_max(u64::MAX, Relaxed),
            unsigned.load(Relaxed)
        ),
        (3, u64::MAX)
    );
}

fn update() {
    let number = AtomicU32::new(7);
    assert_eq!(
        number.fetch_update(AcqRel, Acquire, |seen| seen.checked_sub(10)),
        Err(7)
    );
    assert_eq!(
        number.fetch_update(AcqRel, Acquire, |seen| seen.checked_sub(5)),
        Ok(7)
    );
    assert_eq!(number.load(Relaxed), 2);
}

fn bools() {
    let flag = AtomicBool::new(false);
    assert_eq!(
        (
            flag.swap(true, AcqRel),
            flag.fetch_and(false, AcqRel),
            flag.fetch_not(AcqRel),
            flag.load(Acquire)
        ),
        (false, true, false, true)
    );
    assert_eq!(flag.compare_exchange(true, false, SeqCst, SeqCst), Ok(true));
}

fn pointers() {
    let (mut one, mut other) = (1, 2);
    let at = AtomicPtr::new(&raw mut one);
    let old = at.swap(&raw mut other, AcqRel);
    assert_eq!(old, &raw mut one);
    // SAFETY: it is that of a number that is there.
    assert_eq!(unsafe { at.load(Acquire).read() }, 2);
}

fn many_threads_count() {
    let count = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                (0..500).for_each(|_| {
                    count.fetch_add(1, Relaxed);
                })
            });
        }
    });
    assert_eq!(count.into_inner(), 4000);
}

fn message_by_release() {
    let (data, is_ready) = (AtomicU32::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            data.store(42, Relaxed);
            fence(Release);
            is_ready.store(true, Relaxed);
        });
        while !is_ready.load(Acquire) {
            thread::yield_now();
        }
        assert_eq!(data.load(Relaxed), 42);
    });
}

fn exclusive_access() {
    let mut number = AtomicU32::new(1);
    *number.get_mut() += 1;
    assert_eq!(number.into_inner(), 2);
}

fn from_mut_and_debug() {
    assert_eq!(
        format!("{:?} {:?}", AtomicU32::new(7), AtomicBool::default()),
        "7 false"
    );
    assert_eq!(AtomicU8::from(3).into_inner(), 3);
}

fn of_each_size() {
    assert_eq!(
        (
            size_of::<AtomicU8>(),
            size_of::<AtomicBool>(),
            size_of::<AtomicU64>(),
            align_of::<AtomicU64>()
        ),
        (1, 1, 8, 8)
    );
}
