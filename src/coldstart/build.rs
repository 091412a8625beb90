//! Images that are built for a comparison: one for each Dockerfile, stage and value of an argument.
//!
//! The program of the engine builds them (`docker build`, `podman build`), so that caches, secrets, credentials and the
//! syntax of Dockerfiles are those that the user has every day.

use std::{
    collections::VecDeque,
    fs, io,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::Command,
};

use super::{
    dockerfile::Dockerfile,
    engine::{Engine, LABEL},
    error::ColdstartError,
    group::Group,
    stages::{Source, source},
};

/// The most images of a comparison: all pairs are compared.
pub const MOST_IMAGES: usize = 50;

/// The most bytes of a Dockerfile.
const MOST: u64 = 1 << 20;

/// The lines of a failed build that are shown.
const LAST_LINES: usize = 20;

/// The longest of them.
const LONGEST: usize = 500;

/// Arguments that builders have without a declaration (Dockerfile reference, "Predefined ARGs").
const PREDEFINED: [&str; 5] = ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"];

/// Options by which a builder starts from another image than the Dockerfile says.
const CHANGING: [&str; 4] = ["--build-arg", "--build-context", "--file", "--target"];

/// How an image is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// The Dockerfile.
    pub dockerfile: PathBuf,
    /// The folder whose files it may copy.
    pub context: PathBuf,
    /// The stage that becomes the image; the last one without it.
    pub target: Option<String>,
    /// Arguments of the build, with their values.
    pub arguments: Vec<(String, String)>,
    /// Further options of the program that builds.
    pub options: Vec<String>,
}

/// What is to be built: every Dockerfile with every stage and every value of each argument.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Matrix {
    /// The Dockerfiles.
    pub dockerfiles: Vec<PathBuf>,
    /// The folder whose files they may copy; that of each Dockerfile without it.
    pub context: Option<PathBuf>,
    /// The stages; the last one of each Dockerfile without any.
    pub targets: Vec<String>,
    /// Arguments of the build, each with its values.
    pub arguments: Vec<(String, Vec<String>)>,
    /// Further options of the program that builds.
    pub options: Vec<String>,
}

impl Matrix {
    /// The builds, each with a unique name.
    ///
    /// # Errors
    /// A Dockerfile that cannot be read, a stage that it does not have, or an argument that none declares.
    pub fn builds(&self) -> Result<Vec<(String, Build)>, String> {
        let mut builds = Vec::new();
        let is_again = |n: usize| self.arguments[..n].iter().any(|(name, _)| *name == self.arguments[n].0);
        if let Some(n) = (0..self.arguments.len()).find(|n| is_again(*n)) {
            let name = &self.arguments[n].0;
            return Err(format!(
                "the argument {name} is given twice; write all of its values once, such as {name}=1,2"
            ));
        }
        let mut declared = vec![false; self.arguments.len()];
        for path in &self.dockerfiles {
            let file = read(path)?;
            let context = self.context.clone().unwrap_or_else(|| folder(path));
            if !context.is_dir() {
                return Err(format!("the context {} is no folder; name one with --context", context.display()));
            }
            // Builders compare the names of stages without regard to case.
            let is_stage = |target: &String| file.stages().any(|stage| stage.eq_ignore_ascii_case(target));
            if let Some(target) = self.targets.iter().find(|target| !is_stage(target)) {
                let stages: Vec<_> = file.stages().collect();
                let stages = if stages.is_empty() { "no named stages".to_owned() } else { stages.join(", ") };
                return Err(format!("{} has no stage {target:?}; it has {stages}", path.display()));
            }
            let targets: Vec<_> = match &self.targets[..] {
                [] => vec![None],
                targets => targets.iter().cloned().map(Some).collect(),
            };
            // An argument that a Dockerfile does not declare would make the same image again.
            let mut combinations = vec![Vec::new()];
            for ((name, values), declared) in self.arguments.iter().zip(&mut declared) {
                if !file.declares(name) && !PREDEFINED.contains(&&*name.to_ascii_uppercase()) {
                    continue;
                }
                *declared = true;
                if combinations.len() * values.len() > MOST_IMAGES {
                    return Err(format!(
                        "the values of the arguments make more than {MOST_IMAGES} images of {}; write fewer values",
                        path.display()
                    ));
                }
                combinations = combinations
                    .into_iter()
                    .flat_map(|before: Vec<(String, String)>| {
                        values.iter().map(move |value| {
                            let mut arguments = before.clone();
                            arguments.push((name.clone(), value.clone()));
                            arguments
                        })
                    })
                    .collect();
            }
            for target in targets {
                for arguments in &combinations {
                    let build = Build {
                        dockerfile: path.clone(),
                        context: context.clone(),
                        target: target.clone(),
                        arguments: arguments.clone(),
                        options: self.options.clone(),
                    };
                    builds.push((self.name(&build), build));
                }
            }
        }
        match self.arguments.iter().zip(declared).find(|(_, declared)| !declared) {
            Some(((name, _), _)) if !self.dockerfiles.is_empty() => {
                Err(format!("no Dockerfile declares the argument {name}; write ARG {name} into it"))
            }
            _ => Ok(builds),
        }
    }

