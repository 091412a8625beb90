//! Where a configuration comes from.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
};

use super::flags::ConfigArgs;
use crate::{
    config::{Config, Flag, Loaded, SETTINGS, Setting},
    yaml::{
        file::{self, Content, Unreadable},
        tree,
    },
};

/// The largest configuration file that is read.
const FILE_LIMIT: u64 = tree::MAX_BYTES as u64;

/// Where a configuration comes from; read again on reload.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) file: Option<PathBuf>,
    /// The process's environment; a flag replaces its variable.
    pub(super) environment: Vec<(OsString, OsString)>,
    /// The variables that flags replace.
    flags: Vec<&'static str>,
}

impl Source {
    pub(super) fn new(args: &ConfigArgs) -> Self {
        let given = &args.settings.0;
        let beaten = |name: &OsString| given.iter().any(|(variable, _)| name == variable);
        let environment = std::env::vars_os().filter(|(name, _)| !beaten(name));
        let flags = given.iter().map(|(variable, value)| (OsString::from(variable), value.clone()));
        let named = || std::env::var_os("REGIONWATCH_CONFIG").filter(|name| !name.is_empty()).map(PathBuf::from);
        let environment = environment.chain(flags).collect();
        let flags = given.iter().map(|(variable, _)| *variable).collect();
        Self { file: args.config.clone().or_else(named), environment, flags }
    }

    /// The configuration, or all of its errors, each with the line of the file; or the file that is not read by the deadline.
    pub(super) fn load_in_time(&self) -> Result<Loaded, String> {
        let source = self.clone();
        file::in_time(move || source.read(true))?
    }

    /// The configuration, or all of its errors, one per line.
    pub(super) fn load(&self) -> Result<Loaded, String> {
        self.read(false)
    }

    fn read(&self, excerpts: bool) -> Result<Loaded, String> {
        let text = self.file.as_deref().map(read_file).transpose()?;
        let file = self.file.as_deref().zip(text.as_deref());
        let loaded = Config::load(file, self.environment.iter().cloned());
        loaded.map_err(|errors| {
            let source = text.as_deref().filter(|_| excerpts).unwrap_or_default();
            let shown = errors.with_excerpts(source);
            let lines = shown.flat_map(|(line, excerpt)| [Some(self.with_flag(line)), excerpt.filter(|_| excerpts)]);
            lines.flatten().collect::<Vec<_>>().join("\n")
        })
    }

    /// An error of a value that a flag gives names the flag, and not the variable in whose place it stands.
    fn with_flag(&self, line: String) -> String {
        let named = |variable: &&&str| line.strip_prefix(**variable).is_some_and(|rest| rest.starts_with(':'));
        let Some(variable) = self.flags.iter().find(named) else { return line };
        let setting = SETTINGS.iter().find(|setting| setting.variable == *variable);
        match setting.and_then(Setting::flag) {
            Some(Flag::Value(name, _) | Flag::Switch(name)) => line.replacen(variable, &format!("--{name}"), 1),
            None => line,
        }
    }
}

pub(super) fn read_file(path: &Path) -> Result<String, String> {
    let place = path.display();
    let Content { bytes, .. } = file::read(path, FILE_LIMIT).map_err(|error| match error {
        Unreadable::Not(kind) => format!("{place}: is {kind} and not a regular file; name a regular file"),
        Unreadable::TooLarge => format!("{place}: is larger than 4 MiB; split the peers over several instances"),
        Unreadable::Io(error) if error.kind() == io::ErrorKind::NotFound => {
            format!("{place}: does not exist; name an existing file")
        }
        Unreadable::Io(error) => format!("{place}: cannot be read: {error}"),
    })?;
    String::from_utf8(bytes.to_vec()).map_err(|error| {
        let line = 1 + error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|b| **b == b'\n').count();
        format!("{place}:{line}: is not UTF-8; save the file in that encoding")
    })
}
