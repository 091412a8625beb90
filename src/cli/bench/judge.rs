//! `bench judge`: the results of a load test, by the rules of a run.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, SystemTime},
};

use super::super::report::{failed, print, usage};
use super::{
    gate::{GateArgs, status},
    outputs::{Output, colors, format, output},
};
use crate::bench::{Colors, Format, Gate, Grouping, Judged, Report, Results, Rules, Summary, read};

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
        let gate = gate(&rules, &judged)?;
        Ok((judged, gate))
    });
    let (judged, gate) = match judged {
        Ok(judged) => judged,
        Err(error) => return usage(&error),
    };
    let written = match &judged {
        Judged::Samples(results) => args.gate.save(results).and_then(|()| write(args, results, &gate, "")),
        Judged::Summary(summary) => {
            let source = names(&args.files);
            let empty = Results { began: SystemTime::UNIX_EPOCH, duration: Duration::ZERO, source, series: Vec::new() };
            write(args, &empty, &gate, &listed(summary))
        }
    };
    match written {
        Ok(()) => status(&gate),
        Err(error) => failed(error),
    }
}

fn gate(rules: &Rules, judged: &Judged) -> Result<Gate, String> {
    match judged {
        Judged::Samples(results) => rules.gate(results),
        Judged::Summary(summary) => rules.gate_summary(summary),
    }
}

fn write(args: &JudgeArgs, results: &Results, gate: &Gate, before: &str) -> Result<(), String> {
    let report = Report::new(results, &BTreeMap::new()).with(gate);
    args.out.iter().try_for_each(|output| output.write(|format| report.text(format, Colors::Off)))?;
    let colors = colors();
    let before = if args.format == Format::Table { before } else { "" };
    print(&format!("{before}{}", report.text(args.format, colors))).map_err(|error| format!("stdout: {error}"))
}

fn names(files: &[PathBuf]) -> String {
    files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// The aggregates of a summary, a line per metric.
fn listed(summary: &Summary) -> String {
    let lines = summary.metrics.iter().map(|metric| {
        let values = metric.values.iter().map(|(name, value)| format!("{name}={value}"));
        format!("{}: {}\n", metric.selector(), values.collect::<Vec<_>>().join(" "))
    });
    lines.collect::<String>() + "\n"
}
