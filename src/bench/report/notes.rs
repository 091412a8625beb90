//! What a reader must know before trusting the numbers.

use super::content::Report;
use crate::bench::{CONFIDENCE, Quantile, Ranked, samples_for};

/// Where the results come from, in a line.
pub(super) fn headline(report: &Report<'_>) -> String {
    let results = report.results;
    let count: usize = results.series.iter().map(|series| series.samples().len()).sum();
    let regions: std::collections::BTreeSet<_> = results.series.iter().map(|series| &series.region).collect();
    format!(
        "{count} probes of {} {} in {:.1} s",
        regions.len(),
        if regions.len() == 1 { report.subject.to_string() } else { format!("{}s", report.subject) },
        results.duration.as_secs_f64()
    )
}

/// How to read the tables.
pub(super) fn legend() -> String {
    format!(
        "Milliseconds; \u{b1} is the {:.0}% interval. Ranks are ties where the intervals of scores overlap. \u{2265} is a \
         failure: it took at least until its deadline.",
        CONFIDENCE * 100.0
    )
}

/// Sentences about what limits the results.
pub(super) fn notes(report: &Report<'_>) -> Vec<String> {
    let regions = || report.rankings.iter().flat_map(|ranking| &ranking.regions);
    let mut notes = Vec::new();
    let missed: u64 = regions().map(|ranked| ranked.missed).fold(0, u64::saturating_add);
    if missed > 0 {
        notes.push(format!(
            "{missed} slots were missed: no probe could start in time, so this host or its limits were too slow."
        ));
    }
    let dropped = report.results.dropped.unwrap_or(0);
    if dropped > 0 {
        notes.push(format!("{dropped} iterations of the load test were due and could not start."));
    }
    let local: u64 = regions()
        .flat_map(|ranked| &ranked.failures)
        .filter(|(reason, _)| reason == "local")
        .map(|(_, count)| count)
        .sum();
    if local > 0 {
        notes.push(format!(
            "{local} probes failed on this host and do not count against a region; regionwatch doctor shows what is missing."
        ));
    }
    let few = |ranked: &&Ranked| ranked.count > 0 && ranked.count < samples_for(Quantile::P99);
    if let Some(fewest) = regions().filter(few).map(|ranked| ranked.count).min() {
        notes.push(format!(
            "The interval of p99 needs {} samples and that of p95 {}; one region has {fewest}. Measure for longer, or raise \
             --rate.",
            samples_for(Quantile::P99),
            samples_for(Quantile::P95)
        ));
    }
    let impossible = regions().filter(|ranked| ranked.light.is_some_and(crate::bench::LightGap::is_impossible));
    let impossible: std::collections::BTreeSet<_> = impossible.map(|ranked| &ranked.region).collect();
    for region in impossible {
        notes.push(format!(
            "{} answers faster than light could travel: something nearer answers, such as an anycast address or a proxy.",
            super::grid::printable(region)
        ));
    }
    notes
}
