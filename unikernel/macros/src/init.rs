//! `#[jiffy::init]`: no arguments, returns the state or a `Result` of it.

use proc_macro2::{Ident, TokenStream};
use quote::{quote, quote_spanned};
use syn::{
    Error, GenericArgument, PathArguments, ReturnType, Signature, Type, TypePath, parse_quote,
    spanned::Spanned,
};

use crate::signature::{check_plain, ends_in};

const WHAT: &str = "the initialisation";

/// The signature of an initialisation, as far as the glue has to know it.
pub(crate) struct Init {
    name: Ident,
    state: Type,
    fallible: bool,
}

impl Init {
    pub(crate) fn parse(signature: &Signature) -> syn::Result<Self> {
        check_plain(signature, WHAT)?;
        if let Some(keyword) = &signature.asyncness {
            let message =
                "the initialisation has nothing to wait for, as it may not call: remove `async`";
            return Err(Error::new_spanned(keyword, message));
        }
        if let Some(argument) = signature.inputs.first() {
            let message = "the initialisation runs before there is a request: remove its arguments";
            return Err(Error::new_spanned(argument, message));
        }
        let returned = match &signature.output {
            ReturnType::Default => parse_quote!(()),
            ReturnType::Type(_, ty) => (**ty).clone(),
        };
        if let Type::ImplTrait(_) = returned {
            let message = "what the initialisation returns is kept in a static: name its type \
                           instead of `impl`";
            return Err(Error::new_spanned(returned, message));
        }
        let fallible = ends_in(&returned, "Result");
        let state = if fallible {
            success_type(&returned)?
        } else {
            returned
        };
        Ok(Self {
            name: signature.ident.clone(),
            state,
            fallible,
        })
    }

    pub(crate) fn glue(&self) -> TokenStream {
        let Self {
            name,
            state,
            fallible,
        } = self;
        let value = if *fallible {
            quote_spanned! { name.span() =>
                #name().map_err(|error| ::jiffy::__private::error_text(&error))
            }
        } else {
            quote_spanned! { name.span() => ::core::result::Result::Ok(#name()) }
        };
        let cell = quote_spanned! { state.span() =>
            static __JIFFY_STATE: ::jiffy::__private::State<#state> =
                ::jiffy::__private::State::new(__jiffy_make_state);
        };
        quote! {
            fn __jiffy_make_state()
            -> ::core::result::Result<#state, ::jiffy::__private::String> {
                #value
            }

            #cell

            #[doc(hidden)]
            pub fn __jiffy_init() -> ::core::result::Result<(), ::jiffy::__private::String> {
                __JIFFY_STATE.init()
            }

            #[allow(dead_code, reason = "a handler need not take the state")]
            fn __jiffy_state() -> &'static #state {
                __JIFFY_STATE.get()
            }
        }
    }
}

/// `T` of `Result<T, E>`, or of somebody's `Result<T>`.
fn success_type(result: &Type) -> syn::Result<Type> {
    if let Type::Path(TypePath { path, .. }) = result
        && let Some(segment) = path.segments.last()
        && let PathArguments::AngleBracketed(arguments) = &segment.arguments
        && let Some(GenericArgument::Type(state)) = arguments.args.first()
    {
        return Ok(state.clone());
    }
    Err(Error::new_spanned(
        result,
        "write out what the `Result` holds: `Result<State, Error>`",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::check_refused;
    use quote::ToTokens;

    #[test]
    fn shapes_that_work() {
        let check = |signature: Signature, state: Type, fallible: bool| {
            let init = Init::parse(&signature).expect("accepted");
            let tokens = |ty: &Type| ty.to_token_stream().to_string();
            assert_eq!(
                (tokens(&init.state), init.fallible),
                (tokens(&state), fallible)
            );
        };
        check(parse_quote!(fn setup()), parse_quote!(()), false);
        check(
            parse_quote!(fn setup() -> Table),
            parse_quote!(Table),
            false,
        );
        check(
            parse_quote!(fn setup() -> Result<Table, E>),
            parse_quote!(Table),
            true,
        );
        check(
            parse_quote!(fn setup() -> fmt::Result<()>),
            parse_quote!(()),
            true,
        );
    }

    #[test]
    fn shapes_that_do_not() {
        let check = |signature: Signature, message: &str| {
            check_refused(Init::parse(&signature), message);
        };
        check(
            parse_quote!(async fn setup()),
            "the initialisation has nothing to wait for, as it may not call: remove `async`",
        );
        check(
            parse_quote!(fn setup(context: &Context)),
            "the initialisation runs before there is a request: remove its arguments",
        );
        check(
            parse_quote!(fn setup() -> impl Table),
            "what the initialisation returns is kept in a static: name its type instead of `impl`",
        );
        check(
            parse_quote!(fn setup() -> fmt::Result),
            "write out what the `Result` holds: `Result<State, Error>`",
        );
    }
}
