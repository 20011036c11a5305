//! `rc`.

use std::{
    cell::{Cell, RefCell},
    rc::{Rc, Weak},
};

use super::Dropped;

tests! {
    counts weak_does_not_keep get_mut_and_make_mut try_unwrap cyclic of_slices_and_texts trees_with_parents ptr_eq_and_raw
    drops_with_the_last compares downcasts increments_by_hand
}

fn counts() {
    let one = Rc::new(5);
    let (other, weak) = (Rc::clone(&one), Rc::downgrade(&one));
    assert_eq!(
        (Rc::strong_count(&one), Rc::weak_count(&one), *other + 1),
        (2, 1, 6)
    );
    drop((other, weak));
    assert_eq!((Rc::strong_count(&one), Rc::weak_count(&one)), (1, 0));
}

fn weak_does_not_keep() {
    let one = Rc::new(1);
    let weak = Rc::downgrade(&one);
    assert_eq!(weak.upgrade().as_deref(), Some(&1));
    drop(one);
    assert_eq!(
        (
            weak.upgrade(),
            weak.strong_count(),
            Weak::<u8>::new().upgrade()
        ),
        (None, 0, None)
    );
}

fn get_mut_and_make_mut() {
    let mut one = Rc::new(vec![1]);
    Rc::get_mut(&mut one).expect("alone").push(2);
    let other = Rc::clone(&one);
    Rc::make_mut(&mut one).push(3);
    assert_eq!(
        (one.len(), other.len(), Rc::get_mut(&mut one).is_some()),
        (3, 2, true)
    );
}

fn try_unwrap() {
    let one = Rc::new(1);
    let other = Rc::clone(&one);
    assert!(Rc::try_unwrap(one).is_err());
    assert_eq!(
        (Rc::into_inner(other), Rc::unwrap_or_clone(Rc::new("a"))),
        (Some(1), "a")
    );
}

fn cyclic() {
    struct Own(Weak<Own>);
    let own = Rc::new_cyclic(|weak| Own(weak.clone()));
    assert!(Rc::ptr_eq(&own, &own.0.upgrade().expect("alive")));
}

fn of_slices_and_texts() {
    let text: Rc<str> = "text".into();
    let numbers: Rc<[u32]> = (0..4).collect();
    assert_eq!(
        (
            text.len(),
            numbers.iter().sum::<u32>(),
            Rc::<[u8]>::from(vec![1, 2])[1]
        ),
        (4, 6, 2)
    );
}

fn trees_with_parents() {
    struct Node {
        parent: RefCell<Weak<Node>>,
        children: RefCell<Vec<Rc<Node>>>,
    }
    let leaf = Rc::new(Node {
        parent: RefCell::default(),
        children: RefCell::default(),
    });
    {
        let root = Rc::new(Node {
            parent: RefCell::default(),
            children: RefCell::new(vec![Rc::clone(&leaf)]),
        });
        *leaf.parent.borrow_mut() = Rc::downgrade(&root);
        assert_eq!(
            (
                Rc::strong_count(&leaf),
                root.children.borrow().len(),
                root.parent.borrow().upgrade().is_none()
            ),
            (2, 1, true)
        );
        assert!(leaf.parent.borrow().upgrade().is_some());
    }
    assert!(leaf.parent.borrow().upgrade().is_none() && Rc::strong_count(&leaf) == 1);
}

fn ptr_eq_and_raw() {
    let one = Rc::new(7);
    assert!(Rc::ptr_eq(&one, &one.clone()) && !Rc::ptr_eq(&one, &Rc::new(7)));
    let at = Rc::into_raw(one);
    // SAFETY: it was just made of one.
    assert_eq!(*unsafe { Rc::from_raw(at) }, 7);
}

fn drops_with_the_last() {
    let count = Cell::new(0);
    let one = Rc::new(Dropped(&count));
    let others = vec![one.clone(); 5];
    drop(one);
    assert_eq!(count.get(), 0);
    drop(others);
    assert_eq!(count.get(), 1);
}

fn compares() {
    assert!(Rc::new(1) < Rc::new(2) && Rc::new("a") == Rc::new("a"));
    assert_eq!(
        format!("{:?} {}", Rc::new(Some(1)), Rc::new('x')),
        "Some(1) x"
    );
}

fn downcasts() {
    let any: Rc<dyn std::any::Any> = Rc::new(5u8);
    assert_eq!(any.clone().downcast::<u8>().ok().as_deref(), Some(&5));
    assert!(any.downcast::<u16>().is_err());
}

fn increments_by_hand() {
    let at = Rc::into_raw(Rc::new(1));
    // SAFETY: it is one, with a count that is taken back below.
    unsafe { Rc::increment_strong_count(at) };
    // SAFETY: as above.
    let one = unsafe { Rc::from_raw(at) };
    assert_eq!(Rc::strong_count(&one), 2);
    // SAFETY: as above.
    unsafe { Rc::decrement_strong_count(at) };
    assert_eq!(Rc::strong_count(&one), 1);
}
