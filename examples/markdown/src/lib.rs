//! Makes HTML of Markdown, with tables and strike-through as on GitHub. The Markdown may come from
//! anybody: HTML in it is escaped, and links that run scripts lose their target.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

use alloc::vec::Vec;
use core::str::Utf8Error;

use markdown_rs::{CompileOptions, Options, ParseOptions};

/// Renders the event.
#[jiffy::function]
pub fn render(event: &[u8]) -> Result<Vec<u8>, Utf8Error> {
    let options = Options {
        parse: ParseOptions::gfm(),
        compile: CompileOptions::default(),
    };
    let text = str::from_utf8(event)?;
    // Every text is Markdown: there are only errors in MDX, which is not asked for.
    let html = markdown_rs::to_html_with_options(text, &options).unwrap_or_default();
    Ok(html.into_bytes())
}

#[cfg(test)]
mod tests {
    fn check(markdown: &str, html: &str) {
        assert_eq!(
            jiffy::testing::call!()
                .event(markdown)
                .run()
                .text()
                .trim_end(),
            html
        );
    }

    #[test]
    fn a_page() {
        let page = include_str!("../tests/page.md");
        check(page, include_str!("../tests/page.html").trim_end());
    }

    #[test]
    fn strangers_run_no_scripts() {
        check(
            "<script>alert(1)</script>",
            "&lt;script&gt;alert(1)&lt;/script&gt;",
        );
        check("[a](javascript:alert(1))", r#"<p><a href="">a</a></p>"#);
        check(
            "a <b onclick=x>b</b>",
            "<p>a &lt;b onclick=x&gt;b&lt;/b&gt;</p>",
        );
    }

    #[test]
    fn every_text_is_markdown() {
        check("", "");
        check("*a", "<p>*a</p>");
        check("\0", "<p>\u{fffd}</p>");
        check(&"[".repeat(2000), &format!("<p>{}</p>", "[".repeat(2000)));
        let (open, close) = ("<blockquote>\n".repeat(500), "\n</blockquote>".repeat(500));
        check(
            &format!("{} a", ">".repeat(500)),
            &format!("{open}<p>a</p>{close}"),
        );
    }

    #[test]
    fn what_is_no_text_is_an_error() {
        let error = jiffy::testing::call!().event(b"a\xff").run().error();
        assert_eq!(error.error_type, "Utf8Error");
        assert_eq!(
            error.message,
            "invalid utf-8 sequence of 1 bytes from index 1"
        );
    }
}
