//! The queries of the dashboards, as Grafana asks them: of panels, annotations and variables.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;
use testkit::process::escaped;

/// How wide the columns of a dashboard are on a screen of 1,920 pixels, of which the margins take some.
const COLUMN: u64 = 76;

/// How many points Grafana asks of an annotation, and how close together at most.
const ANNOTATION: Kind = Kind::Range { points: 100, least: 60 };

/// How often the data source of `dashboards/provisioning` scrapes, s.
const SCRAPE: u64 = 15;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Instant,
    /// At most so many points, of which two are at least `least` seconds apart.
    Range {
        points: u64,
        least: u64,
    },
    /// The values of a label.
    Values(String),
}

/// A query of a panel, an annotation or a variable.
pub(crate) struct Query {
    pub(crate) dashboard: String,
    pub(crate) panel: String,
    /// The variables of the dashboard are filled in, those of Grafana are not.
    expression: String,
    kind: Kind,
}

/// Seconds between two points, as Grafana rounds them.
fn rounded(exact: f64) -> u64 {
    let steps =
        [(17.5, 15), (25.0, 20), (45.0, 30), (90.0, 60), (210.0, 120), (450.0, 300), (750.0, 600), (1_050.0, 900)];
    steps.into_iter().find(|(limit, _)| exact <= *limit).map_or(1_200, |(_, step)| step)
}

impl Query {
    /// Seconds between two points of a graph over so many seconds.
    fn step(&self, span: u64) -> u64 {
        match self.kind {
            Kind::Range { points, least } => rounded(span as f64 / points as f64).max(least),
            Kind::Instant | Kind::Values(_) => SCRAPE,
        }
    }

    fn filled_in(&self, span: u64) -> String {
        let step = self.step(span);
        let rate = (step + SCRAPE).max(4 * SCRAPE);
        let values = [("__rate_interval", rate), ("__range", span), ("__interval", step)];
        values.into_iter().fold(self.expression.clone(), |text, (name, seconds)| {
            text.replace(&format!("${name}"), &format!("{seconds}s"))
        })
    }

    /// What Grafana requests where the last so many seconds are shown.
    pub(crate) fn path(&self, end: u64, span: u64) -> String {
        let (begin, expression) = (end - span, escaped(&self.filled_in(span)));
        match &self.kind {
            Kind::Instant => format!("/api/v1/query?time={end}&query={expression}"),
            Kind::Range { .. } => {
                format!("/api/v1/query_range?start={begin}&end={end}&step={}&query={expression}", self.step(span))
            }
            Kind::Values(label) => {
                format!("/api/v1/label/{label}/values?start={begin}&end={end}&match[]={expression}")
            }
        }
    }
}

/// All queries of the dashboards in a folder.
pub(crate) fn of(folder: &Path) -> Vec<Query> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    files.iter().flat_map(|file| of_file(file)).collect()
}

fn of_file(file: &Path) -> Vec<Query> {
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let name = file.file_stem().unwrap().to_string_lossy().into_owned();
    let variables = list(&dashboard["templating"]["list"]);
    let mut queries = Vec::new();
    let mut add = |panel: &Value, expression: &Value, kind: Kind| {
        let Some(expression) = expression.as_str() else { return };
        queries.push(Query {
            dashboard: name.clone(),
            panel: panel.as_str().unwrap_or_default().to_owned(),
            expression: chosen(expression, variables),
            kind,
        });
    };
    for panel in list(&dashboard["panels"]) {
        for target in list(&panel["targets"]) {
            let kind = if target["instant"] == true { Kind::Instant } else { graph(panel, target) };
            add(&panel["title"], &target["expr"], kind);
        }
    }
    for annotation in list(&dashboard["annotations"]["list"]) {
        add(&annotation["name"], &annotation["expr"], ANNOTATION);
    }
    for variable in variables {
        let query = variable["query"]["query"].as_str().or_else(|| variable["query"].as_str()).unwrap_or_default();
        let inner = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')')?.rsplit_once(", "));
        if let Some((selector, label)) = inner {
            add(&variable["label"], &Value::from(selector), Kind::Values(label.to_owned()));
        }
    }
    queries
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn graph(panel: &Value, target: &Value) -> Kind {
    let width = panel["gridPos"]["w"].as_u64().unwrap_or(24) * COLUMN;
    let interval = [&target["interval"], &panel["interval"]].into_iter().find_map(Value::as_str);
    Kind::Range {
        points: panel["maxDataPoints"].as_u64().unwrap_or(width),
        least: interval.and_then(seconds).unwrap_or(SCRAPE),
    }
}

