//! `#[jiffy::function]` and `#[jiffy::init]`: the glue between what an author writes and what an
//! image calls. Authors use them through the crate `jiffy`, which documents them.
//! Not here: decoding and encoding (`jiffy::__private`); this crate only looks at signatures.
#![forbid(unsafe_code)]

mod function;
mod init;
mod signature;

use proc_macro::TokenStream;
use syn::{ItemFn, parse_macro_input};

use crate::{function::Handler, init::Init};

/// Makes a function the handler of its crate. See the crate `jiffy`.
#[proc_macro_attribute]
pub fn function(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as ItemFn);
    let glue = signature::no_arguments(arguments.into(), "function")
        .and_then(|()| Handler::parse(&item.sig))
        .map(|handler| handler.glue());
    signature::with_glue(&item, glue).into()
}

/// Makes a function the initialisation of its crate. See the crate `jiffy`.
#[proc_macro_attribute]
pub fn init(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as ItemFn);
    let glue = signature::no_arguments(arguments.into(), "init")
        .and_then(|()| Init::parse(&item.sig))
        .map(|init| init.glue());
    signature::with_glue(&item, glue).into()
}
