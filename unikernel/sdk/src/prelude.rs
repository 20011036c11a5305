//! What a function without `std` misses of it first: `use jiffy::prelude::*;`.
//!
//! ```
//! #![cfg_attr(not(test), no_std)]
//! # extern crate std; // A doc test is a program.
//! use jiffy::prelude::*;
//!
//! #[jiffy::function]
//! pub fn hypotenuse((a, b): (f64, f64)) -> String {
//!     format!("{:.3}", (a * a + b * b).sqrt())
//! }
//!
//! # fn main() {
//! let outcome = jiffy::testing::call!().event("[3.0, 4.0]").run();
//! assert_eq!(outcome.text(), "\"5.000\"");
//! # }
//! ```
//!
//! With `std` it is not needed: what is here is there already, under the same names.

pub use alloc::{
    borrow::ToOwned,
    boxed::Box,
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

/// `sqrt`, `sin`, `powf` and the rest of `f32` and `f64` that only `std` has, as `libm` computes them.
pub use num_traits::Float;
