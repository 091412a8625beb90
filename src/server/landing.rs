//! The page at `/`: what this is and where the rest is.

use std::fmt::{self, Write as _};

/// HTML and the Content-Security-Policy it needs.
pub(super) struct Landing {
    pub(super) html: String,
    pub(super) policy: String,
}

const LINKS: [(&str, &str); 6] = [
    ("/metrics", "all metrics, for Prometheus"),
    ("/metrics?collect=state", "the small page of states, for scrapes every second"),
    ("/api/v1/regions", "votes and ranking as JSON, for the peers"),
    ("/api/v1/probes", "recent probes as JSON"),
    ("/-/healthy", "liveness"),
    ("/-/ready", "readiness"),
];

const STYLE: &str = ":root{color-scheme:light dark;--ink:#1c2430;--paper:#fff;--soft:#5b6675;--link:#0b57d0}\
    @media(prefers-color-scheme:dark){:root{--ink:#e6e9ee;--paper:#12161c;--soft:#9aa5b4;--link:#8ab4f8}}\
    body{margin:3rem auto;max-width:42rem;padding:0 1rem;font:1rem/1.5 system-ui,sans-serif;\
    color:var(--ink);background:var(--paper)}\
    h1{font-size:1.5rem;margin:0}p,dd{color:var(--soft)}a{color:var(--link)}dd{margin:0 0 .75rem}";

impl Landing {
    pub(super) fn new(region: &str, version: &str) -> Self {
        // A nonce lets this one style through; nobody can know it before the page is made.
        let nonce = format!("{:032x}", rand::random::<u128>());
        let (region, version) = (Escaped(region), Escaped(version));
        let mut links = String::new();
        for (path, meaning) in LINKS {
            let path = Escaped(path);
            // Writing to a String does not fail.
            let _ = writeln!(links, "<dt><a href=\"{path}\">{path}</a></dt><dd>{meaning}</dd>");
        }
        let html = format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
             <title>regionwatch {region}</title>\n<style nonce=\"{nonce}\">{STYLE}</style>\n</head>\n<body>\n\
             <main>\n<h1>regionwatch</h1>\n<p>Vantage region <strong>{region}</strong>, version {version}</p>\n\
             <dl>\n{links}</dl>\n</main>\n</body>\n</html>\n"
        );
        let policy = format!(
            "default-src 'none'; style-src 'nonce-{nonce}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        );
        Self { html, policy }
    }
}

/// Text as it may stand in HTML, in an element or a quoted attribute.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            c => f.write_char(c),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_gets_into_the_page_unescaped() {
        let page = Landing::new("<script>alert('x')</script>", "\"1\" & 2").html;
        assert!(!page.contains("<script"));
        assert!(page.contains("&lt;script&gt;alert(&#39;x&#39;)"));
        assert!(page.contains("&quot;1&quot; &amp; 2"));
    }

    #[test]
    fn the_policy_admits_this_style_and_no_other() {
        let (one, two) = (Landing::new("r", "1"), Landing::new("r", "1"));
        assert_ne!(one.policy, two.policy);
        let nonce = one.policy.split("'nonce-").nth(1).and_then(|rest| rest.split('\'').next()).unwrap();
        assert!(one.html.contains(&format!("<style nonce=\"{nonce}\">")));
    }
}
