//! `cell`.

use std::cell::{Cell, LazyCell, OnceCell, Ref, RefCell, RefMut};

tests! {
    cells_set_and_swap cells_of_slices refcells_borrow refcells_refuse refs_are_mapped once_cells lazy_cells refcell_replace debug
    cell_take_and_update
}

fn cells_set_and_swap() {
    let (one, other) = (Cell::new(1), Cell::new(2));
    one.swap(&other);
    assert_eq!(
        (one.get(), one.replace(9), one.into_inner(), other.get()),
        (2, 2, 9, 1)
    );
}

fn cell_take_and_update() {
    let cell = Cell::new(Some("x"));
    assert_eq!((cell.take(), cell.get()), (Some("x"), None));
    let number = Cell::new(5);
    number.update(|number| number * 2);
    assert_eq!(number.get(), 10);
}

fn cells_of_slices() {
    let mut numbers = [1, 2, 3];
    let cells = Cell::from_mut(&mut numbers[..]).as_slice_of_cells();
    cells
        .windows(2)
        .for_each(|pair| pair[1].set(pair[1].get() + pair[0].get()));
    assert_eq!(numbers, [1, 3, 6]);
}

fn refcells_borrow() {
    let cell = RefCell::new(vec![1]);
    {
        let (one, other) = (cell.borrow(), cell.borrow());
        assert_eq!(one.len() + other.len(), 2);
    }
    cell.borrow_mut().push(2);
    assert_eq!(cell.into_inner(), [1, 2]);
}

fn refcells_refuse() {
    let cell = RefCell::new(1);
    let reads = cell.borrow();
    assert!(cell.try_borrow_mut().is_err() && cell.try_borrow().is_ok());
    drop(reads);
    let writes = cell.borrow_mut();
    assert_eq!(
        cell.try_borrow()
            .map(|_| ())
            .map_err(|error| error.to_string()),
        Err("RefCell already mutably borrowed".into())
    );
    drop(writes);
    assert!(cell.try_borrow_mut().is_ok());
}

fn refs_are_mapped() {
    let cell = RefCell::new((1, String::from("a")));
    assert_eq!(*Ref::map(cell.borrow(), |pair| &pair.1), "a");
    *RefMut::map(cell.borrow_mut(), |pair| &mut pair.0) += 1;
    let (number, text) = Ref::map_split(cell.borrow(), |pair| (&pair.0, &pair.1));
    assert_eq!((*number, text.as_str()), (2, "a"));
    assert!(Ref::filter_map(cell.borrow(), |pair| (pair.0 > 5).then_some(&pair.0)).is_err());
}

fn once_cells() {
    let cell = OnceCell::new();
    assert_eq!(
        (cell.get(), cell.get_or_init(|| 1), cell.set(2), cell.get()),
        (None, &1, Err(2), Some(&1))
    );
    assert_eq!(cell.into_inner(), Some(1));
}

fn lazy_cells() {
    let runs = Cell::new(0);
    let lazy = LazyCell::new(|| {
        runs.set(runs.get() + 1);
        7
    });
    assert_eq!((runs.get(), *lazy, *lazy, runs.get()), (0, 7, 7, 1));
}

fn refcell_replace() {
    let cell = RefCell::new(1);
    assert_eq!(
        (
            cell.replace(2),
            cell.replace_with(|old| *old * 10),
            cell.take(),
            cell.take()
        ),
        (1, 2, 20, 0)
    );
}

fn debug() {
    let cell = RefCell::new(1);
    assert_eq!(
        format!("{:?} {cell:?}", Cell::new(2)),
        "Cell { value: 2 } RefCell { value: 1 }"
    );
    let _writes = cell.borrow_mut();
    assert_eq!(format!("{cell:?}"), "RefCell { value: <borrowed> }");
}
