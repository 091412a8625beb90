//! A file of what to compare: images and Dockerfiles, each with limits, variables and a probe of its own.

use std::path::{Path, PathBuf};

use super::{
    build::Matrix,
    comparison::{Candidate, Origin},
    engine::ContainerOptions,
    limits::{cpus, memory},
    readiness::Question,
};
use crate::yaml::{ConfigErrors, Diagnostics, Item, Place, tree};

const FORM: &str = "write a list of mappings, such as images: [{image: shop:1}, {dockerfile: slim.Dockerfile}]";

/// The keys of an entry.
const KEYS: [&str; 11] = [
    "build_args",
    "build_options",
    "context",
    "cpus",
    "dockerfile",
    "env",
    "image",
    "memory",
    "name",
    "probe",
    "target",
];

/// Reads what to compare from the text of a file in this folder, which relative paths start from. What an entry leaves
/// out is that of `common`.
///
/// # Errors
/// Every error, with its line and column.
pub fn candidates(
    name: &str,
    text: &str,
    folder: &Path,
    common: &(Question, ContainerOptions),
) -> Result<Vec<Candidate>, ConfigErrors> {
    let diagnostics = Diagnostics::default();
    let found = tree::read(text, &diagnostics).and_then(|node| {
        let images = Item::root(&node, &diagnostics).fields(&["images"])?.required("images", FORM)?;
        images.each(|item| entry(item, folder, common))
    });
    if found.as_ref().is_some_and(Vec::is_empty) {
        diagnostics.add(Place::Whole, "", format!("{name} has no image; {FORM}"));
    }
    match diagnostics.into_errors(name) {
        Some(errors) => Err(errors),
        None => Ok(found.unwrap_or_default().into_iter().flatten().collect()),
    }
}

/// The image of an entry, or the images of a Dockerfile.
fn entry(item: &Item<'_>, folder: &Path, common: &(Question, ContainerOptions)) -> Option<Vec<Candidate>> {
    let fields = item.fields(&KEYS)?;
    let text = |key: &str| fields.read(key, |item| item.text().map(str::to_owned));
    let path = |key: &str| text(key).map(|path| folder.join(path));
    let mut options = common.1.clone();
    options.cpus = fields.read("cpus", |item| item.read(cpus)).or(options.cpus);
    options.memory = fields.read("memory", |item| item.read(memory)).or(options.memory);
    if let Some(variables) = fields.read("env", pairs) {
        options.env.extend(variables.into_iter().map(|(key, value)| format!("{key}={value}")));
    }
    let question = fields.read("probe", |item| item.read(Question::parse)).unwrap_or_else(|| common.0.clone());
    let origins = match (text("image"), path("dockerfile")) {
        (Some(image), None) => {
            let of_builds = ["build_args", "build_options", "context", "target"];
            if let Some(item) = of_builds.iter().find_map(|key| fields.get(key)) {
                item.wrong("goes with dockerfile; remove it, or write dockerfile instead of image");
                return None;
            }
            vec![(image.clone(), Origin::Engine(image))]
        }
        (None, Some(dockerfile)) => built(item, &fields, dockerfile, path("context"))?,
        _ => {
            item.wrong("has not one of image and dockerfile; write one, such as image: shop:1");
            return None;
        }
    };
    let name = text("name");
    if name.as_ref().is_some_and(String::is_empty) {
        item.wrong("has an empty name; remove it, or write one");
        return None;
    }
    if name.is_some() && origins.len() > 1 {
        item.wrong("has one name for several images; remove the name, or write one value for each argument");
        return None;
    }
    let candidates = origins.into_iter().map(|(own, origin)| Candidate {
        name: name.clone().unwrap_or(own),
        origin,
        question: question.clone(),
        options: options.clone(),
    });
    Some(candidates.collect())
}

