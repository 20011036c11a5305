//! `#[jiffy::function]`: an event, then the context and the state in any order.

use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::{Error, FnArg, Signature, Type, spanned::Spanned};

use crate::signature::{check_plain, ends_in, infer_lifetimes};

const WHAT: &str = "the handler";

/// A handler's signature, as far as the glue has to know it.
pub(crate) struct Handler {
    name: Ident,
    is_async: bool,
    event: Type,
    rest: Vec<Argument>,
}

enum Argument {
    Context(Type),
    State(Type),
}

impl Handler {
    pub(crate) fn parse(signature: &Signature) -> syn::Result<Self> {
        check_plain(signature, WHAT)?;
        let mut types = signature.inputs.iter().filter_map(|input| match input {
            FnArg::Typed(argument) => Some(&*argument.ty),
            FnArg::Receiver(_) => None, // Refused above.
        });
        let event = types.next().ok_or_else(|| {
            let message = "the handler takes an event: a type that implements \
                           `serde::Deserialize`, `&[u8]` or `jiffy::http::Request`";
            Error::new_spanned(signature, message)
        })?;
        if is_context(event) {
            let message = "the event is the first argument, the context comes after it";
            return Err(Error::new_spanned(event, message));
        }
        if let Type::ImplTrait(_) = event {
            let message = "the handler is called with one type only: name it instead of `impl`";
            return Err(Error::new_spanned(event, message));
        }
        let mut rest = Vec::new();
        for ty in types {
            let argument = Argument::parse(ty)?;
            let twice = rest.iter().any(|before| match (before, &argument) {
                (Argument::Context(_), Argument::Context(_)) => true,
                (Argument::State(_), Argument::State(_)) => true,
                (Argument::Context(_), Argument::State(_)) => false,
                (Argument::State(_), Argument::Context(_)) => false,
            });
            if twice {
                let message = "the handler takes an event, at most one `&jiffy::Context` and at \
                               most one reference to what `#[jiffy::init]` returned";
                return Err(Error::new_spanned(ty, message));
            }
            rest.push(argument);
        }
        Ok(Self {
            name: signature.ident.clone(),
            is_async: signature.asyncness.is_some(),
            event: event.clone(),
            rest,
        })
    }

