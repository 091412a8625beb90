//! What the stages of a Dockerfile start from.

use super::dockerfile::Dockerfile;

/// What an image is built on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// Nothing.
    Scratch,
    /// Another image.
    Image(String),
}

/// What a stage starts from in the end, through the stages before it; `None` if the file does not say it. Without a name it
/// is the last stage. `given` are the arguments of the build.
pub(super) fn source(file: &Dockerfile, target: Option<&str>, given: &[(String, String)]) -> Option<Source> {
    let mut arguments: Vec<(&str, String)> = Vec::new();
    let mut stages: Vec<(&str, Option<String>)> = Vec::new();
    for (keyword, rest) in file.steps() {
        match keyword {
            // FROM knows the arguments before the first stage alone.
            "ARG" if stages.is_empty() => {
                for word in rest.split_ascii_whitespace() {
                    let (name, default) = word.split_once('=').map_or((word, None), |(name, text)| (name, Some(text)));
                    let given = given.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
                    let value = given.or_else(|| substituted(default?.trim_matches(['"', '\'']), &arguments));
                    arguments.extend(value.map(|value| (name, value)));
                }
            }
            "FROM" => {
                let mut words = rest.split_ascii_whitespace().filter(|word| !word.starts_with("--"));
                let from = words.next().and_then(|word| substituted(word, &arguments));
                let name = words.next().filter(|word| word.eq_ignore_ascii_case("as")).and_then(|_| words.next());
                stages.push((name.unwrap_or_default(), from));
            }
            _ => {}
        }
    }
    let is = |stage: &(&str, Option<String>), name: &str| stage.0.eq_ignore_ascii_case(name) && !name.is_empty();
    let mut stage = match target {
        Some(target) => stages.iter().rposition(|stage| is(stage, target))?,
        None => stages.len().checked_sub(1)?,
    };
    loop {
        let from = stages[stage].1.as_deref()?;
        match stages[..stage].iter().rposition(|before| is(before, from)) {
            Some(before) => stage = before,
            None if from == "scratch" => return Some(Source::Scratch),
            None => return Some(Source::Image(from.to_owned())),
        }
    }
}

/// A text with the values of its variables; `None` if one is unknown, or in another form than `$NAME`, `${NAME}` and
/// `${NAME:-default}`.
fn substituted(text: &str, arguments: &[(&str, String)]) -> Option<String> {
    let value = |name: &str| arguments.iter().rev().find(|(key, _)| *key == name).map(|(_, value)| &**value);
    let (mut whole, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once('$') {
        whole.push_str(before);
        if let Some(braced) = after.strip_prefix('{') {
            let (inside, after) = braced.split_once('}')?;
            match inside.split_once(":-") {
                Some((_, default)) if default.contains('$') => return None,
                Some((name, default)) => {
                    whole.push_str(value(name).filter(|value| !value.is_empty()).unwrap_or(default));
                }
                None => whole.push_str(value(inside)?),
            }
            rest = after;
        } else {
            let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
            whole.push_str(value(&after[..end])?);
            rest = &after[end..];
        }
    }
    whole.push_str(rest);
    Some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_starts_from_what_the_stages_before_it_start_from() {
        let text = "FROM scratch AS Empty\nFROM node:20 AS build\nRUN x\nFROM --platform=linux/amd64 empty AS last\n\
                    COPY --from=build /a /a\n";
        let of = |text: &str, target: Option<&str>| source(&Dockerfile::read(text), target, &[]);
        let image = |name: &str| Some(Source::Image(name.to_owned()));
        assert_eq!(of(text, None), Some(Source::Scratch));
        assert_eq!(of(text, Some("BUILD")), image("node:20"));
        assert_eq!(of(text, Some("other")), None);
        assert_eq!(of("FROM node AS node\nFROM node\n", None), image("node"));
        assert_eq!(of("RUN x\n", None), None);
        assert_eq!(of("FROM\n", None), None);
    }

    #[test]
    fn the_arguments_of_a_build_are_in_the_name_of_a_base_image() {
        let given = [("TAG".to_owned(), "22".to_owned())];
        for (text, expected) in [
            ("ARG TAG=20\nFROM node:$TAG-slim\n", Some("node:22-slim")),
            ("ARG TAG\nFROM node:${TAG}\n", Some("node:22")),
            ("ARG NAME=node OTHER=\"$NAME:$TAG\"\nFROM $OTHER\n", None),
            ("ARG TAG\nARG IMAGE='node:${TAG}'\nFROM ${IMAGE}\n", Some("node:22")),
            ("ARG EMPTY=\nFROM a${EMPTY:-b}${NONE:-c}\n", Some("abc")),
            ("FROM node:${TAG}\n", None),
            ("FROM node:${TAG:+x}\n", None),
            ("ARG A=1\nFROM node:${B:-${A}}\n", None),
            ("FROM node:${TAG\n", None),
            ("FROM x\nARG TAG=1\nFROM node:$TAG\n", None),
        ] {
            let found = source(&Dockerfile::read(text), None, &given);
            assert_eq!(found, expected.map(|name| Source::Image(name.to_owned())), "{text}");
        }
    }
}
