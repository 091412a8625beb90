//! What to change in the Dockerfile of an image: its base image and the parts that no start needs, each with the bytes that it
//! costs; and apart from them what is bad practice and costs nothing.

use std::collections::HashSet;

use super::{
    anatomy::Anatomy,
    facts::ImageConfig,
    layer::{File, Layer},
    pull::Pull,
};
use crate::model::labels;

labels! {
    /// A part of an image that may be smaller or not there.
    pub enum Part {
        /// What the image was built on, with everything in it. Its other parts are counted again.
        Base = "the base image",
        /// Files of a layer that a later one removes or replaces: they are pulled and never seen.
        Wasted = "removed by a later layer",
        /// What package managers keep to install faster the next time.
        Cache = "package caches",
        /// Packages of npm that are for development only.
        Development = "development packages",
        /// Compilers and headers.
        BuildTools = "build tools",
    }
}

impl Part {
    /// What to write in the Dockerfile.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Base => {
                "start FROM a smaller image that has what the program needs, such as a slim or distroless one"
            }
            Self::Wasted => {
                "remove the files in the RUN that makes them, or build in a stage of its own and COPY the result"
            }
            Self::Cache => {
                "keep caches out of layers: RUN --mount=type=cache, apt-get clean && rm -rf /var/lib/apt/lists/*, npm cache \
                 clean --force, pip --no-cache-dir"
            }
            Self::Development => "install with npm ci --omit=dev, or COPY only what was built into a last stage",
            Self::BuildTools => "build in a stage of its own, and COPY the result into a small last stage",
        }
    }
}

/// A finding about latency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is about.
    pub part: Part,
    /// What is pulled for it.
    pub pull: Pull,
    /// The number of its files.
    pub files: usize,
    /// The largest of them.
    pub example: String,
}

/// A part must have this many bytes on the wire to be worth a line.
pub(super) const LEAST: u64 = 100_000;

/// Folders that package managers keep caches in, as parts of a path.
const CACHES: [&str; 14] = [
    "/var/cache/apt/",
    "/var/lib/apt/lists/",
    "/var/cache/apk/",
    "/var/cache/dnf/",
    "/var/cache/yum/",
    "/.npm/_cacache/",
    "/.cache/pip/",
    "/.cache/yarn/",
    "/.yarn/cache/",
    "/.cache/go-build/",
    "/.cargo/registry/",
    "/cargo/registry/",
    "/.m2/repository/",
    "/.gradle/caches/",
];

/// Where compilers and headers are.
const BUILD_TOOLS: [&str; 6] =
    ["/usr/lib/gcc/", "/usr/include/", "/usr/local/rustup/", "/usr/local/go/", "/usr/libexec/gcc/", "/usr/lib/llvm"];

/// The parts of an image that may be smaller or not there, the largest one first, without what a node has already: the layers
/// before this one. A file belongs to the first part that it fits, and to the base image if it is in that. What of the base image
/// a later layer removes or replaces is no waste of this image.
pub(super) fn findings(anatomy: &Anatomy, from: usize, base: usize) -> Vec<Finding> {
    let wasted = anatomy.wasted();
    let development: HashSet<&str> =
        anatomy.layers.iter().flat_map(|layer| &layer.development).map(|path| &**path).collect();
    let mut found: [Option<Finding>; Part::ALL.len()] = Default::default();
    let mut largest = [0; Part::ALL.len()];
    for (n, layer) in anatomy.layers.iter().enumerate().skip(from) {
        for (number, file) in layer.files.iter().enumerate() {
            let is_wasted = n >= base && wasted.contains(&(n, number));
            let part = if is_wasted { Some(Part::Wasted) } else { part_of(file, &development) };
            let Some(part) = part else { continue };
            let finding = found[part as usize].get_or_insert_with(|| Finding {
                part,
                pull: Pull::default(),
                files: 0,
                example: String::new(),
            });
            finding.pull.packed += file.packed;
            finding.pull.size += file.size;
            finding.files += 1;
            if file.size >= largest[part as usize] {
                largest[part as usize] = file.size;
                finding.example = format!("/{}", file.path);
            }
        }
    }
    found[Part::Base as usize] = anatomy.layers.get(from..base).and_then(base_image);
    let mut findings: Vec<_> = found.into_iter().flatten().filter(|finding| finding.pull.packed >= LEAST).collect();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.pull.packed));
    findings
}

/// The layers of a base image as a finding.
fn base_image(layers: &[Layer]) -> Option<Finding> {
    let files = || layers.iter().flat_map(|layer| &layer.files);
    let largest = files().max_by_key(|file| file.size)?;
    let example = format!("/{}", largest.path);
    Some(Finding { part: Part::Base, pull: Pull::of(layers), files: files().count(), example })
}

fn part_of(file: &File, development: &HashSet<&str>) -> Option<Part> {
    let path = format!("/{}", file.path);
    if CACHES.iter().any(|folder| path.contains(folder)) {
        return Some(Part::Cache);
    }
    let mut folders = file.path.match_indices('/').map(|(at, _)| &file.path[..at]);
    if !development.is_empty() && folders.any(|folder| development.contains(folder)) {
        return Some(Part::Development);
    }
    BUILD_TOOLS.iter().any(|folder| path.starts_with(folder)).then_some(Part::BuildTools)
}

