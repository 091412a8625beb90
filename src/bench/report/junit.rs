//! JUnit's XML, as CI systems read it: a case for each threshold and for each test against the baseline. Without any, a
//! case for each region, because a suite without cases is an error for many readers.

use std::{fmt::Write as _, time::SystemTime};

use super::{content::Report, grid, xml::escaped};
use crate::{
    bench::{Check, Gate, Ranked, Verdict},
    model::UnixMillis,
};

/// A case: its class and name, and how it ended.
struct Case {
    class: String,
    name: String,
    end: End,
}

enum End {
    Passed,
    Failed(String),
    Skipped(String),
}

/// The report as JUnit XML.
pub(super) fn write(report: &Report<'_>) -> String {
    let cases: Vec<_> = match report.gate {
        Some(gate) if !gate.checks.is_empty() => gate.checks.iter().map(|check| of_check(check, gate)).collect(),
        _ => report
            .rankings
            .iter()
            .flat_map(|ranking| {
                let probe = ranking.probe.as_deref().unwrap_or("all");
                ranking.regions.iter().map(move |ranked| of_region(probe, ranked))
            })
            .collect(),
    };
    let failed = cases.iter().filter(|case| matches!(case.end, End::Failed(_))).count();
    let skipped = cases.iter().filter(|case| matches!(case.end, End::Skipped(_))).count();
    let began = report.results.began.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let began = UnixMillis(u64::try_from(began.as_millis()).unwrap_or_default()).to_string();
    let seconds = report.results.duration.as_secs_f64();
    // Readers want a time without a zone and a fraction: the schema says xs:dateTime, and old parsers have a format for it.
    let counts = format!("tests=\"{}\" failures=\"{failed}\" errors=\"0\"", cases.len());
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"regionwatch bench\" {counts} time=\"{seconds:.3}\">\n\
         <testsuite name=\"regionwatch bench\" {counts} skipped=\"{skipped}\" time=\"{seconds:.3}\" timestamp=\"{}\">\n",
        &began[..began.len().min(19)]
    );
    for Case { class, name, end } in cases {
        // Writing to a String does not fail.
        let _ = write!(text, "<testcase classname=\"{}\" name=\"{}\" time=\"0\"", escaped(&class), escaped(&name));
        let _ = match end {
            End::Passed => writeln!(text, "/>"),
            End::Failed(why) => {
                let why = escaped(&why);
                writeln!(text, "><failure type=\"threshold\" message=\"{why}\">{why}</failure></testcase>")
            }
            End::Skipped(why) => writeln!(text, "><skipped message=\"{}\"/></testcase>", escaped(&why)),
        };
    }
    text + "</testsuite>\n</testsuites>\n"
}

fn of_check(check: &Check, gate: &Gate) -> Case {
    let end = match check.verdict {
        Verdict::Pass => End::Passed,
        Verdict::Fail => End::Failed(check.reason.clone()),
        Verdict::Inconclusive if gate.stops(check) => End::Failed(format!("inconclusive: {}", check.reason)),
        Verdict::Inconclusive => End::Skipped(format!("inconclusive: {}", check.reason)),
    };
    Case { class: check.subject.clone(), name: check.criterion.clone(), end }
}

fn of_region(probe: &str, ranked: &Ranked) -> Case {
    let end = match ranked.score {
        Some(_) => End::Passed,
        None => End::Failed(format!("no probe succeeded: {}", grid::failed(ranked))),
    };
    Case { class: probe.to_owned(), name: ranked.region.clone(), end }
}
