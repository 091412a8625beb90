//! `bench judge`: the results of a load test, by the rules of a run.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, SystemTime},
};

use super::super::report::{failed, usage};
use super::{
    gate::{BROKEN, GateArgs, status},
    outputs::{NO_SUCCESS, Output, format, output, publish},
};
use crate::bench::{Format, Gate, Grouping, Judged, Report, Results, Rules, Summary, printable, read};

#[derive(Debug, clap::Args)]
pub(super) struct JudgeArgs {
    /// Results of JMeter (JTL as CSV or XML), of k6 (--out json=FILE, or a summary), or what --save wrote.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Column or tag that names the region [default: the label of JMeter; the tag region, or else name, of k6].
    #[arg(long, value_name = "NAME")]
    region_by: Option<String>,
    #[command(flatten)]
    gate: GateArgs,
    /// Format of the report on standard output.
    #[arg(long, value_name = "FORMAT", value_parser = format, default_value = "table")]
    format: Format,
    /// Write a report to this file too; repeatable. Its format is that of the extension, or the one before =, such as
    /// junit=report.xml.
    #[arg(long, value_name = "[FORMAT=]FILE", value_parser = output)]
    out: Vec<Output>,
}

pub(super) fn run(args: &JudgeArgs) -> ExitCode {
    let judged = args.gate.rules().and_then(|rules| {
        args.out.iter().try_for_each(Output::check)?;
        let grouping = Grouping { region_by: args.region_by.clone(), tags: rules.tags() };
        let judged = read(&args.files, &grouping).map_err(|error| error.to_string())?;
        fits(args, &judged)?;
        let gate = gate(&rules, &judged)?;
        Ok((judged, gate))
    });
    let (judged, gate) = match judged {
        Ok(judged) => judged,
        // Names from a file may be anything.
        Err(error) => return usage(&error.lines().map(printable).collect::<Vec<_>>().join("\n")),
    };
    let published = match &judged {
        Judged::Samples(results) => publish_all(args, results, &gate, None),
        Judged::Summary(summary) => {
            let (began, source) = (SystemTime::UNIX_EPOCH, names(&args.files));
            let empty = Results { began, duration: Duration::ZERO, source, series: Vec::new(), dropped: None };
            publish_all(args, &empty, &gate, Some(summary)).map(|_| true)
        }
    };
    match published {
        _ if gate.fails() => BROKEN.into(),
        Err(error) => failed(error),
        Ok(true) => status(&gate),
        Ok(false) => failed(NO_SUCCESS),
    }
}

/// Refuses what would be an empty file: a summary has no samples.
fn fits(args: &JudgeArgs, judged: &Judged) -> Result<(), String> {
    let formats = || args.out.iter().map(Output::format).chain([args.format]);
    let of_samples = |format: &Format| matches!(format, Format::Csv | Format::Jtl);
    match judged {
        Judged::Samples(_) => Ok(()),
        Judged::Summary(_) if args.gate.saves() => {
            Err("--save: a summary of k6 has no samples to save; write them with --out json=FILE".to_owned())
        }
        Judged::Summary(_) => formats().find(of_samples).map_or(Ok(()), |format| {
            Err(format!(
                "{}: a summary of k6 has no samples; write table, markdown, json, junit or html",
                format.as_str()
            ))
        }),
    }
}

fn gate(rules: &Rules, judged: &Judged) -> Result<Gate, String> {
    match judged {
        Judged::Samples(results) => rules.gate(results),
        Judged::Summary(summary) => rules.gate_summary(summary),
    }
}

/// Saves the samples and writes all reports, and returns whether any request succeeded.
fn publish_all(args: &JudgeArgs, results: &Results, gate: &Gate, summary: Option<&Summary>) -> Result<bool, String> {
    let report = Report::new(results, &BTreeMap::new()).with(gate);
    let text = |format: Format, colors| {
        let before = match (summary, format) {
            (Some(summary), Format::Table) => listed(summary),
            (Some(summary), Format::Markdown) => {
                format!("```text\n{}```\n\n", listed(summary).trim_start_matches('\n'))
            }
            _ => String::new(),
        };
        format!("{before}{}", report.text(format, colors))
    };
    // A summary has no samples, and is refused before if they are to be saved.
    publish(args.gate.save(results), &args.out, args.format, text).map(|()| report.has_success())
}

fn names(files: &[PathBuf]) -> String {
    files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// The aggregates of a summary, a line per metric.
fn listed(summary: &Summary) -> String {
    let lines = summary.metrics.iter().map(|metric| {
        let values = metric.values.iter().map(|(name, value)| format!("{name}={value}"));
        printable(&format!("{}: {}", metric.selector(), values.collect::<Vec<_>>().join(" "))) + "\n"
    });
    lines.collect::<String>() + "\n"
}