/// What is bad practice in the configuration of an image, and how to change it.
pub(super) fn hygiene(config: &ImageConfig) -> Vec<String> {
    let mut found = Vec::new();
    let user = config.user.split(':').next().unwrap_or_default();
    if matches!(user, "" | "0" | "root") {
        found.push("runs as root: add USER with a number, such as USER 65532");
    }
    let has_check = config.healthcheck.as_ref().is_some_and(|check| {
        check.get("Test").and_then(|test| test.get(0)).and_then(|kind| kind.as_str()).is_some_and(|kind| kind != "NONE")
    });
    if !has_check {
        found.push("has no HEALTHCHECK: add one where your platform has no probe of its own");
    }
    // The shell of a CMD also starts where an ENTRYPOINT gets it, as the script of an official image does.
    let is_shell = |words: &Option<Vec<String>>| words.as_deref().is_some_and(starts_a_shell);
    if is_shell(&config.entrypoint) || is_shell(&config.cmd) {
        found.push("starts by a shell, which gets the signals: write CMD and ENTRYPOINT in the exec form, [\"program\", \"argument\"]");
    }
    found.into_iter().map(str::to_owned).collect()
}

/// Whether a command is the shell form, such as `["/bin/bash", "-o", "pipefail", "-c", "node a.js"]`.
fn starts_a_shell(words: &[String]) -> bool {
    let Some((program, options)) = words.split_first() else { return false };
    let name = program.rsplit('/').next().unwrap_or_default();
    let is_script = |word: &String| word.starts_with('-') && !word.starts_with("--") && word.ends_with('c');
    matches!(name, "sh" | "ash" | "bash" | "dash") && options.iter().take(3).any(is_script)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coldstart::{
        anatomy::tests::{exported, exported_with, noise, packed, read},
        base::told_base,
        tar::archive,
    };

    #[test]
    fn planted_parts_are_found_with_what_removing_them_saves_within_20_percent() {
        let (kept, cache, deleted, package) =
            (noise(900_000, 1), noise(1_500_000, 2), noise(2_000_000, 3), noise(700_000, 4));
        let lock = br#"{"packages":{"node_modules/webpack":{"dev":true},"node_modules/react":{}}}"#;
        let text = vec![b't'; 3_000_000];
        let planted = [
            ("usr/bin/program", &kept[..], None),
            ("root/.npm/_cacache/content-v2/a", &cache, Some(Part::Cache)),
            ("tmp/source.tar", &deleted, Some(Part::Wasted)),
            ("app/node_modules/webpack/lib/a.js", &package, Some(Part::Development)),
            ("app/node_modules/react/index.js", &text, None),
            ("app/node_modules/.package-lock.json", &lock[..], None),
        ];
        let second = archive([("tmp/.wh.source.tar", 0o644, &b""[..]), ("app/a", 0o644, b"a")]);
        let layer = |without: Option<Part>| {
            let files = planted.iter().filter(|(.., part)| part.is_none() || *part != without);
            archive(files.map(|(path, content, _)| (*path, 0o644, *content)))
        };
        let packed = |without| {
            let anatomy = read(&exported(&[layer(without), second.clone()])).unwrap();
            anatomy.layers.iter().map(|layer| layer.packed).sum::<u64>()
        };
        let found = findings(&read(&exported(&[layer(None), second.clone()])).unwrap(), 0, 0);
        let parts: Vec<_> = found.iter().map(|finding| finding.part).collect();
        assert_eq!(parts, [Part::Wasted, Part::Cache, Part::Development]);
        let whole = packed(None);
        for finding in &found {
            let saved = (whole - packed(Some(finding.part))) as f64;
            let error = (finding.pull.packed as f64 - saved).abs() / saved;
            assert!(error < 0.2, "{finding:?} saves {saved}");
        }
        assert_eq!(found[0].example, "/tmp/source.tar");
    }

    /// Text as programs have it, without two lines that are the same.
    fn text(bytes: usize, seed: usize) -> Vec<u8> {
        let mut text = String::new();
        for n in seed * 1000.. {
            if text.len() >= bytes {
                break;
            }
            let words = ["export", "const", "string", "number", "function", "return", "undefined", "readonly"];
            text.push_str(&format!("{} v{} = {};\n", words[n % 7], n * n % 1009, words[n / 3 % 8]));
        }
        text.truncate(bytes);
        text.into_bytes()
    }

    #[test]
    fn thousands_of_small_files_of_text_cost_what_removing_them_saves() {
        let (before, after) = (noise(1_000_000, 1), noise(1_000_000, 2));
        for (size, count) in [(400, 8000), (1000, 4000), (60_000, 20)] {
            let names = (0..count).map(|n| format!("app/node_modules/m/folder{:03}/f{n:05}.d.ts", n / 160));
            let part: Vec<_> = names.zip(0..).map(|(name, n)| (name, text(size, n))).collect();
            let lock = br#"{"packages":{"node_modules/m":{"dev":true}}}"#;
            let layer = |part: &[(String, Vec<u8>)]| {
                let first = [("a", 0o644, &before[..]), ("app/node_modules/.package-lock.json", 0o644, &lock[..])];
                let part = part.iter().map(|(name, text)| (name.as_str(), 0o644, &text[..]));
                archive(first.into_iter().chain(part).chain([("z", 0o644, &after[..])]))
            };
            let (whole, rest) = (layer(&part), layer(&[]));
            let anatomy = read(&exported(std::slice::from_ref(&whole))).unwrap();
            let found = findings(&anatomy, 0, 0);
            assert_eq!((found.len(), found[0].part, found[0].files), (1, Part::Development, count));
            let is_near = |told: u64, saved: usize| (told as f64 / saved as f64 - 1.0).abs() < 0.2;
            let (told, saved) = (found[0].pull, packed(&whole).len() - packed(&rest).len());
            assert!(is_near(told.packed, saved), "{size}: {told:?} saves {saved}");
            assert!(
                is_near(told.size, whole.len() - rest.len()),
                "{size}: {told:?} saves {}",
                whole.len() - rest.len()
            );
            let wire = packed(&whole).len() as f64;
            assert!((anatomy.layers[0].packed as f64 / wire - 1.0).abs() < 0.05, "{size}: {anatomy:?} {wire}");
        }
    }

    #[test]
    fn what_a_node_has_is_no_finding_and_what_the_base_image_brings_is_one_of_its_own() {
        let (cache, status, own) = (noise(300_000, 1), noise(200_000, 2), noise(150_000, 3));
        let layers = [
            archive([("var/cache/apt/a", 0o644, &cache[..]), ("var/lib/dpkg/status", 0o644, &status)]),
            archive([]),
            archive([("var/lib/dpkg/status", 0o644, &b"new"[..]), ("root/.npm/_cacache/a", 0o644, &own)]),
            archive([("app", 0o644, &b"program"[..])]),
        ];
        let config = r#"{"history":[{"created_by":"ADD a"},{"created_by":"WORKDIR /"},
            {"created_by":"CMD [\"sh\"]","empty_layer":true},{"created_by":"RUN b"},{"created_by":"COPY c"}]}"#;
        let anatomy = read(&exported_with(&layers, config)).unwrap();
        let base = told_base(&anatomy).unwrap();
        assert_eq!(base, 2);
        let told =
            |from| findings(&anatomy, from, base).iter().map(|found| (found.part, found.files)).collect::<Vec<_>>();
        assert_eq!(told(0), [(Part::Base, 2), (Part::Cache, 2)]);
        assert_eq!(told(1), [(Part::Cache, 1)]);
        assert_eq!(told(base), [(Part::Cache, 1)]);
        assert_eq!(told(3), []);
    }

    #[test]
    fn compilers_and_headers_are_build_tools() {
        let tools = noise(300_000, 1);
        let layer = archive([("usr/lib/gcc/x86_64-linux-gnu/12/cc1", 0o755, &tools[..])]);
        let found = findings(&read(&exported(&[layer])).unwrap(), 0, 0);
        assert_eq!(found.iter().map(|finding| finding.part).collect::<Vec<_>>(), [Part::BuildTools]);
    }

    #[test]
    fn an_image_without_such_parts_has_no_findings() {
        let kept = noise(500_000, 1);
        let layer = archive([("usr/bin/program", 0o755, &kept[..]), ("usr/include/small.h", 0o644, b"x")]);
        assert!(findings(&read(&exported(&[layer])).unwrap(), 0, 0).is_empty());
    }

    #[test]
    fn hygiene_is_what_the_configuration_lacks() {
        let of = |text: &str| hygiene(&serde_json::from_str(text).unwrap()).len();
        assert_eq!(of("{}"), 2);
        let check = r#""Healthcheck":{"Test":["CMD","/check"]}"#;
        assert_eq!(of(&format!(r#"{{"User":"65532:65532",{check}}}"#)), 0);
        assert_eq!(of(&format!(r#"{{"User":"root",{check}}}"#)), 1);
        assert_eq!(of(r#"{"User":"1","Healthcheck":{"Test":["NONE"]}}"#), 1);
        assert_eq!(of(&format!(r#"{{"User":"1",{check},"Cmd":["/bin/sh","-c","node a.js"]}}"#)), 1);
        for (program, expected) in [
            (r#""Entrypoint":["/a"],"Cmd":["-c","sh"]"#, 0),
            (r#""Entrypoint":["/bin/sh","/start.sh"],"Cmd":["serve"]"#, 0),
            (r#""Entrypoint":["docker-entrypoint.sh"],"Cmd":["/bin/sh","-c","npm start"]"#, 1),
            (r#""Entrypoint":["/bin/bash","-o","pipefail","-c","a"]"#, 1),
        ] {
            assert_eq!(of(&format!(r#"{{"User":"1",{check},{program}}}"#)), expected, "{program}");
        }
    }
}
