//! The attribute `#[test]` of suites with the harness of the testkit.

use proc_macro::{Delimiter, TokenStream, TokenTree};

/// Registers a function, which may be `async`, with the harness of its suite. `#[ignore = "reason"]` below it works as
/// with the `#[test]` of Rust.
#[proc_macro_attribute]
pub fn test(_: TokenStream, item: TokenStream) -> TokenStream {
    let (mut kept, mut ignored) = (TokenStream::new(), "None".to_owned());
    let mut tokens = item.into_iter().peekable();
    let (mut is_async, mut name) = (false, String::new());
    while let Some(token) = tokens.next() {
        match (&token, tokens.peek()) {
            (TokenTree::Punct(mark), Some(TokenTree::Group(group)))
                if mark.as_char() == '#' && group.delimiter() == Delimiter::Bracket =>
            {
                if let Some(reason) = ignore(group.stream()) {
                    ignored = format!("Some({reason})");
                    tokens.next();
                    continue;
                }
            }
            (TokenTree::Ident(word), Some(TokenTree::Ident(next))) if word.to_string() == "fn" => {
                name = next.to_string();
            }
            (TokenTree::Ident(word), _) if word.to_string() == "async" && name.is_empty() => is_async = true,
            _ => {}
        }
        kept.extend([token]);
    }
    let run = if is_async { format!("|| ::testkit::harness::block_on({name}())") } else { name.clone() };
    let register = format!(
        "::testkit::inventory::submit! {{ ::testkit::harness::Test {{ \
         module: module_path!(), name: {name:?}, ignored: {ignored}, run: {run} }} }}"
    );
    kept.extend(register.parse::<TokenStream>().expect("it is written above"));
    kept
}

/// The reason of the attribute `ignore`.
fn ignore(attribute: TokenStream) -> Option<String> {
    let mut tokens = attribute.into_iter();
    let is_ignore = matches!(tokens.next(), Some(TokenTree::Ident(word)) if word.to_string() == "ignore");
    is_ignore.then(|| tokens.nth(1).map_or_else(|| "\"\"".to_owned(), |reason| reason.to_string()))
}
