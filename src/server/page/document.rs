//! The frame of every page: head, navigation, footer.

use std::time::Duration;

use bytes::Bytes;
use maud::{DOCTYPE, Markup, html};

use super::{assets::ASSETS, headline};
use crate::{
    model::{LabelValue, Region},
    status::{Headline, Overview, Severity, format},
};

/// What every page shows about the program.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About<'a> {
    /// The vantage region.
    pub(crate) region: &'a Region,
    /// Its environment, if it has one.
    pub(crate) environment: Option<&'a LabelValue>,
    /// The version of this program.
    pub(crate) version: &'static str,
    /// How long it has been serving.
    pub(crate) uptime: Duration,
}

const PAGES: [(&str, &str); 5] = [
    ("/", "Overview"),
    ("/config", "Configuration"),
    ("/metrics", "Metrics"),
    ("/api/v1/regions", "Votes (JSON)"),
    ("/api/v1/probes", "Probes (JSON)"),
];

/// A page with navigation. `url` is its place in the navigation, if it has one; a page that is not `live` has no script
/// that updates it.
pub(super) fn page(about: About<'_>, overview: &Overview, title: &str, url: &str, live: bool, main: Markup) -> Bytes {
    let headline = Headline::of(overview);
    let mark = headline::mark(&headline);
    let body = html! {
        header.top {
            a.brand href="/" {
                svg viewBox="0 0 16 16" aria-hidden="true" {
                    circle cx="8" cy="8" r="6.5" {}
                    circle cx="8" cy="8" r="2.5" {}
                }
                "regionwatch"
            }
            span.vantage {
                span.dim { "vantage" } " " b { (about.region) }
                @if let Some(environment) = about.environment {
                    " " span.dim { "environment" } " " b #environment { (environment) }
                }
            }
            nav aria-label="Pages" {
                @for (page, name) in PAGES {
                    a href=(page) aria-current=[(page == url).then_some("page")] { (name) }
                }
            }
            p #live .live role="status" {}
        }
        main #main tabindex="-1" { (main) }
    };
    let as_of = html! {
        span #made { "as of " time datetime=(overview.at) { (format::clock(overview.at)) " UTC" } }
    };
    document(about, &[&mark, title], headline.severity(), live, &body, Some(&as_of))
}

/// A page that has only a main part.
pub(super) fn bare(about: About<'_>, title: &str, main: &Markup) -> Bytes {
    document(about, &[title], Severity::Watch, false, main, None)
}

fn document(
    about: About<'_>,
    titles: &[&str],
    severity: Severity,
    live: bool,
    body: &Markup,
    as_of: Option<&Markup>,
) -> Bytes {
    let document = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width,initial-scale=1";
                meta name="color-scheme" content="light dark";
                title {
                    @for title in titles.iter().filter(|title| !title.is_empty()) { (title) " \u{b7} " }
                    (about.region)
                    @if let Some(environment) = about.environment { " \u{b7} " (environment) }
                    " \u{b7} regionwatch"
                }
                link rel="icon" href=(ASSETS.icon(severity).url);
                link rel="stylesheet" href=(ASSETS.style.url);
                @if live {
                    script src=(ASSETS.script.url) defer {}
                    noscript { meta http-equiv="refresh" content="5"; }
                }
            }
            body {
                a.skip href="#main" { "Skip to content" }
                (body)
                footer {
                    span { "regionwatch " (about.version) }
                    span { "vantage " (about.region) }
                    span #uptime { "up " (format::duration(about.uptime)) }
                    @if let Some(as_of) = as_of { (as_of) }
                }
            }
        }
        "\n"
    };
    without_invisible(document.into_string()).into()
}

/// Replaces characters that a name could hide behind or pose by: control characters, and those that change the
/// direction of the text after them (Unicode UAX 9, section 2). No markup contains them.
fn without_invisible(page: String) -> String {
    let is_invisible = |c: char| {
        (c.is_control() && !matches!(c, '\n' | '\t'))
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    match page.contains(is_invisible) {
        true => page.replace(is_invisible, "\u{fffd}"),
        false => page,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An element and an attribute with this text.
    fn shown(text: &str) -> String {
        without_invisible(html! { b title=(text) { (text) } }.into_string())
    }

    fn is_invisible(c: char) -> bool {
        let turns_text =
            matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        turns_text || (c.is_control() && !matches!(c, '\n' | '\t'))
    }

    #[test]
    fn text_is_escaped_and_invisible_characters_are_replaced() {
        let text = "\"1\" & <script>alert('x')</script>";
        let escaped = "&quot;1&quot; &amp; &lt;script&gt;alert('x')&lt;/script&gt;";
        assert_eq!(shown(text), format!("<b title=\"{escaped}\">{escaped}</b>"));
        let escaped = "a\u{fffd}b\u{fffd}c\u{fffd}[2J\n";
        assert_eq!(shown("a\0b\u{202e}c\u{1b}[2J\n"), format!("<b title=\"{escaped}\">{escaped}</b>"));
    }

    proptest! {
        #[test]
        fn text_can_end_neither_an_element_nor_an_attribute(text in any::<String>()) {
            let page = shown(&text);
            let escaped = page.strip_prefix("<b title=\"").and_then(|rest| rest.split_once("\">")).unwrap().0;
            prop_assert_eq!(&page, &format!("<b title=\"{escaped}\">{escaped}</b>"));
            prop_assert!(!escaped.contains(['<', '>', '"']) && !escaped.contains(is_invisible));
            let plain = escaped.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&");
            prop_assert_eq!(plain, text.replace(is_invisible, "\u{fffd}"));
        }
    }
}
