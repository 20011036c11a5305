//! `mem`, `alloc`, `boxed`, `ptr`.

use std::{
    alloc::{Layout, alloc, alloc_zeroed, dealloc, realloc},
    cell::Cell,
    mem::{self, ManuallyDrop, MaybeUninit},
    ptr::{self, NonNull},
};

use super::{Dropped, Random};

tests! {
    swap_replace_take sizes_and_alignments boxes_move_and_leak boxes_of_traits boxes_of_slices manually_drop maybe_uninit forget
    layouts layouts_that_are_too_large allocates_every_alignment allocates_zeros reallocates many_allocations_at_random
    copies_overlap null_and_dangling pointers_compare read_and_write_unaligned discriminants needs_drop transmutes
    try_reserve_of_all_memory large_allocations_come_back zero_sized_boxes offsets
}

fn swap_replace_take() {
    let (mut one, mut other) = (vec![1], vec![2]);
    mem::swap(&mut one, &mut other);
    assert_eq!(
        (
            mem::replace(&mut one, vec![3]),
            mem::take(&mut other),
            one,
            other
        ),
        (vec![2], vec![1], vec![3], vec![])
    );
}

fn sizes_and_alignments() {
    #[repr(C)]
    struct C(u8, u32, u16);
    #[repr(C, packed)]
    struct Packed(u8, u32);
    #[repr(align(128))]
    struct Wide;
    assert_eq!(
        (
            size_of::<C>(),
            align_of::<C>(),
            size_of::<Packed>(),
            align_of::<Wide>()
        ),
        (12, 4, 5, 128)
    );
    assert_eq!(
        (
            size_of::<Option<Box<u8>>>(),
            size_of::<&str>(),
            size_of::<Option<char>>(),
            size_of_val("abc")
        ),
        (8, 16, 4, 3)
    );
    assert_eq!(ptr::from_ref(&Wide) as usize % 128, 0);
}

fn offsets() {
    #[repr(C)]
    struct C(u8, u64);
    assert_eq!(mem::offset_of!(C, 1), 8);
}

fn boxes_move_and_leak() {
    let boxed = Box::new([7; 100]);
    let copy = boxed.clone();
    assert_eq!((*boxed, copy.len()), ([7; 100], 100));
    let leaked: &'static mut u32 = Box::leak(Box::new(5));
    *leaked += 1;
    assert_eq!(*leaked, 6);
    let at = Box::into_raw(Box::new(String::from("raw")));
    // SAFETY: it was just made of one.
    assert_eq!(*unsafe { Box::from_raw(at) }, "raw");
}

fn boxes_of_traits() {
    let count = Cell::new(0);
    let boxed: Box<dyn Fn() -> usize> = Box::new({
        let dropped = Dropped(&count);
        move || {
            let whole = &dropped;
            whole.0.get()
        }
    });
    assert_eq!(boxed(), 0);
    drop(boxed);
    assert_eq!(count.get(), 1);
    let any: Box<dyn std::any::Any> = Box::new("text");
    assert_eq!(any.downcast::<&str>().ok().as_deref(), Some(&"text"));
}

fn boxes_of_slices() {
    let boxed: Box<[String]> = vec!["a".into(), "b".into()].into();
    assert_eq!(
        (boxed.concat(), Box::<str>::from("é").len()),
        ("ab".into(), 2)
    );
    let mut zeros: Box<[MaybeUninit<u8>]> = Box::new_uninit_slice(3);
    zeros.fill(MaybeUninit::new(7));
    // SAFETY: all of it was written.
    assert_eq!(*unsafe { zeros.assume_init() }, [7; 3]);
}

fn zero_sized_boxes() {
    let boxes: Vec<Box<()>> = (0..100).map(|_| Box::new(())).collect();
    assert_eq!((boxes.len(), Box::<[u8]>::default().len()), (100, 0));
}

fn manually_drop() {
    let count = Cell::new(0);
    let mut kept = ManuallyDrop::new(Dropped(&count));
    assert_eq!(kept.0.get(), 0);
    // SAFETY: it is dropped once, and not used again.
    unsafe { ManuallyDrop::drop(&mut kept) };
    assert_eq!(count.get(), 1);
}

fn maybe_uninit() {
    let mut array = [const { MaybeUninit::<String>::uninit() }; 3];
    for (place, text) in array.iter_mut().zip(["a", "b", "c"]) {
        place.write(text.into());
    }
    // SAFETY: each was written.
    let texts = array.map(|text| unsafe { text.assume_init() });
    assert_eq!(texts, ["a", "b", "c"]);
}

fn forget() {
    let count = Cell::new(0);
    mem::forget(Dropped(&count));
    assert_eq!(count.get(), 0);
}

fn layouts() {
    let layout = Layout::new::<(u8, u64)>();
    assert_eq!(
        (
            layout.size(),
            layout.align(),
            Layout::array::<u16>(5).map(|layout| layout.size())
        ),
        (16, 8, Ok(10))
    );
    let (both, offset) = Layout::new::<u8>()
        .extend(Layout::new::<u32>())
        .expect("small");
    assert_eq!((both.size(), offset, both.pad_to_align().size()), (8, 4, 8));
    assert!(Layout::from_size_align(8, 3).is_err() && Layout::from_size_align(8, 0).is_err());
}

fn layouts_that_are_too_large() {
    assert!(
        Layout::array::<u64>(usize::MAX).is_err()
            && Layout::from_size_align(isize::MAX as usize, 16).is_err()
            && Layout::from_size_align(isize::MAX as usize - 15, 16).is_ok()
    );
}

