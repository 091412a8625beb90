//! Which file of a crate imports which other one, read from the text of its sources.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// The path of a module in its crate: `["config", "dns"]`, and nothing for the root of the crate.
pub type Module = Vec<String>;

/// The files of a crate's library.
pub struct Sources {
    files: BTreeMap<Module, File>,
}

/// A file: what it imports, and what others can import from it though it belongs to one of its own modules.
struct File {
    path: PathBuf,
    text: String,
    imports: Vec<Import>,
    reexports: BTreeMap<String, Module>,
}

/// A path in the text, from the root of the crate on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Import {
    path: Module,
    is_reexport: bool,
}

impl Sources {
    /// Reads all files below a folder, without what is compiled for tests alone: modules `tests` and what is marked so.
    ///
    /// # Panics
    /// Where a file cannot be read.
    pub fn read(folder: &Path) -> Self {
        let mut paths = Vec::new();
        find(folder, &mut paths);
        let is_product = |path: &PathBuf| path.with_extension("").iter().all(|name| name != "tests");
        let texts = paths.into_iter().filter(is_product).map(|path| {
            let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            (path.strip_prefix(folder).unwrap().to_owned(), text)
        });
        Self::new(texts)
    }

    fn new(texts: impl IntoIterator<Item = (PathBuf, String)>) -> Self {
        let texts: BTreeMap<Module, (PathBuf, String)> =
            texts.into_iter().map(|(path, text)| (module(&path), (path, text))).collect();
        let modules: BTreeSet<_> = texts.keys().cloned().collect();
        let file = |(module, (path, text)): (Module, (PathBuf, String))| {
            let imports = imports(&without_tests(&tokens(&text)), &module, &modules);
            let passed_on = imports.iter().filter(|import| import.is_reexport);
            let reexports = passed_on.filter_map(|import| Some((import.path.last()?.clone(), import.path.clone())));
            let reexports = reexports.collect();
            (module, File { path, text, imports, reexports })
        };
        Self { files: texts.into_iter().map(file).collect() }
    }

    /// The files with their text.
    pub fn texts(&self) -> impl ExactSizeIterator<Item = (&Path, &str)> {
        self.files.values().map(|file| (&*file.path, &*file.text))
    }

    /// Each import from one file in another: who imports, and from where.
    pub fn imports(&self) -> BTreeSet<(&Module, &Module)> {
        let mut found = BTreeSet::new();
        for (module, file) in &self.files {
            // What is only passed on is no use of it.
            for import in file.imports.iter().filter(|import| !import.is_reexport) {
                let from = self.owner(&import.path);
                if from != module {
                    found.insert((module, from));
                }
            }
        }
        found
    }

    /// Where the file of a module is.
    pub fn path(&self, module: &Module) -> &Path {
        &self.files[module].path
    }

    /// The module in whose file the thing of this path is.
    fn owner(&self, path: &[String]) -> &Module {
        let deepest = (0..=path.len()).rev().find_map(|length| self.files.get_key_value(&path[..length]));
        let (module, file) = deepest.expect("the root is a module");
        match path.get(module.len()).and_then(|name| file.reexports.get(name)) {
            Some(passed_on) if passed_on != path => self.owner(passed_on),
            _ => module,
        }
    }

    /// The cycles in each folder, with its name: modules that import each other, directly or by way of others. A folder's modules are
    /// its files and folders, each with all that is below it, and the file of the folder itself.
    pub fn cycles(&self) -> Vec<(String, Vec<String>)> {
        let imports = self.imports();
        let folders: BTreeSet<&[String]> =
            self.files.keys().filter(|module| module.len() > 1).map(|module| &module[..module.len() - 1]).collect();
        let mut found = Vec::new();
        for folder in folders {
            let part = |module: &Module| module.starts_with(folder).then(|| module.get(folder.len()).cloned());
            let mut edges: BTreeMap<Option<String>, BTreeSet<Option<String>>> = BTreeMap::new();
            for (user, used) in &imports {
                if let (Some(user), Some(used)) = (part(user), part(used))
                    && user != used
                {
                    edges.entry(user).or_default().insert(used);
                }
            }
            let name = |part: &Option<String>| [folder, part.as_slice()].concat().join("::");
            let cycle = |cycle: &Vec<_>| (folder.join("::"), cycle.iter().map(name).collect());
            found.extend(components(&edges).iter().map(cycle));
        }
        found
    }
}