/// The variables at what they are when a dashboard is opened: all, or where one takes one value, a region or a database.
fn chosen(expression: &str, variables: &[Value]) -> String {
    let value = |variable: &Value| {
        let name = variable["name"].as_str().unwrap().to_owned();
        let one = if name == "database" { "d01" } else { "r01" };
        (name, variable["allValue"].as_str().unwrap_or(one).to_owned())
    };
    let mut all: Vec<_> = variables.iter().map(value).collect();
    // A name may be the beginning of another.
    all.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    all.iter().fold(expression.to_owned(), |text, (name, value)| {
        text.replace(&format!("${{{name}}}"), value).replace(&format!("${name}"), value)
    })
}

/// Which past of a metric is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Need {
    /// Seconds between two samples.
    pub(crate) interval: u64,
    /// How far back, s.
    pub(crate) depth: u64,
    /// Labels without which nothing is read, such as `probe="icmp"`.
    pub(crate) only: Vec<String>,
}

/// What a range that a query reads needs beside it: later evaluations, and an offset.
const MARGIN: u64 = 2 * 3_600;

/// What the rules and the queries read of the past, if graphs show so many seconds.
pub(crate) fn needs(rules: &str, queries: &[Query], span: u64) -> BTreeMap<String, Vec<Need>> {
    let intervals = recorded(rules);
    let mut needs = BTreeMap::<String, Vec<Need>>::new();
    let mut add = |name: &str, depth: u64, only: Vec<String>| {
        let interval = intervals.get(name).copied().unwrap_or(SCRAPE);
        let need = Need { interval, depth, only };
        let known = needs.entry(name.to_owned()).or_default();
        if !known.contains(&need) {
            known.push(need);
        }
    };
    let ranges = queries.iter().map(|query| query.filled_in(span));
    for text in [rules.to_owned()].into_iter().chain(ranges) {
        for (at, _) in text.match_indices('[') {
            let window = text[at + 1..].split([']', ':']).next().and_then(seconds).unwrap_or_default();
            let before = &text[..at];
            for name in metrics(&before[before.rfind('(').unwrap_or_default()..]) {
                // The live scrapes suffice for what is shorter.
                if window >= 120 {
                    let margin = if name.contains(':') { MARGIN } else { 120 };
                    add(&name, window + margin, only(&before[before.rfind('(').unwrap_or_default()..]));
                }
            }
        }
    }
    for query in queries.iter().filter(|query| matches!(query.kind, Kind::Range { .. })) {
        let text = query.filled_in(span);
        for name in metrics(&text) {
            add(&name, span, only(&text));
        }
    }
    needs
}

/// What every selector of such a text asks for.
fn only(text: &str) -> Vec<String> {
    let labels = ["probe=\"icmp\"", "probe=\"tcp\"", "probe=\"http\"", "peer_region=~\"r01\"", "database=~\"d01\""];
    let selectors = text.matches('{').count();
    let found = labels.into_iter().filter(|label| selectors > 0 && text.matches(*label).count() == selectors);
    found.map(|label| label.replace("=~", "=")).collect()
}

/// How often each recorded series gets a sample, s.
fn recorded(rules: &str) -> BTreeMap<String, u64> {
    let (mut all, mut interval) = (BTreeMap::new(), SCRAPE);
    for line in rules.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("interval: ") {
            interval = seconds(text).unwrap();
        } else if let Some(name) = line.strip_prefix("- record: ") {
            all.insert(name.to_owned(), interval);
        }
    }
    all
}

/// A duration of PromQL, such as `1h15s`, in seconds.
fn seconds(text: &str) -> Option<u64> {
    let (mut sum, mut number) = (0, None::<u64>);
    for c in text.chars() {
        let digit = c.to_digit(10).map(u64::from);
        let scale = match c {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            _ => {
                number = Some(number.unwrap_or_default() * 10 + digit?);
                continue;
            }
        };
        sum += number.take()? * scale;
    }
    number.is_none().then_some(sum).filter(|sum| *sum > 0)
}

fn metrics(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
    words.filter(|word| word.contains("regionwatch_") || word.starts_with("process_")).map(str::to_owned).collect()
}
