//! What to change in the Dockerfile of an image: the parts of it that no start needs, each with the bytes that it costs; and
//! apart from them what is bad practice and costs nothing.

use std::collections::HashSet;

use super::{
    anatomy::{Anatomy, File},
    engine::ImageConfig,
    pull::Pull,
};
use crate::model::labels;

labels! {
    /// A part of an image that no start needs.
    pub enum Part {
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
const LEAST: u64 = 100_000;

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

/// The parts of an image that no start needs, the largest one first. A file belongs to the first part that it fits.
pub(super) fn findings(anatomy: &Anatomy) -> Vec<Finding> {
    let wasted = anatomy.wasted();
    let development: HashSet<&str> =
        anatomy.layers.iter().flat_map(|layer| &layer.development).map(|path| &**path).collect();
    let mut found: [Option<Finding>; Part::ALL.len()] = Default::default();
    let mut largest = [0; Part::ALL.len()];
    for (n, layer) in anatomy.layers.iter().enumerate() {
        for (number, file) in layer.files.iter().enumerate() {
            let part = if wasted.contains(&(n, number)) { Some(Part::Wasted) } else { part_of(file, &development) };
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
    let mut findings: Vec<_> = found.into_iter().flatten().filter(|finding| finding.pull.packed >= LEAST).collect();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.pull.packed));
    findings
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
    let program = config.entrypoint.iter().flatten().chain(config.cmd.iter().flatten()).take(2);
    let words: Vec<&str> = program.map(String::as_str).collect();
    if words == ["/bin/sh", "-c"] {
        found.push("starts by a shell, which gets the signals: write CMD and ENTRYPOINT in the exec form, [\"program\", \"argument\"]");
    }
    found.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coldstart::{
        anatomy::tests::{exported, noise, read},
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
        let found = findings(&read(&exported(&[layer(None), second.clone()])).unwrap());
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

    #[test]
    fn an_image_without_such_parts_has_no_findings() {
        let kept = noise(500_000, 1);
        let layer = archive([("usr/bin/program", 0o755, &kept[..]), ("usr/include/small.h", 0o644, b"x")]);
        assert!(findings(&read(&exported(&[layer])).unwrap()).is_empty());
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
        assert_eq!(of(&format!(r#"{{"User":"1",{check},"Entrypoint":["/a"],"Cmd":["/bin/sh","-c"]}}"#)), 0);
    }
}