fn find(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            find(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The module of a file.
fn module(path: &Path) -> Module {
    let mut names: Module = path.with_extension("").iter().map(|name| name.to_str().unwrap().to_owned()).collect();
    if matches!(names.last().map(String::as_str), Some("mod" | "lib")) {
        names.pop();
    }
    names
}

/// Names, `::` and single other characters; no comments, and nothing of what stands in quotes.
fn tokens(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let word = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(length) = raw_string(rest) {
            length
        } else if word > 0 {
            found.push(rest[..word].to_owned());
            word
        } else if first == '"' {
            quoted(rest, '"')
        } else if first == '\'' && (rest[1..].starts_with('\\') || rest[1..].chars().nth(1) == Some('\'')) {
            quoted(rest, '\'')
        } else if rest.starts_with("::") {
            found.push("::".to_owned());
            2
        } else {
            if !first.is_whitespace() {
                found.push(first.to_string());
            }
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    found
}

/// The length of a literal in these quotes.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    let end = text[1..].find(|c| {
        let ends = c == quote && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |end| end + 2)
}

/// The length of the raw string that begins here, where one does.
fn raw_string(text: &str) -> Option<usize> {
    let rest = text.strip_prefix("br").or_else(|| text.strip_prefix('r'))?;
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    let inside = rest[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(text.len() - inside.len() + inside.find(&end)? + end.len())
}

/// The tokens without the items behind `#[cfg(test)]`.
fn without_tests(tokens: &[String]) -> Vec<String> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at..].iter().take(MARK.len()).eq(MARK.iter()) {
            at += MARK.len();
            let mut depth = 0;
            loop {
                match tokens.get(at).map(String::as_str) {
                    Some("{") => depth += 1,
                    Some("}") if depth == 1 => break,
                    Some("}") => depth -= 1,
                    Some(";") if depth == 0 => break,
                    Some(_) => {}
                    None => break,
                }
                at += 1;
            }
        } else {
            kept.push(tokens[at].clone());
        }
        at += 1;
    }
    kept
}

/// All paths of a file that begin with `crate`, `super`, `self` or a module of its own.
fn imports(tokens: &[String], module: &Module, modules: &BTreeSet<Module>) -> Vec<Import> {
    let mut found = Vec::new();
    for at in 0..tokens.len() {
        let begins = (at == 0 || tokens[at - 1] != "::") && tokens.get(at + 1).is_some_and(|next| next == "::");
        if !begins {
            continue;
        }
        let is_reexport = at >= 2 && tokens[at - 1] == "use" && matches!(&*tokens[at - 2], "pub" | ")");
        let mut paths = Vec::new();
        expand(&tokens[at..], &[], &mut paths);
        for names in paths {
            if let Some(path) = absolute(&names, module, modules) {
                found.push(Import { path, is_reexport });
            }
        }
    }
    found
}

/// The paths that begin here, those in braces one by one; how many tokens they take.
fn expand(tokens: &[String], before: &[String], found: &mut Vec<Vec<String>>) -> usize {
    let mut path = before.to_vec();
    let mut at = 0;
    loop {
        match tokens.get(at).map(String::as_str) {
            Some("{") => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token != "}") {
                    at += expand(&tokens[at..], &path, found).max(1);
                }
                return at + 1;
            }
            Some(name) if name.starts_with(|c: char| c.is_alphabetic() || c == '_') => path.push(name.to_owned()),
            _ => break,
        }
        at += 1;
        if tokens.get(at).is_none_or(|token| token != "::") {
            break;
        }
        at += 1;
    }
    if path.len() > before.len() || tokens.first().is_some_and(|token| token == "*") {
        found.push(path);
    }
    at
}

/// The path from the root of the crate on, where it is one of this crate.
fn absolute(names: &[String], module: &Module, modules: &BTreeSet<Module>) -> Option<Module> {
    let (first, rest) = names.split_first()?;
    let mut path: Module = match first.as_str() {
        "crate" => [rest].concat(),
        "self" | "super" => {
            let ups = names.iter().take_while(|name| *name == "super").count();
            let skipped = ups.max(1);
            [&module[..module.len().checked_sub(ups)?], &names[skipped..]].concat()
        }
        _ => {
            let own = [module, std::slice::from_ref(first)].concat();
            modules.contains(&own).then(|| [own.as_slice(), rest].concat())?
        }
    };
    if path.last().is_some_and(|name| name == "self") {
        path.pop();
    }
    Some(path)
}

