//! As much of PromQL as it takes to see what an expression names.

use std::collections::BTreeSet;

/// A selector of one of our metrics.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Selector {
    pub(crate) metric: String,
    /// Label, and the values that its matcher names; none where a template fills them in.
    pub(crate) matchers: Vec<(String, Vec<String>)>,
}

fn word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

/// The selectors of a text in which queries stand: an expression, or an annotation with templates.
pub(crate) fn selectors(text: &str) -> Vec<Selector> {
    let mut found = Vec::new();
    for (start, _) in text.match_indices("regionwatch_") {
        let before = text[..start].rfind(|c| !word(c)).map_or(0, |at| at + 1);
        let name: String = text[before..].chars().take_while(|c| word(*c)).collect();
        let rest = &text[before + name.len()..];
        let inside = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map_or("", |(inside, _)| inside);
        let matchers = inside.split(',').filter(|part| !part.trim().is_empty()).map(matcher).collect();
        found.push(Selector { metric: name, matchers });
    }
    found
}

fn matcher(text: &str) -> (String, Vec<String>) {
    let label: String = text.trim().chars().take_while(|c| word(*c)).collect();
    let value = text.trim()[label.len()..].trim_start_matches(['=', '!', '~']);
    let quoted = value.trim_matches(['"', '\'']);
    let values = if quoted == value { Vec::new() } else { quoted.split('|').map(str::to_owned).collect() };
    (label, values)
}

/// The labels in the lists of `by` and `on`.
pub(crate) fn grouping(text: &str) -> BTreeSet<String> {
    let mut labels = lists("by (", text);
    labels.extend(joins(text));
    labels
}

/// The labels in the lists of `on`.
pub(crate) fn joins(text: &str) -> BTreeSet<String> {
    lists("on (", text)
}

fn lists(keyword: &str, text: &str) -> BTreeSet<String> {
    let words: Vec<_> = text.split_whitespace().collect();
    words
        .join(" ")
        .split(keyword)
        .skip(1)
        .flat_map(|rest| rest.split(')').next().unwrap().split(','))
        .map(|label| label.trim().to_owned())
        .filter(|label| !label.is_empty())
        .collect()
}

#[test]
fn selectors_and_groupings_are_parsed() {
    let text = "sum by (a, b) (x:regionwatch_y:z{l=\"v\"}) and on (c) max(regionwatch_w{m=~'p|q',n=%[1]q}[5m])";
    let expected = [
        Selector { metric: "x:regionwatch_y:z".into(), matchers: vec![("l".into(), vec!["v".into()])] },
        Selector {
            metric: "regionwatch_w".into(),
            matchers: vec![("m".into(), vec!["p".into(), "q".into()]), ("n".into(), vec![])],
        },
    ];
    assert_eq!(selectors(text), expected);
    assert_eq!(grouping(text).into_iter().collect::<Vec<_>>(), ["a", "b", "c"]);
}