fn built(
    item: &Item<'_>,
    fields: &crate::yaml::Fields<'_>,
    dockerfile: PathBuf,
    context: Option<PathBuf>,
) -> Option<Vec<(String, Origin)>> {
    let texts = |item: &Item<'_>| item.each(|entry| entry.text().map(str::to_owned));
    let matrix = Matrix {
        dockerfiles: vec![dockerfile],
        context,
        targets: fields.read("target", texts).unwrap_or_default(),
        arguments: fields
            .read("build_args", |item| {
                let entries = item.entries()?.into_iter();
                Some(entries.filter_map(|(key, values)| Some((key.to_owned(), texts(&values)?))).collect())
            })
            .unwrap_or_default(),
        options: fields.read("build_options", texts).unwrap_or_default(),
    };
    match matrix.builds() {
        Ok(builds) => Some(builds.into_iter().map(|(name, build)| (name, Origin::Build(build))).collect()),
        Err(reason) => {
            fields.get("dockerfile").as_ref().unwrap_or(item).wrong(reason);
            None
        }
    }
}

fn pairs(item: &Item<'_>) -> Option<Vec<(String, String)>> {
    let entries = item.entries()?.into_iter();
    let pair = |(key, value): (&str, Item<'_>)| {
        if key.is_empty() || key.contains('=') {
            value.wrong("has a name that is empty or has = in it; write a variable such as PORT: 8080");
            return None;
        }
        Some((key.to_owned(), value.text()?.to_owned()))
    };
    Some(entries.filter_map(pair).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Candidate>, String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.Dockerfile"), "ARG N\nFROM scratch AS one\nFROM one AS two\n").unwrap();
        let common = (Question::http(), ContainerOptions { cpus: Some(1.0), ..ContainerOptions::default() });
        candidates("f.yaml", text, folder.path(), &common)
            .map_err(|errors| errors.lines().collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn an_entry_has_limits_variables_and_a_probe_of_its_own() {
        let found = read(
            "images:\n- image: shop:1\n- {image: shop:1, name: small, cpus: 0.5, memory: 64MiB, env: {PORT: \"80\"}, probe: \
             'tcp://:80'}\n- {dockerfile: a.Dockerfile, target: [one, two], build_args: {N: [\"1\"]}}\n",
        )
        .unwrap();
        let names: Vec<_> = found.iter().map(|candidate| candidate.name.rsplit('/').next().unwrap()).collect();
        assert_eq!(names, ["shop:1", "small", "a.Dockerfile one", "a.Dockerfile two"]);
        assert_eq!((found[0].options.cpus, found[0].question.kind()), (Some(1.0), "http"));
        let small = &found[1];
        assert_eq!(small.options.env, ["PORT=80"]);
        assert_eq!(
            (small.options.cpus, small.options.memory, small.question.kind()),
            (Some(0.5), Some(64 << 20), "tcp")
        );
        assert!(matches!(&small.origin, Origin::Engine(name) if name == "shop:1"));
    }

    #[test]
    fn what_is_wrong_in_a_file_has_its_line_and_what_to_write() {
        for (text, expected) in [
            ("images: []\n", "f.yaml has no image; write a list"),
            ("images:\n- {name: a}\n", "f.yaml:2"),
            ("images:\n- {image: a, dockerfile: b}\n", "has not one of image and dockerfile"),
            ("images:\n- {image: a, target: b}\n", "goes with dockerfile"),
            ("images:\n- {dockerfile: none.Dockerfile}\n", "No such file"),
            ("images:\n- {dockerfile: a.Dockerfile, target: [three]}\n", "it has one, two"),
            ("images:\n- {dockerfile: a.Dockerfile, name: x, target: [one, two]}\n", "one name for several images"),
            ("images:\n- {image: a, memory: 1}\n", "write one such as 256MiB"),
            ("images:\n- {image: a, cpu: 1}\n", "cpus"),
            ("images:\n- {image: a, name: \"\"}\n", "has an empty name"),
            ("images:\n- {image: a, env: {\"\": b}}\n", "write a variable such as PORT"),
            ("images:\n- {image: a, env: {A=B: b}}\n", "write a variable such as PORT"),
        ] {
            let said = read(text).unwrap_err();
            assert!(said.contains(expected), "{text}: {said}");
        }
    }
}