/// The strongly connected components with more than one node.
fn components<T: Ord + Clone>(edges: &BTreeMap<T, BTreeSet<T>>) -> Vec<Vec<T>> {
    let reach: BTreeMap<&T, BTreeSet<&T>> = edges.keys().map(|node| (node, reached(edges, node))).collect();
    let mut found: BTreeSet<Vec<T>> = BTreeSet::new();
    for (node, others) in &reach {
        let both = |other: &&&T| reach.get(**other).is_some_and(|back| back.contains(node));
        let cycle: Vec<T> = others.iter().filter(both).map(|node| (*node).clone()).collect();
        if cycle.len() > 1 {
            found.insert(cycle);
        }
    }
    found.into_iter().collect()
}

/// All nodes to which edges lead from this one.
fn reached<'a, T: Ord>(edges: &'a BTreeMap<T, BTreeSet<T>>, from: &'a T) -> BTreeSet<&'a T> {
    let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(node) = next.pop() {
        next.extend(edges.get(node).into_iter().flatten().filter(|node| seen.insert(*node)));
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(files: &[(&str, &str)]) -> Sources {
        Sources::new(files.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned())))
    }

    /// What the file `b.rs` of this text imports, in a crate with modules `a` (`a::x`, `a::y`) and `b` (`b::z`).
    fn imported(text: &str) -> Vec<String> {
        let files = [("lib.rs", ""), ("a/mod.rs", "pub use x::X;"), ("a/x.rs", ""), ("a/y.rs", ""), ("b/z.rs", "")];
        let sources = sources(&[&files[..], &[("b.rs", text)]].concat());
        sources.imports().iter().filter(|(user, _)| user[..] == ["b"]).map(|(_, used)| used.join("::")).collect()
    }

    #[test]
    fn every_form_of_import_is_found() {
        assert_eq!(imported("use crate::a::Name;"), ["a"]);
        assert_eq!(imported("use crate::{\n    a::{self, y::{Y, Z}},\n};"), ["a", "a::y"]);
        assert_eq!(imported("use super::a::x::*;"), ["a::x"]);
        assert_eq!(imported("fn f() -> u8 { crate::a::y::g(z::h()) }"), ["a::y", "b::z"]);
        assert_eq!(imported("macro_rules! m { () => { $crate::a::y::Y } }"), ["a::y"]);
    }

    #[test]
    fn a_reexported_item_is_imported_from_its_own_module() {
        assert_eq!(imported("use crate::a::X;"), ["a::x"]);
        assert_eq!(imported("pub use z::Z;\npub(crate) use crate::a::y::Y;"), Vec::<String>::new());
    }

    #[test]
    fn comments_literals_and_tests_import_nothing() {
        let text = "// crate::a::x\nconst A: &str = \"crate::a::x \\\" crate::a::y\";\nconst B: &str = r#\"crate::a::x\"#;\n\
                    fn f<'a>(x: &'a str) -> char { '\"' }\n#[cfg(test)]\nmod tests { use super::a::y; fn g() {} }\n\
                    #[cfg(test)]\nuse crate::a::y;\n";
        assert_eq!(imported(text), Vec::<String>::new());
    }

    #[test]
    fn a_cycle_is_found_between_files_folders_and_the_file_of_the_folder() {
        let cycle = |files: &[(&str, &str)]| {
            let cycles = sources(&[files, &[("lib.rs", "")]].concat()).cycles();
            cycles.into_iter().map(|(folder, cycle)| [vec![folder], cycle].concat()).collect::<Vec<_>>()
        };
        let (x, y) = (("a/x.rs", "use super::y::Y;"), ("a/y.rs", "use super::x::X;"));
        assert_eq!(cycle(&[("a/mod.rs", "pub use x::X;"), x, y]), [["a", "a::x", "a::y"]]);
        assert_eq!(cycle(&[("a.rs", "pub use x::X;"), x, ("a/y.rs", "")]), Vec::<Vec<String>>::new());
        assert_eq!(cycle(&[("a.rs", "fn f(x: x::X) {}"), ("a/x.rs", "use super::f;")]), [["a", "a", "a::x"]]);
        let by_way = [("a/x.rs", "use super::y::Y;"), ("a/y/mod.rs", ""), ("a/y/deep.rs", "use crate::a::z;")];
        let last = [("a.rs", ""), ("a/z.rs", "use super::x::X;")];
        assert_eq!(cycle(&[&by_way[..], &last].concat()), [["a", "a::x", "a::y", "a::z"]]);
    }
}