    /// The Dockerfile, and what differs between the images of it.
    fn name(&self, build: &Build) -> String {
        let mut name = build.dockerfile.display().to_string();
        if let Some(target) = &build.target {
            name.push_str(&format!(" {target}"));
        }
        for (key, value) in &build.arguments {
            if self.arguments.iter().any(|(name, values)| name == key && values.len() > 1) {
                name.push_str(&format!(" {key}={value}"));
            }
        }
        name
    }
}

fn read(path: &Path) -> Result<Dockerfile, String> {
    let failed = |reason: &dyn std::fmt::Display| format!("the Dockerfile {}: {reason}", path.display());
    let facts = fs::metadata(path).map_err(|error| failed(&error))?;
    if !facts.is_file() || facts.len() > MOST {
        return Err(failed(&"is no file of at most 1 MiB"));
    }
    let text = fs::read(path).map_err(|error| failed(&error))?;
    Ok(Dockerfile::read(&String::from_utf8_lossy(&text)))
}

fn folder(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

impl Build {
    /// Steps of the Dockerfile whose order defeats the cache of the builder.
    pub(super) fn order(&self) -> Vec<String> {
        read(&self.dockerfile).map(|file| file.order(&self.context)).unwrap_or_default()
    }

    /// What the image is built on, if the Dockerfile says it.
    pub(super) fn source(&self) -> Option<Source> {
        let changes_it = |option: &String| CHANGING.iter().any(|name| option.starts_with(name));
        if self.options.iter().any(changes_it) {
            return None;
        }
        source(&read(&self.dockerfile).ok()?, self.target.as_deref(), &self.arguments)
    }

    /// Builds the image under this name. The program that builds is `builder` as long as it runs.
    pub(super) async fn run(
        &self,
        engine: &Engine,
        name: &str,
        run: &str,
        builder: &mut Option<Group>,
    ) -> Result<(), ColdstartError> {
        let mut command = self.command(engine, name, run);
        let program = engine.program();
        let group = Group::start(&mut command).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ColdstartError::Invalid(format!(
                "Dockerfiles are built by the program {program}, which is not there; install it, or build the images and \
                 name them"
            )),
            _ => ColdstartError::Local(error),
        })?;
        let group = builder.insert(group);
        let mut lines = VecDeque::new();
        if let (Some(out), Some(err)) = (group.leader.stdout.take(), group.leader.stderr.take()) {
            let (mut out, mut err) = (Tail::new(out), Tail::new(err));
            // Both end with the process.
            loop {
                let line = tokio::select! {
                    line = out.next(), if !out.ended => line,
                    line = err.next(), if !err.ended => line,
                    else => break,
                };
                let Some(line) = line else { continue };
                if lines.len() == LAST_LINES {
                    lines.pop_front();
                }
                lines.push_back(line);
            }
        }
        let status = group.wait().await?;
        *builder = None;
        let lines = Vec::from(lines).join("\n");
        if !status.success() {
            return Err(ColdstartError::Build { dockerfile: self.dockerfile.clone(), program, status, lines });
        }
        if engine.image(name).await?.is_none() {
            return Err(ColdstartError::Invalid(format!(
                "{program} build left no image of {} in the engine; choose a builder that does, with docker buildx use default",
                self.dockerfile.display()
            )));
        }
        Ok(())
    }

    fn command(&self, engine: &Engine, name: &str, run: &str) -> Command {
        let mut command = Command::new(engine.program());
        command.args(engine.program_arguments()).arg("build");
        command.arg("--file").arg(&self.dockerfile).args(["--tag", name, "--label", &format!("{LABEL}={run}")]);
        if let Some(target) = &self.target {
            command.args(["--target", target]);
        }
        for (key, value) in &self.arguments {
            command.arg("--build-arg").arg(format!("{key}={value}"));
        }
        command.args(&self.options).arg("--").arg(&self.context);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }
}

/// The lines of a stream, without what is too long of each.
struct Tail<R> {
    reader: BufReader<R>,
    line: Vec<u8>,
    ended: bool,
}

