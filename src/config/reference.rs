//! The settings as a table of the documentation, and the names of all variables.

use std::{collections::BTreeSet, fmt::Write as _};

use super::{
    defaults, env_peers, include, peers,
    settings::{Flag, SETTINGS},
    witnesses,
};
use crate::yaml::units::duration_text;

/// What is no setting with a type of its own: key, variable, flag, default, help.
const OTHERS: [[&str; 5]; 6] = [
    [
        peers::KEY,
        env_peers::PEERS,
        "",
        "required",
        "The peer regions; the variable is `REGION=URL,...` and replaces the peers of the file",
    ],
    [
        witnesses::KEY,
        "",
        "",
        "",
        "The vantages that vote and own no region; an instance whose `region` is the name of one is the witness",
    ],
    [include::KEY, "", "", "", "Paths of further files, relative to the folder of the file that names them"],
    ["", env_peers::DNS_SERVERS, "", "", "With `REGIONWATCH_PEERS`: `REGION=HOST[:PORT],...`, or `REGION=none`"],
    ["", env_peers::PUBLIC_KEYS, "", "", "With `REGIONWATCH_PEERS`: `REGION=KEY,...`; see `public_keys`"],
    ["", "REGIONWATCH_CONFIG", "config", "", "The file"],
];

/// The names of all variables, old ones too.
pub(super) fn variables() -> BTreeSet<String> {
    let settings = SETTINGS.iter().map(|setting| setting.variable);
    let old = SETTINGS.iter().filter_map(|setting| Some(setting.more.was?.1));
    let others = OTHERS.iter().map(|[_, variable, ..]| *variable).filter(|variable| !variable.is_empty());
    let kinds = defaults::kinds().flat_map(|(kind, _)| defaults::variables(kind));
    settings.chain(old).chain(others).map(str::to_owned).chain(kinds).collect()
}

/// All settings as a Markdown table, for docs/configuration.md.
pub fn settings_table() -> String {
    let mut table =
        String::from("| key in the file | variable and flag | default | meaning |\n| --- | --- | --- | --- |\n");
    for setting in SETTINGS.iter().filter(|setting| !setting.is_obsolete()) {
        let flag = setting.flag().map_or("", |flag| match flag {
            Flag::Switch(name) | Flag::Value(name, _) => name,
        });
        let default = match setting.more.default {
            Some(words) => words.to_owned(),
            None => setting.default().map_or_else(String::new, |value| code(&value)),
        };
        let restart = if setting.more.restart { "; needs a restart" } else { "" };
        row(&mut table, [setting.key, setting.variable, flag, &default, &format!("{}{restart}", setting.help())]);
    }
    for (kind, usual) in defaults::kinds() {
        for (n, (name, value)) in [("interval", usual.interval()), ("timeout", usual.timeout())].into_iter().enumerate()
        {
            let key = format!("{}.{kind}.{name}", defaults::KEY);
            let help = format!("The {name} of {kind} probes that have none of their own");
            row(&mut table, [&key, &defaults::variables(kind)[n], "", &code(&duration_text(value)), &help]);
        }
    }
    OTHERS.into_iter().for_each(|cells| row(&mut table, cells));
    table
}

fn row(table: &mut String, [key, variable, flag, default, help]: [&str; 5]) {
    let flag = if flag.is_empty() { String::new() } else { format!(", `--{flag}`") };
    let _ = writeln!(table, "| {} | {}{flag} | {default} | {help} |", code(key), code(variable));
}

fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{text}`") }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, ffi::OsString};

    use super::*;
    use crate::{
        config::env::{Variables, is_service_link},
        yaml::Diagnostics,
    };

    /// envy finds each variable, and none is taken for a variable of Kubernetes.
    #[test]
    fn each_variable_is_found_by_its_name() {
        let diagnostics = Diagnostics::default();
        for name in variables() {
            let environment = BTreeMap::from([(OsString::from(&name), "x".into())]);
            let picked = Variables::pick(&environment, &variables(), &diagnostics);
            let found: Vec<_> = variables().into_iter().filter(|name| picked.get(name).is_some()).collect();
            assert_eq!(found, [name.as_str()]);
            assert!(!is_service_link(&name), "{name}");
        }
        assert!(diagnostics.into_errors("").is_none());
    }

    #[test]
    fn keys_variables_and_flags_are_unique() {
        let keys: BTreeSet<_> = SETTINGS.iter().map(|setting| setting.key).collect();
        let variables: BTreeSet<_> = SETTINGS.iter().map(|setting| setting.variable).collect();
        assert_eq!((keys.len(), variables.len()), (SETTINGS.len(), SETTINGS.len()));
    }
}
