//! The queries of the dashboards, with the variables at what they are when a dashboard is opened.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;

/// A query of a panel.
pub(crate) struct Query {
    pub(crate) dashboard: String,
    pub(crate) panel: String,
    pub(crate) expression: String,
    pub(crate) is_instant: bool,
}

/// All queries of the dashboards in a folder.
pub(crate) fn of(folder: &Path) -> Vec<Query> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    let mut queries = Vec::new();
    for file in files {
        let dashboard: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let variables: Vec<_> = dashboard["templating"]["list"].as_array().into_iter().flatten().collect();
        panels(&dashboard["panels"], &mut |panel| {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let Some(expression) = target["expr"].as_str() else { continue };
                queries.push(Query {
                    dashboard: name.clone(),
                    panel: panel["title"].as_str().unwrap_or_default().to_owned(),
                    expression: filled_in(expression, &variables),
                    is_instant: target["instant"] == true,
                });
            }
        });
    }
    queries
}

fn panels(list: &Value, take: &mut impl FnMut(&Value)) {
    for panel in list.as_array().into_iter().flatten() {
        take(panel);
        panels(&panel["panels"], take);
    }
}

fn filled_in(expression: &str, variables: &[&Value]) -> String {
    let built_in = [("__rate_interval", "1m"), ("__range", "1h"), ("__interval", "15s")];
    let mut all: Vec<_> = built_in.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    for variable in variables {
        let name = variable["name"].as_str().unwrap();
        // A variable that takes one value is at the first region.
        all.push((name.into(), variable["allValue"].as_str().unwrap_or("r01").into()));
    }
    // A name may be the beginning of another.
    all.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    all.iter().fold(expression.to_owned(), |text, (name, value)| {
        text.replace(&format!("${{{name}}}"), value).replace(&format!("${name}"), value)
    })
}

/// The metrics of which a query needs more than the last half hour.
pub(crate) fn long(rules: &str, queries: &[Query]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for text in [rules].into_iter().chain(queries.iter().map(|query| query.expression.as_str())) {
        for (at, _) in text.match_indices('[') {
            let window = text[at + 1..].split([']', ':']).next().unwrap_or_default();
            if ["30m", "1h", "6h", "1d", "24h"].contains(&window) {
                let before = &text[..at];
                names.extend(metrics(&before[before.rfind('(').unwrap_or_default()..]));
            }
        }
    }
    // Range queries go back an hour, whatever they read.
    names.extend(queries.iter().filter(|query| !query.is_instant).flat_map(|query| metrics(&query.expression)));
    names
}

fn metrics(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
    words.filter(|word| word.contains("regionwatch_")).map(str::to_owned).collect()
}
