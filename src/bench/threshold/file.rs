//! A file of thresholds: YAML, or JSON, which is a part of it; the object `thresholds` of k6's options.

use super::{
    criterion::Threshold,
    grammar::{ThresholdError, delay, parse_expression, parse_selector},
};
use crate::yaml::{ConfigErrors, Diagnostics, Item, tree};

const FORM: &str = "write METRIC: [EXPRESSION], such as probe_duration: [p(95)<200]";

/// Reads thresholds from the text of a file.
///
/// # Errors
/// Every error, with its line and column.
pub fn read(name: &str, text: &str) -> Result<Vec<Threshold>, ConfigErrors> {
    let diagnostics = Diagnostics::default();
    let found = tree::read(text, &diagnostics).and_then(|node| thresholds(&Item::root(&node, &diagnostics)));
    match diagnostics.into_errors(name) {
        Some(errors) => Err(errors),
        None => Ok(found.unwrap_or_default()),
    }
}

fn thresholds(root: &Item<'_>) -> Option<Vec<Threshold>> {
    // The other options of k6 are about how it sends its load.
    let metrics = root.entries()?.into_iter().find(|(name, _)| *name == "thresholds");
    let Some((_, metrics)) = metrics else {
        root.wrong(format!("has no thresholds; {FORM}"));
        return None;
    };
    let mut found = Vec::new();
    let metrics_of_file = metrics.entries()?;
    if metrics_of_file.is_empty() {
        metrics.wrong(format!("has no threshold; {FORM}"));
    }
    for (selector, item) in metrics_of_file {
        let parsed = parse_selector(selector).map_err(|error| reject(&item, &error)).ok();
        let entries = item.list()?;
        if entries.is_empty() {
            item.wrong("has no expression; write one, such as [p(95)<200]");
        }
        for entry in entries {
            found.extend(parsed.clone().and_then(|(metric, tags)| {
                let (expression, abort_after) = entry_of(&entry)?;
                let parsed = parse_expression(expression.raw()?, metric);
                let (aggregation, comparison, bound) = parsed.map_err(|error| reject(&expression, &error)).ok()?;
                Some(Threshold { metric, tags, aggregation, comparison, bound, abort_after })
            }));
        }
    }
    Some(found)
}

/// The expression of an entry, which is a text or an object of k6, and its delay if it aborts the run.
fn entry_of<'a>(entry: &Item<'a>) -> Option<(Item<'a>, Option<std::time::Duration>)> {
    if !entry.is_mapping() {
        return Some((entry.clone(), None));
    }
    let fields = entry.fields(&["threshold", "abortOnFail", "delayAbortEval"])?;
    let expression = fields.required("threshold", "write an expression, such as p(95)<200")?;
    let aborts = fields.read("abortOnFail", Item::flag).unwrap_or(false);
    let after = fields.read("delayAbortEval", |item| item.read(delay));
    Some((expression, aborts.then(|| after.unwrap_or_default())))
}

fn reject(item: &Item<'_>, error: &ThresholdError) {
    item.wrong(error.to_string());
}
