//! What users read is plain technical English: short sentences, and the words that the field uses.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use regex_lite::Regex;

/// Words a sentence, on average over a document.
const MOST_WORDS: f64 = 20.0;

/// Turns that readers stumble over, as regular expressions, and what to write instead.
const TURNS: [(&str, &str); 20] = [
    (r"nobody|somebody|anybody|whoever", "name the component, the person's role, or use the passive"),
    (r"anew|for ever", "again, new, forever"),
    (r"(is|are|was|were|be|been|being|what was) told", "notified, sent, reported"),
    (r"tells? (of|nothing|it|them|that|each|how|what|whether|about)", "report, send, show, notify"),
    (r"accus(e|es|ed|ing)", "report as down"),
    (r"bulletins?", "vote message"),
    (r"(holds?|held) (itself|\S+ for|it down)", "consider, report as"),
    (r"(each|a) second each|each (second|minute|hour|day)|each \d+ (ms|s|min|h)", "every second, per second"),
    (r"a minute each", "one minute each"),
    (r"time stamps?", "timestamp"),
    (r"fibres?", "fiber"),
    (r"\d %", "2%"),
    (r"mend(s|ed|ing)?", "fix, repair"),
    (r"(is|are|was|were|be|been) (ill|well)", "healthy, unhealthy"),
    (r"by daylight", "during business hours"),
    (r"(speak|speaks|spoke|hears?|heard|hearing)", "send, receive, answer"),
    (r"outlives?|outlived|last words", "survive, tolerate; last ranking"),
    (r"whose it is|who is there|who comes|asks who", "owner; authenticate"),
    (r"deaths?|dies|died", "outage, goes down"),
    (r"cut off itself|holds? out|comes? about|by what they were worth|what came of", "say what happens"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every document that users read, by its path in the repository.
fn documents() -> Vec<String> {
    let mut found: Vec<_> =
        ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"].into_iter().map(str::to_owned).collect();
    for folder in ["docs", "docs/runbooks"] {
        let names = fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().file_name());
        let pages = names.filter_map(|name| name.into_string().ok().filter(|name| name.ends_with(".md")));
        found.extend(pages.map(|name| format!("{folder}/{name}")));
    }
    found.sort();
    found
}

/// The sentences of a Markdown text as their number of words.
///
/// Code blocks, tables, headings, HTML and the bold lead-in of a list item are no sentences. A link counts as its text, inline
/// code as one word. A sentence ends at `.`, `!` or `?` before a space, and at the end of its paragraph or list item.
fn sentences(markdown: &str) -> Vec<usize> {
    let replace = |text: &str, pattern: &str, by: &str| Regex::new(pattern).unwrap().replace_all(text, by).into_owned();
    let text = replace(markdown, r"(?ms)^ *```.*?^ *```$", "\n");
    let text = replace(&text, r"(?s)<!--.*?-->|<[a-z/][^>]*>", "");
    let text = replace(&text, r"(?m)^ *(\||#).*$", "\n");
    let text = replace(&text, r"`[^`]*`", "code");
    let text = replace(&text, r"\[([^\]]*)\]\([^)]*\)", "$1");
    let text = replace(&text, r"(?m)^ *([-*]|\d+\.) ", "\n\n");
    let text = replace(&text, r"(?m)^\*\*[^*]*[.:?!]\*\*", "");
    let text = replace(&text, r"([.!?][)*]*)\s", "$1\n\n");
    let words = |block: &str| block.split_whitespace().filter(|word| word.contains(char::is_alphanumeric)).count();
    Regex::new(r"\n\s*\n").unwrap().split(&text).map(words).filter(|words| *words > 0).collect()
}

/// The string literals of a Rust source, with the line on which each begins.
fn literals(source: &str) -> Vec<(usize, String)> {
    let token = r##"(?s)//[^\n]*|'(?:\\.[^'\n]*|[^'\\\n])'|\br"([^"]*)"|\br#"(.*?)"#|"((?:[^"\\]|\\.)*)""##;
    let continued = Regex::new(r"\\\n\s*").unwrap();
    let found = Regex::new(token).unwrap();
    let found = found.captures_iter(source).filter_map(|token| {
        let text = (1..=3).find_map(|group| token.get(group))?;
        let line = source[..text.start()].matches('\n').count() + 1;
        Some((line, continued.replace_all(text.as_str(), "").into_owned()))
    });
    found.collect()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Each turn of the list that a text has.
fn turns(text: &str) -> Vec<String> {
    static PATTERNS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
        let whole = |turn| Regex::new(&format!(r"(?i)(?:^|[^-\w])({turn})(?:$|[^-\w])")).unwrap();
        TURNS.iter().map(|(turn, instead)| (whole(turn), *instead)).collect()
    });
    let found = PATTERNS.iter().flat_map(|(pattern, instead)| {
        pattern.captures_iter(text).map(move |hit| format!("{:?}: write {instead}", &hit[1]))
    });
    found.collect()
}

