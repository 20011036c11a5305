//! `printf` and `scanf`: what their texts ask for, apart from where it goes to or comes from.
//!
//! ```text
//! list    the variable arguments of a C function, as x86-64 passes them
//! print   printf
//! float   numbers with a fraction, as printf writes them
//! scan    scanf
//! ```
//!
//! The locale is `C`. A `long double` is read whole and written with a double's precision. `%n` is refused, because a text that
//! comes from outside could write through it; so are numbered arguments (`%1$d`).

pub(crate) mod float;
pub(crate) mod list;
pub(crate) mod print;
pub(crate) mod scan;

#[cfg(test)]
mod tests;