fn allocates_every_alignment() {
    for shift in 0..=16 {
        let layout = Layout::from_size_align(100, 1 << shift).expect("small");
        // SAFETY: it has a size.
        let at = unsafe { alloc(layout) };
        assert!(
            !at.is_null() && (at as usize).is_multiple_of(1 << shift),
            "{shift}"
        );
        // SAFETY: there are so many bytes.
        unsafe { at.write_bytes(0xa5, 100) };
        // SAFETY: it came from `alloc`, with this layout.
        unsafe { dealloc(at, layout) };
    }
}

fn allocates_zeros() {
    let layout = Layout::from_size_align(5000, 8).expect("small");
    for _ in 0..10 {
        // SAFETY: it has a size.
        let at = unsafe { alloc_zeroed(layout) };
        // SAFETY: there are so many bytes, which are zero.
        let bytes = unsafe { std::slice::from_raw_parts_mut(at, 5000) };
        assert!(bytes.iter().all(|byte| *byte == 0));
        bytes.fill(0xff);
        // SAFETY: it came from `alloc_zeroed`, with this layout.
        unsafe { dealloc(at, layout) };
    }
}

fn reallocates() {
    let layout = |bytes| Layout::from_size_align(bytes, 32).expect("small");
    // SAFETY: it has a size.
    let mut at = unsafe { alloc(layout(10)) };
    // SAFETY: there are so many bytes.
    unsafe { at.write_bytes(7, 10) };
    let mut size = 10;
    for new in [100, 10_000, 50, 10, 1000] {
        // SAFETY: it is of this size, and the new one is one.
        at = unsafe { realloc(at, layout(size), new) };
        assert!((at as usize).is_multiple_of(32));
        // SAFETY: the first ten bytes were never cut.
        assert_eq!(unsafe { std::slice::from_raw_parts(at, 10) }, [7; 10]);
        size = new;
    }
    // SAFETY: it is of this size.
    unsafe { dealloc(at, layout(size)) };
}

fn many_allocations_at_random() {
    let mut random = Random::new();
    let mut kept: Vec<Vec<u8>> = Vec::new();
    for step in 0..4000 {
        if random.below(5) < 3 && kept.len() < 200 {
            kept.push(vec![step as u8; random.below(2000)]);
        } else if !kept.is_empty() {
            let at = random.below(kept.len());
            let piece = kept.swap_remove(at);
            assert!(piece.windows(2).all(|pair| pair[0] == pair[1]));
        }
    }
    assert!(
        kept.iter()
            .all(|piece| piece.iter().all(|byte| *byte == piece[0]))
    );
}

fn copies_overlap() {
    for len in [1usize, 7, 8, 15, 16, 31, 32, 33, 64, 100, 1000] {
        for shift in [1, 3, 8, 17] {
            let expected: Vec<u8> = (0..len + shift).map(|at| at as u8).collect();
            let mut bytes = expected.clone();
            bytes.copy_within(..len, shift);
            assert_eq!(bytes[shift..], expected[..len], "{len} by {shift}");
            let mut bytes = expected.clone();
            bytes.copy_within(shift.., 0);
            assert_eq!(bytes[..len], expected[shift..], "{len} by {shift}");
        }
    }
}

fn null_and_dangling() {
    assert!(
        ptr::null::<u8>().is_null()
            && NonNull::<u64>::dangling().addr().get().is_multiple_of(8)
            && NonNull::new(ptr::null_mut::<u8>()).is_none()
    );
    // SAFETY: null is none.
    assert_eq!(unsafe { ptr::null::<u8>().as_ref() }, None);
}

fn pointers_compare() {
    let numbers = [1, 2, 3];
    let (one, last) = (&raw const numbers[0], &raw const numbers[2]);
    // SAFETY: both are of one array.
    let between = unsafe { last.offset_from(one) };
    assert!(one < last && between == 2 && ptr::eq(one, &numbers[0]));
    assert!(ptr::addr_eq(one, numbers.as_ptr()));
}

fn read_and_write_unaligned() {
    let mut bytes = [0u8; 12];
    let at = bytes[1..].as_mut_ptr().cast::<u64>();
    // SAFETY: there are eight bytes.
    unsafe { at.write_unaligned(0x0102_0304_0506_0708) };
    // SAFETY: as above.
    let read = unsafe { at.read_unaligned() };
    assert_eq!((bytes[1], read), (8, 0x0102_0304_0506_0708));
}

fn discriminants() {
    assert_eq!(mem::discriminant(&Some(1)), mem::discriminant(&Some(2)));
    assert_ne!(mem::discriminant(&Some(1)), mem::discriminant(&None));
}

fn needs_drop() {
    assert!(mem::needs_drop::<String>() && !mem::needs_drop::<[u8; 9]>());
}

fn transmutes() {
    #[derive(Debug, PartialEq)]
    #[repr(u8)]
    enum Letter {
        A = b'a',
    }
    // SAFETY: it is the one that there is.
    assert_eq!(unsafe { mem::transmute::<u8, Letter>(b'a') }, Letter::A);
}

fn try_reserve_of_all_memory() {
    let mut vec: Vec<u8> = Vec::new();
    assert!(vec.try_reserve_exact(1 << 46).is_err());
    // Afterwards there is as much as before.
    assert!(vec.try_reserve_exact(1 << 20).is_ok());
}

fn large_allocations_come_back() {
    for round in 0..50u8 {
        let large = vec![round; 3 << 20];
        assert!(large[round as usize] == round && large[(3 << 20) - 1] == round);
    }
}
