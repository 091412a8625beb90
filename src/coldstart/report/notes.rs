//! What a reader must know before trusting the numbers.

use super::content::{Report, shown};
use crate::{
    bench::printable,
    coldstart::{
        page_cache::PageCache,
        ranking::FEWEST_ROUNDS,
        run::{Comparison, Image},
    },
};

/// How to read the tables.
pub(super) const LEGEND: &str = "Milliseconds; \u{b1} is the 95% interval (bootstrap). Ready is the first correct answer over \
                                 the network, counted from the creation of the container. Ranks are ties where the \
                                 interval of the difference has zero in it.";

/// What was measured, in a line.
pub(super) fn headline(report: &Report<'_>) -> String {
    let Comparison { images, results, engine, architecture, page_cache, .. } = report.comparison;
    let rounds = images.iter().map(|image| image.starts.len()).min().unwrap_or_default();
    let mut text = format!(
        "{} {}, {rounds} {}, {:.1} s; {engine}, {architecture}",
        images.len(),
        if images.len() == 1 { "image" } else { "images" },
        if rounds == 1 { "round" } else { "rounds" },
        results.duration.as_secs_f64(),
    );
    if let Some(cpus) = common(images, |image| image.options.cpus) {
        text.push_str(&format!(", {cpus} CPUs each"));
    }
    if let Some(memory) = common(images, |image| image.options.memory) {
        text.push_str(&format!(", {} MiB each", memory >> 20));
    }
    if *page_cache == PageCache::Cold {
        text.push_str(", page cache cold");
    }
    text
}

/// A limit that all images have, if they have the same.
pub(super) fn common<T: PartialEq>(images: &[Image], limit: impl Fn(&Image) -> Option<T>) -> Option<T> {
    let first = limit(images.first()?)?;
    images.iter().all(|image| limit(image).as_ref() == Some(&first)).then_some(first)
}

/// Sentences about what limits the results, and what they mean.
pub(super) fn notes(report: &Report<'_>) -> Vec<String> {
    let Comparison { images, floor, architecture, .. } = report.comparison;
    let mut notes = Vec::new();
    match floor.as_ref().and_then(noise) {
        Some((median, spread)) => notes.push(format!(
            "Noise: the null image takes {}, and half of its starts lie within {:.1}% of that. No image is faster.",
            shown(median),
            spread * 100.0
        )),
        None if floor.is_none() && images.iter().any(|image| !image.starts.is_empty()) => {
            notes.push(format!("There is no null image for {architecture}, so the floor is unknown."));
        }
        None => {}
    }
    let rounds = images.iter().map(|image| image.starts.len()).min().unwrap_or_default();
    if rounds < FEWEST_ROUNDS {
        notes.push(format!("{rounds} rounds are too few for an interval; {FEWEST_ROUNDS} are the fewest."));
    }
    notes.extend(costs(report));
    for image in images {
        if let Some(why) = image.starts.iter().find_map(|start| start.as_ref().err()) {
            notes.push(format!("{}: {}", printable(&image.name), printable(&why.to_string())));
        }
    }
    notes
}

/// What bytes cost here, and how much of each image they are.
fn costs(report: &Report<'_>) -> Vec<String> {
    let Comparison { model, unpacking, .. } = report.comparison;
    let (Some(bandwidth), true) = (model.bandwidths.first(), report.rows().iter().any(|row| !row.pulls.is_empty()))
    else {
        return Vec::new();
    };
    let mut notes = vec![format!(
        "1 MB takes {} at {bandwidth}, and {} to unpack here. A node has of each image: {}. Ranks are those of the sum with the \
         pull at {bandwidth}.",
        shown(bandwidth.seconds(1_000_000)),
        shown(unpacking.0 * 1e6),
        model.present,
    )];
    for row in report.rows() {
        let (Some(pull), Some(seconds), Some(median)) = (row.image.pull, row.pulls.first(), row.median) else {
            continue;
        };
        notes.push(format!(
            "{}: {:.1} MB in {} layers cost {}, its start {}. {:.1} MB are its base image.",
            printable(&row.name),
            pull.packed as f64 / 1e6,
            pull.layers,
            shown(*seconds),
            shown(median.value),
            row.image.base.packed as f64 / 1e6,
        ));
    }
    notes
}

/// What to change in each image: what it costs, and then what costs nothing.
pub(super) fn changes(report: &Report<'_>) -> Vec<String> {
    let Comparison { images, model, unpacking, .. } = report.comparison;
    let mut lines = Vec::new();
    if let Some(bandwidth) = model.bandwidths.first() {
        for image in images {
            lines.extend(image.findings.iter().map(|finding| {
                format!(
                    "{}: {} ms for {}, {:.1} MB in {} files such as {}: {}",
                    printable(&image.name),
                    shown(finding.pull.seconds(*bandwidth, *unpacking)),
                    finding.part,
                    finding.pull.packed as f64 / 1e6,
                    finding.files,
                    printable(&finding.example),
                    finding.part.advice(),
                )
            }));
        }
    }
    for image in images {
        lines.extend(image.hygiene.iter().map(|practice| format!("{}: {practice}", printable(&image.name))));
    }
    lines
}

/// The median of an image's times in seconds, and half the distance of its quartiles as a share of it.
fn noise(image: &Image) -> Option<(f64, f64)> {
    let mut times: Vec<_> = image.ready().map(|start| start.total.as_secs_f64()).collect();
    times.sort_unstable_by(f64::total_cmp);
    let at =
        |share: f64| times.get(((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1))).copied();
    let (low, median, high) = (at(0.25)?, at(0.5)?, at(0.75)?);
    (median > 0.0).then(|| (median, (high - low) / 2.0 / median))
}
