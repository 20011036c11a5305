//! What handlers and initialisations have in common.

use proc_macro2::{Group, Ident, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{Error, GenericParam, ItemFn, Safety, Signature, Type, TypePath};

/// The item as the author wrote it, then its glue or the reason why there is none. The item stays,
/// so that one mistake does not cause a second message about a missing function.
pub(crate) fn with_glue(item: &ItemFn, glue: syn::Result<TokenStream>) -> TokenStream {
    let glue = glue.unwrap_or_else(|error| error.to_compile_error());
    quote! { #item #glue }
}

/// Refuses `#[jiffy::NAME(...)]`.
pub(crate) fn no_arguments(arguments: TokenStream, name: &str) -> syn::Result<()> {
    if arguments.is_empty() {
        return Ok(());
    }
    let message = format!("`#[jiffy::{name}]` takes no arguments: remove them");
    Err(Error::new_spanned(arguments, message))
}

/// Refuses what neither a handler nor an initialisation can be. `what` begins the sentence.
pub(crate) fn check_plain(signature: &Signature, what: &str) -> syn::Result<()> {
    let refuse = |tokens: &dyn ToTokens, why: &str| {
        Err(Error::new_spanned(
            tokens.to_token_stream(),
            format!("{what} {why}"),
        ))
    };
    if let Safety::Unsafe(keyword) = &signature.safety {
        return refuse(keyword, "is called by safe code: remove `unsafe`");
    }
    if let Some(abi) = &signature.abi {
        return refuse(abi, "is called by Rust: remove `extern`");
    }
    if let Some(variadic) = &signature.variadic {
        return refuse(variadic, "takes a fixed number of arguments: remove `...`");
    }
    for parameter in &signature.generics.params {
        if !matches!(parameter, GenericParam::Lifetime(_)) {
            return refuse(
                parameter,
                "is called with one type only: name it instead of a generic",
            );
        }
    }
    match signature.receiver() {
        Some(receiver) => refuse(
            receiver,
            "is a free function: move it out of the `impl` block",
        ),
        None => Ok(()),
    }
}

/// Whether the last segment of a path type is `name`: the author may have imported it or not.
pub(crate) fn ends_in(ty: &Type, name: &str) -> bool {
    matches!(ty, Type::Path(TypePath { path, .. })
        if path.segments.last().is_some_and(|segment| segment.ident == name))
}

/// Replaces each named lifetime but `'static` with `'_`: the glue has none of the handler's names.
pub(crate) fn infer_lifetimes(tokens: TokenStream) -> TokenStream {
    let mut after_tick = false;
    tokens
        .into_iter()
        .map(|tree| match tree {
            TokenTree::Group(group) => TokenTree::Group(infer_in_group(&group)),
            TokenTree::Ident(ident) if after_tick && ident != "static" => {
                after_tick = false;
                Ident::new("_", ident.span()).into()
            }
            TokenTree::Punct(punct) => {
                after_tick = punct.as_char() == '\'';
                punct.into()
            }
            other => {
                after_tick = false;
                other
            }
        })
        .collect()
}

fn infer_in_group(group: &Group) -> Group {
    let mut inferred = Group::new(group.delimiter(), infer_lifetimes(group.stream()));
    inferred.set_span(group.span());
    inferred
}

#[cfg(test)]
pub(crate) fn check_refused<T>(parsed: syn::Result<T>, message: &str) {
    let error = parsed.err().expect("refused");
    assert_eq!(error.to_string(), message);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_inferred_but_not_static() {
        let ty: Type = syn::parse_quote!(In<'a, &'b [Part<'static, 'c>]>);
        let inferred: Type =
            syn::parse2(infer_lifetimes(ty.to_token_stream())).expect("still a type");
        let expected: Type = syn::parse_quote!(In<'_, &'_ [Part<'static, '_>]>);
        assert_eq!(
            inferred.to_token_stream().to_string(),
            expected.to_token_stream().to_string()
        );
    }

    #[test]
    fn attribute_arguments_are_refused() {
        let refused = no_arguments(quote!(memory = 16), "init");
        check_refused(refused, "`#[jiffy::init]` takes no arguments: remove them");
    }
}
