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
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Matcher {
    pub(crate) label: String,
    pub(crate) operator: String,
    pub(crate) value: String,
}

/// What an expression names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) selectors: Vec<Selector>,
    /// The labels in the lists of `by`, `on` and the like.
    pub(crate) grouping: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    Sign(char),
}

const LISTS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
const WORDS: [&str; 8] = ["and", "or", "unless", "bool", "offset", "atan2", "inf", "nan"];

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
    let (mut calls, mut called) = (Vec::new(), None);
    while let Some(token) = tokens.next() {
        let next = tokens.peek().cloned();
        match token {
            Token::Sign('(') => calls.push(called.take()),
            Token::Sign(')') => drop(calls.pop()),
            Token::Word(word) if LISTS.contains(&&*word) => {
                if next == Some(Token::Sign('(')) {
                    tokens.next();
                    let labels = until(&mut tokens, ')');
                    names.grouping.extend(labels.into_iter().filter_map(|token| match token {
                        Token::Word(label) => Some(label),
                        _ => None,
                    }));
                }
            }
            Token::Word(word) if WORDS.contains(&&*word) || word.starts_with(|c: char| c.is_ascii_digit()) => {}
            Token::Word(word) if next == Some(Token::Sign('(')) => called = Some(word),
            Token::Word(_) if matches!(&next, Some(Token::Word(list)) if LISTS.contains(&&**list)) => {}
            Token::Word(metric) => {
                let mut selector =
                    Selector { metric, matchers: Vec::new(), range: None, call: calls.last().cloned().flatten() };
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
    };
    let x = Selector {
        matchers: vec![matcher("l", "=~", "$v"), matcher("m", "!=", "w|z")],
        range: Some("$__rate_interval".into()),
        ..selector("x", Some("rate"))
    };
    let expected = vec![x, selector("up", None), selector("y", Some("histogram_quantile"))];
    assert_eq!(found, Names { selectors: expected, grouping: ["a", "b", "c"].map(str::to_owned).to_vec() });
}
