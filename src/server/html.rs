//! HTML that only literals and escaped text can get into.

use std::fmt::{self, Display, Write as _};

/// HTML in the making. Markup comes from literals of this program; everything else is text and gets escaped.
#[derive(Debug, Default)]
pub(super) struct Html(String);

impl Html {
    /// Markup.
    pub(super) fn literal(&mut self, markup: &'static str) {
        self.0.push_str(markup);
    }

    /// Text, for an element or a quoted attribute.
    pub(super) fn text(&mut self, text: &(impl Display + ?Sized)) {
        // Writing to a String does not fail.
        let _ = write!(Escaper(&mut self.0), "{text}");
    }

    /// The whole.
    pub(super) fn into_string(self) -> String {
        self.0
    }
}

/// Writes markup and text by turns: `put!(page; "<b>" (name) "</b>")`.
macro_rules! put {
    (@ $page:expr, $markup:literal) => {
        $page.literal($markup)
    };
    (@ $page:expr, ($text:expr)) => {
        $page.text(&$text)
    };
    ($page:expr; $($part:tt)+) => {{
        $($crate::server::html::put!(@ $page, $part);)+
    }};
}
pub(super) use put;

struct Escaper<'a>(&'a mut String);

impl fmt::Write for Escaper<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                '\n' | '\t' => self.0.push(c),
                c if c.is_control() || turns_text(c) => self.0.push(char::REPLACEMENT_CHARACTER),
                c => self.0.push(c),
            }
        }
        Ok(())
    }
}

/// Characters that change the direction of the text after them, by which a name could pose as another one (Unicode
/// UAX 9 2).
const fn turns_text(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn escaped(text: &str) -> String {
        let mut html = Html::default();
        html.text(text);
        html.into_string()
    }

    #[test]
    fn nothing_gets_into_the_page_unescaped() {
        let mut page = Html::default();
        put!(page; "<b title=\"" ("\"1\" & 2") "\">" ("<script>alert('x')</script>") "</b>");
        let expected = "<b title=\"&quot;1&quot; &amp; 2\">&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;</b>";
        assert_eq!(page.into_string(), expected);
        assert_eq!(escaped("a\0b\u{202e}c\u{1b}[2J\n"), "a\u{fffd}b\u{fffd}c\u{fffd}[2J\n");
    }

    proptest! {
        #[test]
        fn text_can_end_neither_an_element_nor_an_attribute(text in any::<String>()) {
            let escaped = escaped(&text);
            prop_assert!(!escaped.contains(['<', '>', '"', '\'']));
            prop_assert!(!escaped.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')));
            let plain = escaped.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
            let plain = plain.replace("&#39;", "'").replace("&amp;", "&");
            let shown = |c: char| if c == '\u{fffd}' { None } else { Some(c) };
            let lost = |c: char| (c.is_control() && !matches!(c, '\n' | '\t')) || turns_text(c);
            let expected: String = text.chars().filter(|c| !lost(*c)).filter_map(shown).collect();
            prop_assert_eq!(plain.chars().filter_map(shown).collect::<String>(), expected);
        }
    }
}
