//! `thread_local!`.

use std::{
    cell::{Cell, RefCell},
    sync::{Arc, Mutex},
    thread,
};

tests! {
    each_thread_has_its_own destructors_run_when_a_thread_ends made_when_first_used const_and_lazy destructor_uses_another
    is_gone_in_its_own_destructor replace_and_take of_many_threads with_borrow large_and_aligned
}

thread_local! {
    static NUMBER: Cell<u32> = const { Cell::new(7) };
    static TEXT: RefCell<String> = RefCell::new("made".repeat(2));
    static MADE: Cell<u32> = { COUNT.set(COUNT.get() + 1); Cell::new(1) };
    static COUNT: Cell<u32> = const { Cell::new(0) };
    static LARGE: Cell<Aligned> = const { Cell::new(Aligned([3; 64])) };
}

#[derive(Clone, Copy)]
#[repr(align(64))]
struct Aligned([u8; 64]);

type Told = Arc<Mutex<Vec<String>>>;

struct Tells(Told, &'static str);

impl Drop for Tells {
    fn drop(&mut self) {
        self.0
            .lock()
            .expect("nobody panicked")
            .push(self.1.to_owned());
    }
}

fn each_thread_has_its_own() {
    NUMBER.set(1);
    let other = thread::spawn(|| {
        let found = NUMBER.get();
        NUMBER.set(2);
        found
    });
    assert_eq!((other.join().ok(), NUMBER.get()), (Some(7), 1));
    NUMBER.set(7);
}

fn destructors_run_when_a_thread_ends() {
    thread_local!(static KEPT: RefCell<Option<Tells>> = const { RefCell::new(None) });
    let told = Told::default();
    let tells = Tells(Arc::clone(&told), "gone");
    let thread = thread::spawn(move || {
        KEPT.set(Some(tells));
        1
    });
    assert_eq!(thread.join().ok(), Some(1));
    assert_eq!(*told.lock().expect("nobody panicked"), ["gone"]);
}

fn made_when_first_used() {
    thread::spawn(|| {
        assert_eq!(COUNT.get(), 0);
        MADE.set(MADE.get() + 1);
        assert_eq!((MADE.get(), COUNT.get()), (2, 1));
    })
    .join()
    .expect("ended");
}

fn const_and_lazy() {
    TEXT.with_borrow_mut(|text| text.push('!'));
    let other = thread::spawn(|| TEXT.with_borrow(String::clone)).join();
    assert_eq!(
        (other.ok().as_deref(), TEXT.take().as_str()),
        (Some("mademade"), "mademade!")
    );
}

fn with_borrow() {
    thread::spawn(|| {
        let len = TEXT.with_borrow(String::len);
        assert_eq!(
            (len, TEXT.replace("new".into())),
            (8, "mademade".to_owned())
        );
        assert_eq!(TEXT.with(|text| text.borrow().clone()), "new");
    })
    .join()
    .expect("ended");
}

fn replace_and_take() {
    thread::spawn(|| {
        assert_eq!(
            (NUMBER.replace(9), NUMBER.get(), NUMBER.take(), NUMBER.get()),
            (7, 9, 9, 0)
        );
    })
    .join()
    .expect("ended");
}

fn destructor_uses_another() {
    struct Uses(Told);
    impl Drop for Uses {
        fn drop(&mut self) {
            // One that has no destructor, and one that is made only now.
            let text = format!("{} {}", NUMBER.get(), TEXT.with_borrow(String::len));
            self.0.lock().expect("nobody panicked").push(text);
        }
    }
    thread_local!(static KEPT: RefCell<Option<Uses>> = const { RefCell::new(None) });
    let told = Told::default();
    let uses = Uses(Arc::clone(&told));
    thread::spawn(move || KEPT.set(Some(uses)))
        .join()
        .expect("ended");
    assert_eq!(*told.lock().expect("nobody panicked"), ["7 8"]);
}

fn is_gone_in_its_own_destructor() {
    struct Looks(Told);
    impl Drop for Looks {
        fn drop(&mut self) {
            let is_gone = OWN.try_with(|_| ()).is_err();
            self.0
                .lock()
                .expect("nobody panicked")
                .push(is_gone.to_string());
        }
    }
    thread_local!(static OWN: RefCell<Option<Looks>> = const { RefCell::new(None) });
    let told = Told::default();
    let looks = Looks(Arc::clone(&told));
    thread::spawn(move || OWN.with(|own| *own.borrow_mut() = Some(looks)))
        .join()
        .expect("ended");
    assert_eq!(*told.lock().expect("nobody panicked"), ["true"]);
}

fn of_many_threads() {
    let sum: u32 = thread::scope(|scope| {
        let threads: Vec<_> = (0..20)
            .map(|number| {
                scope.spawn(move || {
                    NUMBER.set(number);
                    thread::yield_now();
                    NUMBER.get()
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("ended"))
            .sum()
    });
    assert_eq!(sum, 190);
}

fn large_and_aligned() {
    let at = || LARGE.with(|large| (std::ptr::from_ref(large) as usize, large.get().0 == [3; 64]));
    for (address, is_right) in [at(), thread::spawn(at).join().expect("ended")] {
        assert!(address % 64 == 0 && is_right);
    }
}
