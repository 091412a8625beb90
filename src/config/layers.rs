//! The layers of settings: the file, then environment variables, over the defaults.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    databases,
    env::Variables,
    settings::{Config, SETTINGS, Setting},
};
use crate::yaml::{Fields, Item, Place, diagnostics::one_of, secrets::Secrets, writer::Writer};

/// The settings of one section of the file after another; those of the top level may come in several parts.
fn sections() -> impl Iterator<Item = (&'static str, &'static [Setting])> {
    let sections = SETTINGS.chunk_by(|a, b| a.section_and_name().0 == b.section_and_name().0);
    sections.map(|settings| (settings[0].section_and_name().0, settings))
}

/// The keys of the file's top level: sections, and settings outside of them.
pub(super) fn top_keys() -> impl Iterator<Item = &'static str> {
    sections().flat_map(|(section, settings)| match section {
        "" => settings.iter().map(|setting| setting.key).collect(),
        section => vec![section],
    })
}

/// What the layers say together.
pub(super) struct Layers<'a> {
    /// The defaults, and over them what each layer gives.
    pub(super) config: Config,
    /// The keys whose value a layer gives.
    pub(super) given: BTreeSet<&'static str>,
    /// Where each key is in the file.
    pub(super) places: BTreeMap<&'static str, Place>,
    secrets: &'a Secrets<'a>,
    variables: &'a Variables<'a>,
}

impl<'a> Layers<'a> {
    pub(super) fn new(secrets: &'a Secrets<'a>, variables: &'a Variables<'a>) -> Self {
        let (given, places) = (BTreeSet::new(), BTreeMap::new());
        Self { config: Config::defaults(), given, places, secrets, variables }
    }

    /// Reads the settings of the file.
    pub(super) fn read_file(&mut self, root: &Fields<'_>) {
        for (section, settings) in sections() {
            if section.is_empty() {
                self.read_section(root, settings);
            } else if let Some(fields) = root.read(section, |item| section_fields(item, settings)) {
                self.read_section(&fields, settings);
            }
        }
    }

    fn read_section(&mut self, fields: &Fields<'_>, settings: &[Setting]) {
        for setting in settings {
            let (_, name) = setting.section_and_name();
            let old = setting.more.was.and_then(|(old, _)| fields.get(old));
            match (current(fields.shown(name), old, name), setting.more.required) {
                (Some(item), _) => {
                    self.places.insert(setting.key, item.place());
                    self.read(setting, &item);
                }
                (None, Some(hint)) if self.variables.get(setting.variable).is_none() => fields.missing(name, hint),
                (None, _) => {}
            }
        }
    }

    /// Reads the environment variables, which beat the file.
    pub(super) fn read_variables(&mut self) {
        for setting in SETTINGS {
            let variable = self.variables.get(setting.variable);
            let old = setting.more.was.and_then(|(_, old)| self.variables.get(old));
            if let Some(item) = current(variable, old, setting.variable) {
                self.read(setting, &item);
            }
        }
    }

    fn read(&mut self, setting: &Setting, item: &Item<'_>) {
        if setting.is_obsolete() {
            item.warn("has no effect; delete it");
        }
        if (setting.read)(item, self.secrets, &mut self.config) {
            self.given.insert(setting.key);
        }
    }
}

/// The item of a setting, which may be given by an old name.
fn current<'a>(item: Option<Item<'a>>, old: Option<Item<'a>>, name: &str) -> Option<Item<'a>> {
    match (&item, &old) {
        (Some(_), Some(old)) => old.wrong(format!("is the old name of {name}, which is given too; delete it")),
        (None, Some(old)) => old.warn(format!("is now called {name}; rename it")),
        _ => {}
    }
    item.or(old)
}

fn section_fields<'a>(item: &Item<'a>, settings: &[Setting]) -> Option<Fields<'a>> {
    let item = item.clone();
    let item = if settings.iter().any(|setting| setting.more.secret_section) { item.secret() } else { item };
    let (obsolete, current): (Vec<_>, Vec<_>) = settings.iter().partition(|setting| setting.is_obsolete());
    let names: Vec<_> = current.iter().map(|setting| setting.section_and_name().1).collect();
    let old = settings.iter().filter_map(|setting| Some(setting.more.was?.0));
    let old = old.chain(obsolete.iter().map(|setting| setting.section_and_name().1));
    let known: Vec<_> = names.iter().copied().chain(old).collect();
    Some(item.fields_of(&names)?.only(|_| format!("write {}", one_of(&names)), &known))
}

impl Config {
    /// Prints every setting that has a value.
    pub(super) fn print_settings(&self, writer: &mut Writer) {
        for (section, settings) in sections() {
            let values: Vec<_> = settings
                .iter()
                .filter(|setting| !setting.is_obsolete())
                .filter_map(|setting| Some((setting.section_and_name().1, (setting.print)(self)?)))
                .collect();
            let print = |writer: &mut Writer| values.iter().for_each(|(name, value)| writer.raw(name, value));
            match section {
                "" => print(writer),
                _ if values.is_empty() => {}
                section => writer.mapping(section, print),
            }
        }
    }

    /// The settings that cannot change while the process runs, with their values as they are printed.
    pub fn restart_only(&self) -> impl Iterator<Item = (&'static str, String)> + '_ {
        let settings = SETTINGS.iter().filter(|setting| setting.more.restart);
        let settings = settings.map(|setting| (setting.key, (setting.print)(self).unwrap_or_default()));
        settings.chain(std::iter::once((databases::KEY, databases::print(&self.databases))))
    }
}