impl<R: AsyncRead + Unpin> Tail<R> {
    fn new(stream: R) -> Self {
        Self { reader: BufReader::new(stream), line: Vec::new(), ended: false }
    }

    /// The next line; `None` where there is none to show. Nothing is lost if it is dropped.
    async fn next(&mut self) -> Option<String> {
        let Ok(bytes) = self.reader.fill_buf().await else {
            self.ended = true;
            return None;
        };
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(bytes.len(), |end| end + 1);
        self.ended = bytes.is_empty();
        let room = LONGEST.saturating_sub(self.line.len());
        self.line.extend_from_slice(&bytes[..taken.min(room)]);
        self.reader.consume(taken);
        if end.is_none() && !self.ended {
            return None;
        }
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).trim_end().to_owned();
        (!line.is_empty()).then_some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(files: &[(&str, &str)], targets: &[&str], arguments: &[(&str, &[&str])]) -> Result<Vec<String>, String> {
        let context = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(context.path().join(name), text).unwrap();
        }
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let matrix = Matrix {
            dockerfiles: files.iter().map(|(name, _)| context.path().join(name)).collect(),
            context: None,
            targets: owned(targets),
            arguments: arguments.iter().map(|(name, values)| ((*name).to_owned(), owned(values))).collect(),
            options: Vec::new(),
        };
        let folder = format!("{}/", context.path().display());
        let builds = matrix.builds().map_err(|reason| reason.replace(&folder, ""))?;
        Ok(builds.into_iter().map(|(name, _)| name.replace(&folder, "")).collect())
    }

    #[test]
    fn a_matrix_is_every_stage_and_value_that_a_dockerfile_knows() {
        let (a, b) = ("ARG NODE\nFROM node:$NODE AS x\nFROM x AS y\n", "FROM scratch AS x\nFROM x AS y\n");
        let two: &[&str] = &["20", "22"];
        assert_eq!(matrix(&[("a", a), ("b", b)], &[], &[]).unwrap(), ["a", "b"]);
        assert_eq!(matrix(&[("a", a), ("b", b)], &[], &[("NODE", two)]).unwrap(), ["a NODE=20", "a NODE=22", "b"]);
        assert_eq!(matrix(&[("b", b)], &["x", "y"], &[]).unwrap(), ["b x", "b y"]);
        assert_eq!(matrix(&[("a", a)], &["y"], &[("NODE", &["20"])]).unwrap(), ["a y"]);
        assert_eq!(matrix(&[("a", "FROM scratch AS Last\n")], &["last"], &[]).unwrap(), ["a last"]);
    }

    #[test]
    fn what_cannot_be_built_is_said_before_anything_is() {
        let file = "FROM scratch AS x\n";
        assert_eq!(matrix(&[("a", file)], &["z"], &[]).unwrap_err(), "a has no stage \"z\"; it has x");
        let unknown = matrix(&[("a", file)], &[], &[("NODE", &["1"])]).unwrap_err();
        assert_eq!(unknown, "no Dockerfile declares the argument NODE; write ARG NODE into it");
        assert!(matrix(&[("a", file)], &[], &[("http_proxy", &["1"])]).is_ok());
        let ten: &[&str] = &["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"];
        let names: Vec<_> = ('a'..='h').map(String::from).collect();
        let declared = format!("ARG {}\nFROM scratch\n", names.join(" "));
        let arguments: Vec<_> = names.iter().map(|name| (name.as_str(), ten)).collect();
        let many = matrix(&[("a", &declared)], &[], &arguments).unwrap_err();
        assert!(many.starts_with("the values of the arguments make more than 50 images of a"), "{many}");
        let twice = matrix(&[("a", &declared)], &[], &[("b", &["1"]), ("b", &["2"])]).unwrap_err();
        assert!(twice.starts_with("the argument b is given twice"), "{twice}");
        let missing = Matrix { dockerfiles: vec!["/nothing/here".into()], ..Matrix::default() };
        assert!(missing.builds().unwrap_err().starts_with("the Dockerfile /nothing/here: No such file"));
    }

    #[tokio::test]
    async fn long_output_is_cut_to_its_last_lines() {
        let text = [b"one\n".to_vec(), vec![b'x'; 100_000], b"\n\ntwo".to_vec()].concat();
        let mut tail = Tail::new(&text[..]);
        let mut lines = Vec::new();
        while !tail.ended {
            lines.extend(tail.next().await);
        }
        assert_eq!(lines.iter().map(String::len).collect::<Vec<_>>(), [3, LONGEST, 3]);
    }
}