    pub(crate) fn glue(&self) -> TokenStream {
        let Self {
            name,
            is_async,
            event,
            rest,
        } = self;
        let event_type = infer_lifetimes(event.to_token_stream());
        let decode = quote_spanned! { event.span() =>
            ::jiffy::__private::Event::<#event_type>::new().decode(call)
        };
        let rest = rest.iter().map(Argument::expression);
        let call = quote! { #name(event, #(#rest),*) };
        let call = match is_async {
            true => quote_spanned! { name.span() => ::jiffy::__private::block_on(#call) },
            false => call,
        };
        let encode = quote_spanned! { name.span() =>
            match ::jiffy::__private::Returned(returned).split() {
                ::core::result::Result::Ok(value) => ::jiffy::__private::Output(value).encode(),
                ::core::result::Result::Err(raised) => raised.reply(),
            }
        };
        quote! {
            #[doc(hidden)]
            pub const __JIFFY_NOTE_FLAGS: u32 = {
                #[allow(unused_imports, reason = "not of use to a handler for HTTP")]
                use ::jiffy::__private::PlainNoteFlags as _;
                ::jiffy::__private::Event::<#event_type>::NOTE_FLAGS
            };

            #[doc(hidden)]
            pub fn __jiffy_function(
                call: &::jiffy::__private::Invocation<'_>,
            ) -> ::jiffy::__private::Reply {
                #[allow(unused_imports, reason = "which of them is used depends on the types")]
                use ::jiffy::__private::{
                    DecodeJson as _, EncodeJson as _, RaiseText as _, SplitPlain as _,
                };
                let event = match #decode {
                    ::core::result::Result::Ok(event) => event,
                    ::core::result::Result::Err(reply) => return reply,
                };
                let returned = #call;
                #encode
            }
        }
    }
}

impl Argument {
    fn parse(ty: &Type) -> syn::Result<Self> {
        if is_context(ty) {
            return match ty {
                Type::Reference(reference) if reference.mutability.is_none() => {
                    Ok(Self::Context(ty.clone()))
                }
                _ => Err(Error::new_spanned(
                    ty,
                    "the context is lent: write `&jiffy::Context`",
                )),
            };
        }
        match ty {
            Type::Reference(reference) if reference.mutability.is_none() => {
                Ok(Self::State(ty.clone()))
            }
            _ => {
                let message = "after the event a handler takes `&jiffy::Context` and a shared \
                               reference to what `#[jiffy::init]` returned, nothing else";
                Err(Error::new_spanned(ty, message))
            }
        }
    }

    fn expression(&self) -> TokenStream {
        match self {
            Self::Context(ty) => quote_spanned! { ty.span() => call.context() },
            // A glob is shadowed by a nearer one: if the crate has no `#[jiffy::init]`, the SDK's
            // stand-in is found, and the mismatch of its type says what is missing.
            Self::State(ty) => quote_spanned! { ty.span() => {
                #[allow(unused_imports, reason = "stands in if there is no `#[jiffy::init]`")]
                use ::jiffy::__private::no_init::*;
                {
                    #[allow(unused_imports, reason = "there may be no `#[jiffy::init]`")]
                    use self::*;
                    __jiffy_state()
                }
            } },
        }
    }
}

fn is_context(ty: &Type) -> bool {
    match ty {
        Type::Reference(reference) => ends_in(&reference.elem, "Context"),
        other => ends_in(other, "Context"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::check_refused;
    use syn::parse_quote;

    #[test]
    fn shapes_that_work() {
        let check = |signature: Signature, rest: &str| {
            let handler = Handler::parse(&signature).expect("accepted");
            let kinds: String = handler.rest.iter().map(letter).collect();
            assert_eq!(kinds, rest, "{}", signature.to_token_stream());
        };
        check(parse_quote!(fn f(event: In)), "");
        check(parse_quote!(fn f(event: &[u8]) -> Vec<u8>), "");
        check(
            parse_quote!(fn f(In { name }: In<'_>) -> Result<Out, E>),
            "",
        );
        check(parse_quote!(fn f<'a>(event: In<'a>) -> Out<'a>), "");
        check(parse_quote!(fn f(event: In, context: &Context)), "c");
        check(
            parse_quote!(fn f(event: In, context: &jiffy::Context<'_>)),
            "c",
        );
        check(parse_quote!(fn f(event: In, state: &State)), "s");
        check(parse_quote!(async fn f(event: In, state: &State)), "s");
        check(
            parse_quote!(fn f(event: In, state: &State, context: &Context)),
            "sc",
        );
        check(
            parse_quote!(fn f(event: In, context: &Context, state: &[u32])),
            "cs",
        );
    }

    fn letter(argument: &Argument) -> char {
        match argument {
            Argument::Context(_) => 'c',
            Argument::State(_) => 's',
        }
    }

    #[test]
    fn shapes_that_do_not() {
        let check = |signature: Signature, message: &str| {
            check_refused(Handler::parse(&signature), message);
        };
        check(
            parse_quote!(fn f<T>(event: T)),
            "the handler is called with one type only: name it instead of a generic",
        );
        check(
            parse_quote!(fn f(event: impl Copy)),
            "the handler is called with one type only: name it instead of `impl`",
        );
        check(
            parse_quote!(fn f(&self, event: In)),
            "the handler is a free function: move it out of the `impl` block",
        );
        check(
            parse_quote!(unsafe fn f(event: In)),
            "the handler is called by safe code: remove `unsafe`",
        );
        check(
            parse_quote!(extern "C" fn f(event: In)),
            "the handler is called by Rust: remove `extern`",
        );
        check(
            parse_quote!(fn f()),
            "the handler takes an event: a type that implements `serde::Deserialize`, `&[u8]` or \
             `jiffy::http::Request`",
        );
        check(
            parse_quote!(fn f(context: &Context, event: In)),
            "the event is the first argument, the context comes after it",
        );
        check(
            parse_quote!(fn f(event: In, context: Context)),
            "the context is lent: write `&jiffy::Context`",
        );
        let too_many = "the handler takes an event, at most one `&jiffy::Context` and at most one \
                        reference to what `#[jiffy::init]` returned";
        check(
            parse_quote!(fn f(event: In, a: &Context, b: &Context)),
            too_many,
        );
        check(
            parse_quote!(fn f(event: In, a: &A, c: &Context, b: &B)),
            too_many,
        );
        let neither = "after the event a handler takes `&jiffy::Context` and a shared reference \
                       to what `#[jiffy::init]` returned, nothing else";
        check(parse_quote!(fn f(event: In, state: State)), neither);
        check(parse_quote!(fn f(event: In, state: &mut State)), neither);
    }
}
