//! `any` and `error`.

use std::{
    any::{Any, TypeId, type_name, type_name_of_val},
    error::Error,
    fmt,
};

tests! { downcasts type_ids_differ type_names errors_have_sources errors_are_boxed errors_downcast }

#[derive(Debug)]
struct Outer(std::num::ParseIntError);

impl fmt::Display for Outer {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("outer")
    }
}

impl Error for Outer {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

fn outer() -> Outer {
    Outer("x".parse::<u8>().expect_err("no number"))
}

fn downcasts() {
    let mut any: Box<dyn Any> = Box::new(5u32);
    assert!(any.is::<u32>() && !any.is::<i32>());
    *any.downcast_mut::<u32>().expect("one") += 1;
    assert_eq!(
        (any.downcast_ref::<u32>(), any.downcast_ref::<u8>()),
        (Some(&6), None)
    );
}

fn type_ids_differ() {
    assert_ne!(TypeId::of::<u8>(), TypeId::of::<i8>());
    assert_eq!(TypeId::of::<&'static str>(), TypeId::of::<&str>());
}

fn type_names() {
    assert_eq!(
        (type_name::<Option<u8>>(), type_name_of_val("a")),
        ("core::option::Option<u8>", "str")
    );
}

fn errors_have_sources() {
    let error = outer();
    let mut chain = vec![error.to_string()];
    let mut next = error.source();
    while let Some(source) = next {
        chain.push(source.to_string());
        next = source.source();
    }
    assert_eq!(chain, ["outer", "invalid digit found in string"]);
}

fn errors_are_boxed() {
    let boxed: Box<dyn Error + Send + Sync> = outer().into();
    assert_eq!(
        (
            boxed.to_string().as_str(),
            Box::<dyn Error>::from("text").to_string().as_str()
        ),
        ("outer", "text")
    );
}

fn errors_downcast() {
    let boxed: Box<dyn Error> = Box::new(outer());
    assert!(boxed.is::<Outer>() && boxed.downcast_ref::<fmt::Error>().is_none());
    assert!(
        boxed
            .downcast::<Outer>()
            .is_ok_and(|error| error.source().is_some())
    );
}
