//! Reads a Dockerfile as far as a comparison needs it: its stages, its arguments, and the order of its steps.
//!
//! Line continuations, comments, the `escape` directive and here-documents follow the Dockerfile reference of Docker.

use std::path::Path;

/// An instruction with its continuation lines.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Instruction {
    /// The line where it begins, from 1.
    line: usize,
    /// In capital letters.
    keyword: String,
    /// The rest, in one line.
    rest: String,
}

/// A Dockerfile that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dockerfile {
    instructions: Vec<Instruction>,
}

/// Steps that install what a program needs: how the command begins, what of the context it reads, and what to write first.
const INSTALLS: [Install; 17] = [
    Install { words: &["npm", "ci"], manifests: "package.json and package-lock.json" },
    Install { words: &["npm", "install"], manifests: "package.json and package-lock.json" },
    Install { words: &["npm", "i"], manifests: "package.json and package-lock.json" },
    Install { words: &["yarn", "install"], manifests: "package.json and yarn.lock" },
    Install { words: &["pnpm", "install"], manifests: "package.json and pnpm-lock.yaml" },
    Install { words: &["pip", "install", "-r"], manifests: "requirements.txt" },
    Install { words: &["pip3", "install", "-r"], manifests: "requirements.txt" },
    Install { words: &["poetry", "install"], manifests: "pyproject.toml and poetry.lock" },
    Install { words: &["uv", "sync"], manifests: "pyproject.toml and uv.lock" },
    Install { words: &["go", "mod", "download"], manifests: "go.mod and go.sum" },
    Install { words: &["bundle", "install"], manifests: "Gemfile and Gemfile.lock" },
    Install { words: &["composer", "install"], manifests: "composer.json and composer.lock" },
    Install { words: &["cargo", "fetch"], manifests: "Cargo.toml and Cargo.lock" },
    Install { words: &["dotnet", "restore"], manifests: "the project files" },
    Install { words: &["apt-get", "install"], manifests: "" },
    Install { words: &["apt", "install"], manifests: "" },
    Install { words: &["apk", "add"], manifests: "" },
];

#[derive(Debug)]
struct Install {
    words: &'static [&'static str],
    /// The files of the context that it needs; empty if it needs none.
    manifests: &'static str,
}

impl Install {
    /// Whether a command of a shell is this one. Options may stand between its words.
    fn is(&self, command: &str) -> bool {
        let mut left = self.words;
        for word in command.split_ascii_whitespace() {
            match left {
                [] => return true,
                [next, rest @ ..] if *next == word || (*next == "-r" && word == "--requirement") => left = rest,
                // A variable of the environment before the program.
                _ if left.len() == self.words.len() && word.contains('=') => {}
                _ if word.starts_with('-') => {}
                _ => return false,
            }
        }
        left.is_empty()
    }

    fn name(&self) -> String {
        self.words.join(" ").trim_end_matches(" -r").to_owned()
    }
}

impl Dockerfile {
    /// Reads the text of a Dockerfile. What is no instruction is left to the builder, which says what is wrong.
    pub(super) fn read(text: &str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let escape = escape(text);
        let mut instructions: Vec<Instruction> = Vec::new();
        let mut lines = text.lines().enumerate();
        while let Some((number, line)) = lines.next() {
            if is_comment(line) {
                continue;
            }
            let mut whole = String::new();
            let mut next = line.trim();
            while let Some(part) = next.strip_suffix(escape) {
                whole.push_str(part);
                whole.push(' ');
                // Comments and empty lines do not end an instruction.
                next = lines.by_ref().map(|(_, line)| line.trim()).find(|line| !is_comment(line)).unwrap_or_default();
            }
            whole.push_str(next);
            let (keyword, rest) = whole.split_once(char::is_whitespace).unwrap_or((&whole, ""));
            let keyword = keyword.to_ascii_uppercase();
            if matches!(&*keyword, "RUN" | "COPY" | "ADD") {
                for end in here_documents(rest) {
                    // What has no end is no here-document, but text with such a word in it.
                    let mut after = lines.clone();
                    if after.any(|(_, line)| line.trim_start_matches('\t') == end) {
                        lines = after;
                    }
                }
            }
            instructions.push(Instruction { line: number + 1, keyword, rest: rest.trim().to_owned() });
        }
        Self { instructions }
    }

    /// The names of its stages.
    pub(super) fn stages(&self) -> impl Iterator<Item = &str> {
        self.of("FROM").filter_map(|rest| {
            let mut words = rest.split_ascii_whitespace();
            words.find(|word| word.eq_ignore_ascii_case("as"))?;
            words.next()
        })
    }

