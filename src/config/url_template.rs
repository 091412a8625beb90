//! URLs with placeholders, for the links of pushed alerts.

use std::{
    fmt::{self, Write as _},
    sync::Arc,
};

use crate::{
    model::url::{MASK, without_query_values},
    yaml::{
        Parsed,
        addresses::url,
        diagnostics::{one_of, without_secrets},
    },
};

/// A URL in which `{name}` stands for a value; empty if there is to be no link.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct UrlTemplate(Arc<str>);

impl UrlTemplate {
    /// The runbooks of this project.
    pub fn runbooks() -> Self {
        Self("https://github.com/regionwatch/regionwatch/blob/main/docs/runbooks/{alertname}.md".into())
    }

    /// The URL with these values, percent-encoded, in the places of their names; nothing if the template is empty.
    pub fn link(&self, values: &[(&str, &str)]) -> Option<String> {
        let fill = |url: String, (name, value): &(&str, &str)| url.replace(&format!("{{{name}}}"), &encoded(value));
        (!self.0.is_empty()).then(|| values.iter().fold(self.0.to_string(), fill))
    }
}

impl fmt::Display for UrlTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.0))
    }
}

impl fmt::Debug for UrlTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", shown(&self.0))
    }
}

/// The text without the values of its query and its fragment, but for placeholders.
fn shown(text: &str) -> String {
    let is_placeholder = |value: &str| value.starts_with('{') && value.find('}') == Some(value.len() - 1);
    let (page, fragment) = text.split_at(text.find('#').unwrap_or(text.len()));
    let fragment = match fragment.get(1..) {
        Some(value) if !value.is_empty() && !is_placeholder(value) => format!("#{MASK}"),
        _ => fragment.to_owned(),
    };
    let Some((path, query)) = page.split_once('?') else { return format!("{page}{fragment}") };
    let masked = query.split('&').map(|part| match part.split_once('=') {
        Some((_, value)) if is_placeholder(value) => part.to_owned(),
        _ => without_query_values(&format!("?{part}"))[1..].to_owned(),
    });
    format!("{path}?{}{fragment}", masked.collect::<Vec<_>>().join("&"))
}

/// A value as it may stand in each part of a URL (RFC 3986 2.3).
fn encoded(value: &str) -> String {
    value.bytes().fold(String::new(), |mut text, byte| {
        match byte {
            b'-' | b'.' | b'_' | b'~' => text.push(byte.into()),
            _ if byte.is_ascii_alphanumeric() => text.push(byte.into()),
            _ => {
                let _ = write!(text, "%{byte:02X}");
            }
        }
        text
    })
}

/// The URL of a runbook.
pub(super) fn runbook(text: &str) -> Parsed<UrlTemplate> {
    template(text, &["{alertname}"])
}

/// The URL of a dashboard.
pub(super) fn dashboard(text: &str) -> Parsed<UrlTemplate> {
    template(text, &["{peer_region}", "{vantage_region}"])
}

fn template(text: &str, known: &[&str]) -> Parsed<UrlTemplate> {
    if text.is_empty() {
        return Ok(UrlTemplate::default());
    }
    if !text.contains("://") {
        return Err(format!("has no scheme; write https://{}", without_secrets(text)));
    }
    let mut example = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        example.push_str(&rest[..at]);
        let end = rest[at..].find('}').map(|end| at + end + 1);
        let placeholder = end.map(|end| &rest[at..end]).filter(|found| found.starts_with('{'));
        let placeholder = placeholder
            .ok_or_else(|| format!("has a brace without its partner; write {}, or %7B and %7D", one_of(known)))?;
        if !known.contains(&placeholder) {
            let placeholder = placeholder.escape_debug();
            return Err(format!("has the unknown placeholder {placeholder}; write {}", one_of(known)));
        }
        example.push('x');
        rest = &rest[at + placeholder.len()..];
    }
    example.push_str(rest);
    let (page, fragment) = example.split_once('#').unwrap_or((&example, ""));
    url(page)?;
    if !fragment.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("has a character in its fragment that must be percent-encoded; write it such as %20".to_owned());
    }
    Ok(UrlTemplate(text.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_percent_encoded_wherever_they_stand() {
        let template =
            dashboard("https://g.example/d/x?var-peer={peer_region}&v={vantage_region}#{peer_region}").unwrap();
        let link = template.link(&[("peer_region", "a&b {vantage_region}/\u{fc}"), ("vantage_region", "eu-west_1.~")]);
        let peer = "a%26b%20%7Bvantage_region%7D%2F%C3%BC";
        assert_eq!(link, Some(format!("https://g.example/d/x?var-peer={peer}&v=eu-west_1.~#{peer}")));
    }

    #[test]
    fn an_empty_template_makes_no_link() {
        assert_eq!(runbook("").unwrap().link(&[("alertname", "x")]), None);
    }

    #[test]
    fn a_template_is_a_url_with_known_placeholders() {
        assert_eq!(runbook(&UrlTemplate::runbooks().to_string()), Ok(UrlTemplate::runbooks()));
        for text in ["https://{alertname}.example/", "http://a.example:8080/x#{alertname}", "https://a.example"] {
            assert_eq!(runbook(text).map(|template| template.to_string()).as_deref(), Ok(text));
        }
        for text in [
            "ftp://a/",
            "wiki/{alertname}",
            "https://a/{peer_region}",
            "https://a/{",
            "https://a/}",
            "https://a/{}",
            "https://a/{ALERTNAME}",
            "https://a/{{alertname}}",
            "https://a/{alertname",
            "https://user:hunter2@a/{alertname}",
            "https://a/x y",
            "https://a/#x y",
            "javascript:alert(1)",
        ] {
            assert!(runbook(text).is_err(), "{text}");
        }
    }
    #[test]
    fn the_fragment_is_sent_and_not_shown_unless_it_is_a_placeholder() {
        let template = runbook("https://a.example/x?a=1#hunter2").unwrap();
        assert_eq!(template.to_string(), "https://a.example/x?a=<secret>#<secret>");
        assert_eq!(template.link(&[]).as_deref(), Some("https://a.example/x?a=1#hunter2"));
        for (text, shown) in [("https://a/x#s{alertname}", "https://a/x#<secret>"), ("https://a/#", "https://a/#")] {
            assert_eq!(runbook(text).unwrap().to_string(), shown);
        }
    }
}
