//! The flags of settings, from their table.

use std::{ffi::OsString, path::PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};

use crate::config::{Flag, SETTINGS, Setting};

/// Where a configuration comes from.
#[derive(Debug, Args)]
pub(super) struct ConfigArgs {
    /// YAML file with the configuration [env: REGIONWATCH_CONFIG]. Without one, set REGIONWATCH_REGION and
    /// REGIONWATCH_PEERS.
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    #[command(flatten)]
    pub(super) settings: SettingFlags,
}

/// The settings that were given as flags: each with the variable whose place it takes, and its value.
#[derive(Debug)]
pub(super) struct SettingFlags(pub(super) Vec<(&'static str, OsString)>);

fn flags() -> impl Iterator<Item = (&'static Setting, Flag)> {
    SETTINGS.iter().filter_map(|setting| Some((setting, setting.flag()?)))
}

fn argument((setting, flag): (&'static Setting, Flag)) -> Arg {
    let default = setting.default().filter(|default| default != "false");
    let default = default.map_or_else(String::new, |default| format!(" [default: {default}]"));
    let help = format!("{} [env: {}]{default}", setting.help().replace('`', ""), setting.variable);
    match flag {
        Flag::Switch(name) => Arg::new(name).long(name).help(help).action(ArgAction::SetTrue),
        Flag::Value(name, value) => Arg::new(name).long(name).help(help).value_name(value),
    }
}

impl Args for SettingFlags {
    fn augment_args(command: Command) -> Command {
        command.args(flags().map(argument))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for SettingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let given = flags().filter_map(|(setting, flag)| {
            let value = match flag {
                Flag::Switch(name) => matches.get_flag(name).then(|| "true".to_owned()),
                Flag::Value(name, _) => matches.get_one::<String>(name).cloned(),
            };
            Some((setting.variable, value?.into()))
        });
        Ok(Self(given.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
