//! What a reader must know before trusting the numbers.

use super::{
    content::{Report, Row, shown},
    smaller::smaller,
};
use crate::{
    bench::printable,
    coldstart::{
        comparison::{Comparison, Image},
        findings::Part,
        page_cache::PageCache,
        pull::Present,
        ranking::FEWEST_ROUNDS,
    },
};

/// How to read the tables.
pub(super) const LEGEND: &str = "Milliseconds; \u{b1} is the 95% interval. Ready is the first correct answer over \
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
    let Comparison { images, floor, architecture, broken, .. } = report.comparison;
    let mut notes = Vec::new();
    if let Some(reason) = broken {
        notes.push(format!("This is what there was when the comparison broke off: {}.", printable(reason)));
    }
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
        if let Some(reason) = &image.unread {
            let name = printable(&image.name);
            notes.push(format!("{name}: its pull is unknown, as its layers cannot be read: {}.", printable(reason)));
        }
    }
    for image in images {
        if let Some(why) = image.starts.iter().find_map(|start| start.as_ref().err()) {
            notes.push(format!("{}: {}", printable(&image.name), printable(&why.to_string())));
        }
    }
    notes
}

/// What bytes cost here, and how much of each image they are.
fn costs(report: &Report<'_>) -> Vec<String> {
    let Comparison { model, unpacking, line, .. } = report.comparison;
    if report.rows().iter().all(|row| row.pulls.is_empty()) {
        return Vec::new();
    }
    let mut notes = Vec::new();
    match line {
        Some(Ok(rate)) => notes.push(format!(
            "This node pulls at {:.1} Mbit/s: {:.1} MB of layers came from {} in {:.2} s.",
            rate.bits_per_second / 1e6,
            rate.bytes as f64 / 1e6,
            printable(&rate.registry),
            rate.duration.as_secs_f64(),
        )),
        Some(Err(reason)) => {
            notes.push(format!("How fast this node pulls is unknown: {}.", printable(reason)));
        }
        None => {}
    }
    let Some(bandwidth) = report.comparison.ranking() else {
        notes.push("Ranks are those of the start alone, without a pull.".to_owned());
        return notes;
    };
    notes.push(format!(
        "1 MB takes {} at {bandwidth}, and {} to unpack here. A node has of each image: {}. Ranks are those of the sum with the \
         pull at {bandwidth}.",
        shown(bandwidth.seconds(1_000_000).unwrap_or_default()),
        shown(unpacking.0 * 1e6),
        model.present,
    ));
    for row in report.rows() {
        let (Some(pull), Some(seconds), Some(median)) = (row.image.pull, row.pull, row.median) else {
            continue;
        };
        notes.push(format!(
            "{}: {:.1} MB in {} layers cost {}, its start {}.{}",
            printable(&row.name),
            pull.packed as f64 / 1e6,
            pull.layers,
            shown(seconds),
            shown(median.value),
            base(&row, report.comparison),
        ));
    }
    notes
}

/// What of the pull of an image is its base image.
fn base(row: &Row<'_>, comparison: &Comparison) -> String {
    match row.image.base {
        Some(base) if base.missing.layers > 0 => {
            let mb = base.missing.packed as f64 / 1e6;
            let bandwidth = comparison.ranking();
            let cost = bandwidth.and_then(|bandwidth| base.missing.seconds(bandwidth, comparison.unpacking));
            format!(" {mb:.1} MB of it are its base image and cost {}.", shown(cost.unwrap_or_default()))
        }
        None if comparison.model.present == Present::Base => {
            " Its base image is unknown: its first layer counts as that if others follow.".to_owned()
        }
        Some(_) | None => String::new(),
    }
}

/// What to change in each image: what it costs, and then what costs nothing.
pub(super) fn changes(report: &Report<'_>) -> Vec<String> {
    let Comparison { images, model, unpacking, .. } = report.comparison;
    let mut lines = Vec::new();
    let ranking = model.ranking();
    for image in images {
        lines.extend(image.findings.iter().map(|finding| {
            let cost = ranking.and_then(|bandwidth| finding.pull.seconds(bandwidth, *unpacking));
            let smaller = smaller(report.comparison, image).filter(|_| finding.part == Part::Base);
            format!(
                "{}: {} for {}, {:.1} MB in {} {} such as {}: {}{}",
                printable(&image.name),
                cost.map_or_else(|| "an unknown time".to_owned(), |seconds| format!("{} ms", shown(seconds))),
                finding.part,
                finding.pull.packed as f64 / 1e6,
                finding.files,
                if finding.files == 1 { "file" } else { "files" },
                printable(&finding.example),
                finding.part.advice(),
                smaller.map(|smaller| smaller.text()).unwrap_or_default(),
            )
        }));
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
