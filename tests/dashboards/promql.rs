//! As much of PromQL as it takes to see what an expression selects, and by what it groups. Whether it is PromQL at all
//! is promtool's to say.

/// A vector selector.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Selector {
    pub(crate) metric: String,
    pub(crate) matchers: Vec<Matcher>,
    /// What stands in brackets.
    pub(crate) range: Option<String>,
    /// The function whose first argument begins with it.
    pub(crate) call: Option<String>,
    /// The innermost aggregation around it, and its labels.
    pub(crate) aggregation: Option<Aggregation>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Matcher {
    pub(crate) label: String,
    pub(crate) operator: String,
    pub(crate) value: String,
}

/// An aggregation, such as `sum by (a)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Aggregation {
    pub(crate) name: String,
    pub(crate) by: Vec<String>,
}

/// A list of labels after `by`, `on` and the like.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Grouping {
    pub(crate) word: String,
    pub(crate) labels: Vec<String>,
}

/// What an expression names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) selectors: Vec<Selector>,
    pub(crate) groupings: Vec<Grouping>,
}

impl Names {
    /// The labels in all lists.
    pub(crate) fn grouped(&self) -> impl Iterator<Item = &String> {
        self.groupings.iter().flat_map(|grouping| &grouping.labels)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    Sign(char),
}

const LISTS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
const WORDS: [&str; 8] = ["and", "or", "unless", "bool", "offset", "atan2", "inf", "nan"];
const AGGREGATIONS: [&str; 9] = ["sum", "count", "avg", "min", "max", "group", "quantile", "topk", "bottomk"];

fn tokens(text: &str) -> Vec<Token> {
    let word = |c: char| c.is_ascii_alphanumeric() || "_:$.".contains(c);
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if first == '"' {
            // No value of ours holds an escaped quote.
            let end = rest[1..].find('"').map_or(rest.len() - 1, |end| end + 1);
            found.push(Token::Text(rest[1..end].to_owned()));
            end + 1
        } else if word(first) {
            let end = rest.find(|c| !word(c)).unwrap_or(rest.len());
            found.push(Token::Word(rest[..end].to_owned()));
            end
        } else {
            found.push(Token::Sign(first));
            first.len_utf8()
        };
        rest = rest[length..].trim_start();
    }
    found
}

/// The tokens up to a closing sign, which is taken too.
fn until(tokens: &mut std::iter::Peekable<std::vec::IntoIter<Token>>, sign: char) -> Vec<Token> {
    tokens.by_ref().take_while(|token| *token != Token::Sign(sign)).collect()
}

fn matchers(tokens: Vec<Token>) -> Vec<Matcher> {
    let mut found: Vec<Matcher> = Vec::new();
    for token in tokens {
        match (token, found.last_mut()) {
            (Token::Word(label), _) => {
                found.push(Matcher { label, operator: String::new(), value: String::new() });
            }
            (Token::Sign(sign), Some(last)) if sign != ',' => last.operator.push(sign),
            (Token::Text(value), Some(last)) => last.value = value,
            _ => {}
        }
    }
    found
}

/// What an expression names.
pub(crate) fn names(expression: &str) -> Names {
    let mut tokens = tokens(expression).into_iter().peekable();
    let mut names = Names::default();
    let (mut calls, mut called, mut by) = (Vec::<Option<String>>::new(), None, Vec::new());
    let mut aggregations: Vec<Option<Aggregation>> = Vec::new();
    while let Some(token) = tokens.next() {
        let next = tokens.peek().cloned();
        match token {
            Token::Sign('(') => {
                let called = called.take();
                let name = called.clone().filter(|name: &String| AGGREGATIONS.contains(&&**name));
                aggregations.push(name.map(|name| Aggregation { name, by: std::mem::take(&mut by) }));
                calls.push(called);
            }
            Token::Sign(')') => {
                calls.pop();
                aggregations.pop();
            }
            Token::Word(word) if LISTS.contains(&&*word) => {
                if next == Some(Token::Sign('(')) {
                    tokens.next();
                    let labels = until(&mut tokens, ')');
                    let labels = labels.into_iter().filter_map(|token| match token {
                        Token::Word(label) => Some(label),
                        _ => None,
                    });
                    let labels: Vec<_> = labels.collect();
                    if word == "by" {
                        by.clone_from(&labels);
                    }
                    names.groupings.push(Grouping { word, labels });
                }
            }
            Token::Word(word) if WORDS.contains(&&*word) || word.starts_with(|c: char| c.is_ascii_digit()) => {}
            Token::Word(word) if next == Some(Token::Sign('(')) => called = Some(word),
            Token::Word(word) if matches!(&next, Some(Token::Word(list)) if LISTS.contains(&&**list)) => {
                called = AGGREGATIONS.contains(&&*word).then_some(word);
            }
            Token::Word(metric) => {
                let mut selector = Selector {
                    metric,
                    matchers: Vec::new(),
                    range: None,
                    call: calls.last().cloned().flatten(),
                    aggregation: aggregations.iter().rev().flatten().next().cloned(),
                };
                if tokens.next_if_eq(&Token::Sign('{')).is_some() {
                    selector.matchers = matchers(until(&mut tokens, '}'));
                }
                if tokens.next_if_eq(&Token::Sign('[')).is_some() {
                    let words = until(&mut tokens, ']').into_iter().filter_map(|token| match token {
                        Token::Word(word) => Some(word),
                        _ => None,
                    });
                    selector.range = Some(words.collect());
                }
                names.selectors.push(selector);
            }
            Token::Text(_) | Token::Sign(_) => {}
        }
    }
    names
}

#[test]
fn selectors_ranges_calls_and_groupings_are_parsed() {
    let found = names(
        r#"2 * sum by (a, b) (rate(x{l=~"$v", m!="w|z"}[$__rate_interval])) / on (c) group_right () (up == 1) or histogram_quantile(0.5, y)"#,
    );
    let labels = |list: &[&str]| list.iter().map(|label| (*label).to_owned()).collect::<Vec<_>>();
    let matcher = |label: &str, operator: &str, value: &str| Matcher {
        label: label.into(),
        operator: operator.into(),
        value: value.into(),
    };
    let selector = |metric: &str, call: Option<&str>| Selector {
        metric: metric.into(),
        matchers: Vec::new(),
        range: None,
        call: call.map(str::to_owned),
        aggregation: None,
    };
    let x = Selector {
        matchers: vec![matcher("l", "=~", "$v"), matcher("m", "!=", "w|z")],
        range: Some("$__rate_interval".into()),
        aggregation: Some(Aggregation { name: "sum".into(), by: labels(&["a", "b"]) }),
        ..selector("x", Some("rate"))
    };
    let expected = vec![x, selector("up", None), selector("y", Some("histogram_quantile"))];
    let grouping = |word: &str, list: &[&str]| Grouping { word: word.into(), labels: labels(list) };
    let groupings = vec![grouping("by", &["a", "b"]), grouping("on", &["c"]), grouping("group_right", &[])];
    assert_eq!(found, Names { selectors: expected, groupings });
}
