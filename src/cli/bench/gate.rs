//! The flags of thresholds and of the baseline.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use super::super::source::read_file;
use super::outputs::{replace, try_to_write};
use crate::{
    bench::{
        Gate, Results, Rules, read_saved, saved_text,
        threshold::{self, Threshold},
    },
    yaml::{file, units},
};

/// The exit status of k6 for a broken threshold.
pub(crate) const BROKEN: u8 = 99;

/// The largest file of an earlier run.
const BASELINE_LIMIT: u64 = 256 << 20;

#[derive(Debug, clap::Args)]
pub(crate) struct GateArgs {
    /// Pass criterion in the grammar of k6, such as 'probe_duration{peer_region="us"}: p(95)<200' in milliseconds;
    /// repeatable. Exit status 99 if it is broken.
    #[arg(long, value_name = "THRESHOLD", value_parser = parse)]
    threshold: Vec<Threshold>,
    /// File with thresholds, in the form of the options of k6, as YAML or JSON.
    #[arg(long, value_name = "FILE")]
    thresholds: Option<PathBuf>,
    /// Results of an earlier run that --save wrote. Exit status 99 if a region is slower now, or fails more often.
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Smallest change of a latency that matters for --baseline.
    #[arg(long, value_name = "PERCENT", value_parser = percent, default_value = "5%")]
    min_effect: f64,
    /// What a check is that the samples cannot decide.
    #[arg(long, value_name = "VERDICT", value_parser = ["pass", "fail"], default_value = "pass")]
    inconclusive: String,
    /// Save the samples to this file, for --baseline of a later run.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
}

fn parse(text: &str) -> Result<Threshold, String> {
    text.parse::<Threshold>().map_err(|error| error.to_string())
}

fn percent(text: &str) -> Result<f64, String> {
    let share = text.strip_suffix('%').and_then(|number| units::decimal(number).ok()).map(|percent| percent / 100.0);
    share
        .filter(|share| (0.001..=10.0).contains(share))
        .ok_or_else(|| "is not a percentage from 0.1% to 1000%; write one such as 5%".to_owned())
}

impl GateArgs {
    /// Reads the files that are named.
    pub(crate) fn rules(&self) -> Result<Rules, String> {
        let mut thresholds = self.threshold.clone();
        if let Some(path) = &self.thresholds {
            let text = file::in_time({
                let path = path.clone();
                move || read_file(&path)
            })??;
            let name = path.display().to_string();
            thresholds.extend(threshold::read(&name, &text).map_err(|errors| errors.to_string())?);
        }
        let baseline = self.baseline.as_deref().map(baseline).transpose()?;
        if let Some(path) = &self.save {
            try_to_write(path)
                .map_err(|error| format!("--save {}: {error}; name a file that can be written", path.display()))?;
        }
        Ok(Rules {
            thresholds,
            baseline: baseline.map(|baseline| (baseline, self.min_effect)),
            inconclusive_fails: self.inconclusive == "fail",
        })
    }

    /// Saves results, if it is asked for.
    pub(crate) fn save(&self, results: &Results) -> Result<(), String> {
        let Some(path) = &self.save else { return Ok(()) };
        replace(path, saved_text(results).as_bytes()).map_err(|error| format!("--save {}: {error}", path.display()))
    }

    /// Whether samples are to be saved.
    pub(crate) const fn saves(&self) -> bool {
        self.save.is_some()
    }
}

fn baseline(path: &Path) -> Result<Results, String> {
    let place = path.display();
    let content = file::read(path, BASELINE_LIMIT).map_err(|error| match error {
        file::Unreadable::Not(kind) => format!("{place}: is {kind} and not a regular file; name a regular file"),
        file::Unreadable::TooLarge => format!("{place}: is larger than 256 MiB; save a shorter run"),
        file::Unreadable::Io(error) => format!("{place}: cannot be read: {error}; name a file that --save wrote"),
    })?;
    read_saved(&content.bytes).map_err(|reason| format!("{place}: {reason}"))
}

/// The exit status of a run whose checks say this.
pub(crate) fn status(gate: &Gate) -> ExitCode {
    if gate.fails() { BROKEN.into() } else { ExitCode::SUCCESS }
}