    /// Whether it declares an argument of the build.
    pub(super) fn declares(&self, argument: &str) -> bool {
        self.of("ARG").flat_map(str::split_ascii_whitespace).any(|word| word.split('=').next() == Some(argument))
    }

    /// The keyword and the rest of each instruction, in their order.
    pub(super) fn steps(&self) -> impl Iterator<Item = (&str, &str)> {
        self.instructions.iter().map(|step| (&*step.keyword, &*step.rest))
    }

    fn of(&self, keyword: &'static str) -> impl Iterator<Item = &str> {
        self.instructions.iter().filter(move |step| step.keyword == keyword).map(|step| &*step.rest)
    }

    /// Steps in an order that defeats the build cache: after a change of any file, all packages are installed again.
    pub(super) fn order(&self, context: &Path) -> Vec<String> {
        let mut found = Vec::new();
        let mut broad: Option<&Instruction> = None;
        let mut before: Vec<&Install> = Vec::new();
        for step in &self.instructions {
            match &*step.keyword {
                "FROM" => (broad, before) = (None, Vec::new()),
                "COPY" | "ADD" if broad.is_none() && is_broad(&step.rest, context) => broad = Some(step),
                "RUN" => {
                    for install in installs(&step.rest) {
                        match broad {
                            Some(copy) if !before.iter().any(|other| other.words == install.words) => {
                                found.push(advice(copy, step, install));
                            }
                            _ => {}
                        }
                        before.push(install);
                    }
                }
                _ => {}
            }
        }
        found
    }
}

fn advice(copy: &Instruction, run: &Instruction, install: &Install) -> String {
    let why = format!("{} in line {} runs again after each change of a file", install.name(), run.line);
    let Instruction { line, keyword, rest } = copy;
    match install.manifests {
        "" => format!("{why}: move it above {keyword} {rest} in line {line}"),
        manifests => format!("{why}: move it above {keyword} {rest} in line {line}, and COPY {manifests} before it"),
    }
}

/// The character that continues a line (the parser directive `escape`, which comes before everything else).
fn escape(text: &str) -> char {
    let directives = text.lines().map_while(|line| line.trim().strip_prefix('#')?.split_once('='));
    let mut escapes = directives.filter(|(name, _)| name.trim().eq_ignore_ascii_case("escape"));
    escapes.next().and_then(|(_, value)| value.trim().chars().next()).unwrap_or('\\')
}

fn is_comment(line: &str) -> bool {
    let line = line.trim_start();
    line.is_empty() || line.starts_with('#')
}

/// The words that end the here-documents of an instruction.
fn here_documents(rest: &str) -> Vec<&str> {
    // BuildKit takes a word for one that begins so, with the number of a file descriptor before it or none.
    let places = rest.match_indices("<<").filter(|(at, _)| {
        let word = rest[..*at].trim_end_matches(|c: char| c.is_ascii_digit());
        word.is_empty() || word.ends_with(|c: char| c.is_ascii_whitespace())
    });
    let words = places.filter_map(|(at, _)| {
        let after = &rest[at + 2..];
        let after = after.strip_prefix('-').unwrap_or(after);
        let word = after.split(|c: char| c.is_ascii_whitespace()).next()?.trim_matches(['"', '\'']);
        let is_name = word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        is_name.then_some(word)
    });
    words.collect()
}

/// Whether an instruction copies whole folders of the context, so that each change of a file in them is a change of it.
fn is_broad(rest: &str, context: &Path) -> bool {
    let mut words = rest.split_ascii_whitespace().peekable();
    while let Some(option) = words.next_if(|word| word.starts_with("--")) {
        if option.starts_with("--from=") {
            return false;
        }
    }
    let sources: Vec<&str> =
        words.map(|word| word.trim_matches(['[', ']', ',', '"'])).filter(|word| !word.is_empty()).collect();
    let sources = sources.split_last().map_or(&[][..], |(_, sources)| sources);
    sources.iter().any(|source| {
        let path = source.trim_start_matches("./");
        matches!(path, "" | "." | "*") || (!path.contains(['$', ':']) && context.join(path).is_dir())
    })
}