#[test]
fn sentences_of_every_document_are_short() {
    let long: Vec<_> = documents()
        .into_iter()
        .filter_map(|file| {
            let lengths = sentences(&fs::read_to_string(root().join(&file)).unwrap());
            let longest = lengths.iter().max()?; // a page may be a table alone
            let average = lengths.iter().sum::<usize>() as f64 / lengths.len() as f64;
            (average > MOST_WORDS).then(|| format!("{file}: {average:.1} words a sentence, the longest has {longest}"))
        })
        .collect();
    assert!(long.is_empty(), "more than {MOST_WORDS} words a sentence:\n{}", long.join("\n"));
}

#[test]
fn no_document_has_a_turn_that_readers_stumble_over() {
    let found: Vec<_> = documents()
        .into_iter()
        .flat_map(|file| {
            let text = fs::read_to_string(root().join(&file)).unwrap();
            let lines: Vec<_> = text.lines().enumerate().map(|(at, line)| (at + 1, turns(line))).collect();
            lines.into_iter().flat_map(move |(line, found)| {
                let file = file.clone();
                found.into_iter().map(move |turn| format!("{file}:{line}: {turn}"))
            })
        })
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn words_are_counted_as_a_reader_would() {
    let text = "# A heading. Not counted.\n\nTwo words. Three words here, and\nfour more `of code that` counts once!\n\n\
        | a | table. |\n\n```console\n$ not. counted.\n```\n- **Lead-in.** [A link](https://example.com/a.b.c) is text\n\
        - 1.5 s is one number\n<!-- no. comment. -->\n";
    assert_eq!(sentences(text), [2, 9, 4, 5]);
}

#[test]
fn turns_are_found_in_prose_and_in_strings_and_not_in_comments() {
    assert!(turns("It accuses nobody, at 2 % each second.").len() >= 4);
    assert_eq!(turns("A dead man's switch reports every second."), Vec::<String>::new());
    let source = "// nobody's \"comment\"\nlet a = 'x'; let b: &'static str = \"one \\\n      two \\\" three\";\nfor_r(r#\"raw \"text\"\"#);";
    let expected = [(2, "one two \\\" three".to_owned()), (4, "raw \"text\"".to_owned())];
    assert_eq!(literals(source), expected);
}

#[test]
fn no_message_of_the_program_has_a_turn_that_readers_stumble_over() {
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    files.sort();
    let found: Vec<_> = files
        .into_iter()
        .flat_map(|file| {
            let strings = literals(&fs::read_to_string(&file).unwrap());
            strings.into_iter().flat_map(move |(line, text)| {
                let file = file.strip_prefix(root()).unwrap().display().to_string();
                turns(&text).into_iter().map(move |turn| format!("{file}:{line}: {turn} in {text:?}"))
            })
        })
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}