/// The steps of a `RUN` that install.
fn installs(rest: &str) -> Vec<&'static Install> {
    let mut rest = rest;
    while rest.starts_with("--") {
        rest = rest.split_once(char::is_whitespace).map_or("", |(_, after)| after.trim_start());
    }
    let exec = rest.replace("\", \"", " ").replace("\",\"", " ");
    let commands = exec.split(['&', ';', '|', '[', ']', '"']);
    let found = commands.filter_map(|command| INSTALLS.iter().find(|install| install.is(command)));
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(text: &str) -> Vec<String> {
        let context = tempfile::tempdir().unwrap();
        std::fs::create_dir(context.path().join("src")).unwrap();
        Dockerfile::read(text).order(context.path())
    }

    #[test]
    fn a_dependency_that_is_installed_after_all_files_are_copied_is_found() {
        for (text, expected) in [
            (
                "FROM node\nCOPY . .\nRUN npm install\n",
                "npm install in line 3 runs again after each change of a file: move it above COPY . . in line 2, and COPY \
                 package.json and package-lock.json before it",
            ),
            (
                "FROM a\nADD --chown=1 ./ /app/\nRUN --mount=type=cache,target=/x apt-get update && \\\n  # why\n  apt-get -y \
                 install curl\n",
                "apt-get install in line 3 runs again after each change of a file: move it above ADD --chown=1 ./ /app/ in line 2",
            ),
            (
                "FROM python\nCOPY [\"src\", \"/app\"]\nrun [\"pip\", \"install\", \"--requirement\", \"a.txt\"]\n",
                "pip install in line 3 runs again after each change of a file: move it above COPY [\"src\", \"/app\"] in \
                 line 2, and COPY requirements.txt before it",
            ),
        ] {
            assert_eq!(order(text), [expected], "{text}");
        }
    }

    #[test]
    fn an_order_that_keeps_the_cache_is_not_named() {
        for text in [
            "FROM node\nCOPY package.json package-lock.json ./\nRUN npm ci\nCOPY . .\nRUN npm run build\n",
            "FROM node\nCOPY package.json ./\nRUN npm ci\nCOPY . .\nRUN npm ci --omit=dev\n",
            "FROM node AS a\nCOPY . .\nFROM node\nRUN npm ci\n",
            "FROM node\nCOPY --from=build /app .\nRUN npm ci\n",
            "FROM python\nCOPY . .\nRUN pip install .\n",
            "FROM node\n# COPY . .\nRUN npm ci\n",
            "FROM node\nRUN <<EOF\nCOPY . .\nEOF\nRUN npm ci\n",
            "FROM node\nCOPY . .\nRUN echo npm ci\n",
        ] {
            assert!(order(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn stages_and_arguments_are_those_of_the_file() {
        let text = "# escape=`\nARG NODE=20 OTHER\nFROM --platform=linux/amd64 node:${NODE} as build\nRUN a `\n  b\nFROM build AS \
                    last\nfrom scratch\n";
        let file = Dockerfile::read(text);
        assert_eq!(file.stages().collect::<Vec<_>>(), ["build", "last"]);
        assert!(file.declares("NODE") && file.declares("OTHER") && !file.declares("node"));
        assert_eq!(file.instructions[2], Instruction { line: 4, keyword: "RUN".into(), rest: "a  b".into() });
    }

    #[test]
    fn only_a_word_that_begins_with_its_sign_begins_a_here_document() {
        for shift in [
            "RUN x=$((1<<n))",
            "RUN x=$(( 1 << n ))",
            "RUN a <<-",
            "RUN cat <<EOF 3<<-OTHER\nFROM x AS y\nEOF\n\tOTHER",
        ] {
            let file = Dockerfile::read(&format!("FROM a AS first\n{shift}\nFROM b AS last\nARG LATE\n"));
            assert_eq!(file.stages().collect::<Vec<_>>(), ["first", "last"], "{shift}");
            assert!(file.declares("LATE"), "{shift}");
        }
    }

    #[test]
    fn any_text_is_read() {
        for text in
            ["", "\\", "RUN \\", "RUN <<", "COPY", "FROM a as", "RUN <<A <<B\n", "\u{feff}FROM a", "# escape=\nRUN"]
        {
            let file = Dockerfile::read(text);
            let _ = (file.order(Path::new("/nothing")), file.stages().count());
        }
    }

    #[test]
    fn a_byte_order_mark_and_text_that_looks_like_a_here_document_hide_no_stage() {
        let file = Dockerfile::read("\u{feff}FROM a AS one\nRUN echo \"usage: x <<EOF\"\nFROM one AS two\n");
        assert_eq!(file.stages().collect::<Vec<_>>(), ["one", "two"]);
        let file = Dockerfile::read("FROM a AS one\nRUN <<EOF\nFROM x AS none\nEOF\nFROM one AS two\n");
        assert_eq!(file.stages().collect::<Vec<_>>(), ["one", "two"]);
    }
}
