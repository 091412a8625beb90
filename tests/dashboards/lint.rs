//! The rules of dashboard-linter (github.com/grafana/dashboard-linter, read from its source), by their names. Of its 17
//! rules the two about LogQL have nothing to judge here; where the original looks at some types of panels only, these
//! look at all. The rules whose names begin with `regionwatch` are our own.

use serde_json::Value;

use crate::{
    dashboard::{Dashboard, Query, items, shipped, text},
    promql::{Names, Selector, names},
    read,
    units::UNITS,
};

/// A rule that does not hold somewhere.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Complaint {
    pub(crate) rule: &'static str,
    pub(crate) dashboard: String,
    pub(crate) panel: String,
    pub(crate) what: String,
}

const SOURCE: &str = "${datasource}";

/// What Prometheus makes of a scrape or of a rule, and what `environment` of the configuration does not reach.
const OF_PROMETHEUS: [&str; 1] = ["up"];
const FUNCTIONS: [&str; 4] = ["label_names", "label_values", "metrics", "query_result"];

/// How many points a graph may have whose query is evaluated at each of them. Over a day one is 5 minutes then, the window of
/// what the rules record.
const MAX_POINTS: u64 = 300;

/// Whatever breaks a rule, exceptions included.
pub(crate) fn complaints(dashboard: &Dashboard) -> Vec<Complaint> {
    let mut wrong = Vec::new();
    let mut demand = |rule, panel: &str, holds: bool, what: &str| {
        if !holds {
            let (panel, what) = (panel.to_owned(), what.to_owned());
            wrong.push(Complaint { rule, dashboard: dashboard.title().to_owned(), panel, what });
        }
    };
    demand("uneditable-dashboard", "", dashboard.json["editable"] == false, "it can be edited");

    let variables = dashboard.variables();
    let sources: Vec<_> = variables.iter().filter(|variable| text(variable, "type") == "datasource").collect();
    let is_source = |source: &&Value| {
        (text(source, "name"), text(source, "label"), text(source, "query"))
            == ("datasource", "Data source", "prometheus")
    };
    demand("template-datasource-rule", "", matches!(&sources[..], [one] if is_source(one)), "no variable datasource");
    // A label that may be absent: `.*` matches that too.
    for (rule, name, label, all) in [
        ("template-job-rule", "job", "Job", ".+"),
        ("template-instance-rule", "instance", "Instance", ".+"),
        ("regionwatch-environment-variable", "environment", "Environment", ".*"),
        ("regionwatch-region-variables", "vantage", "Vantage", ".*"),
        ("regionwatch-region-variables", "peer", "Peer region", ".*"),
    ] {
        let named = |name: &str| variables.iter().find(|variable| text(variable, "name") == name);
        // Where everything is about one peer region, it takes one value.
        if name == "peer" && named("peer_region").is_some_and(|variable| variable["multi"] == false) {
            continue;
        }
        let variable = named(name).cloned().unwrap_or_default();
        let labels = (text(&variable, "type"), text(&variable, "label"), text(&variable, "allValue"));
        let several = variable["multi"] == true && variable["includeAll"] == true;
        demand(rule, "", labels == ("query", label, all) && several, &variable.to_string());
        demand(rule, "", text(&variable["datasource"], "uid") == SOURCE, "not from the data source");
    }
    for variable in variables.iter().filter(|variable| text(variable, "type") == "query") {
        let function = text(variable, "query").split('(').next().unwrap_or_default();
        demand("template-label-promql-rule", "", FUNCTIONS.contains(&function), &variable.to_string());
        demand("template-on-time-change-reload-rule", "", variable["refresh"] == 2, &variable.to_string());
    }

    for panel in dashboard.panels() {
        let title = text(panel, "title");
        demand("panel-datasource-rule", title, text(&panel["datasource"], "uid") == SOURCE, "another data source");
        let described = !title.is_empty() && !text(panel, "description").is_empty();
        demand("panel-title-description-rule", title, described, "no title or description");
        for unit in units(panel) {
            demand("panel-units-rule", title, UNITS.contains(&unit), &format!("unit {unit:?}"));
        }
        demand("panel-no-targets-rule", title, !items(panel, "targets").is_empty(), "no query");
        for query in dashboard.queries_of(panel) {
            let few = panel["maxDataPoints"].as_u64().is_some_and(|points| points <= MAX_POINTS);
            demand("regionwatch-cost", title, few || !needs_few_points(&query), "more points than a day may have");
            // promtool says whether it is PromQL.
            demand("target-promql-rule", title, !query.expression.is_empty(), "an empty query");
            for selector in names(query.expression).selectors {
                let metric = &selector.metric;
                demand("target-job-rule", title, selects(&selector, "job", "job"), metric);
                demand("target-instance-rule", title, selects(&selector, "instance", "instance"), metric);
                let call = selector.call.as_deref().unwrap_or_default();
                let is_rate = ["rate", "irate"].contains(&call);
                let fixed = is_rate && selector.range.as_deref() != Some("$__rate_interval");
                demand("target-rate-interval-rule", title, !fixed, &format!("{metric} over {:?}", selector.range));
                let counted = ["rate", "irate", "increase"].contains(&call) && selector.range.is_some();
                demand("target-counter-agg-rule", title, !metric.ends_with("_total") || counted, metric);
            }
        }
    }
    for query in dashboard.queries() {
        let names = names(query.expression);
        for selector in &names.selectors {
            for what in unselected(selector, &own_peers(dashboard), query.instant) {
                demand("regionwatch-selector", query.panel, false, &what);
            }
            if let Some(what) = counted_twice(selector) {
                demand("regionwatch-two-jobs", query.panel, false, &what);
            }
        }
        for what in too_many(&query, &names) {
            demand("regionwatch-cost", query.panel, false, &what);
        }
        for what in ungrouped(&names) {
            demand("regionwatch-grouping", query.panel, false, &what);
        }
    }
    wrong
}

/// Whether a selector takes the values that are chosen for a variable.
fn selects(selector: &Selector, label: &str, variable: &str) -> bool {
    let value = format!("${variable}");
    selector.matchers.iter().filter(|m| m.label == label && m.operator == "=~" && m.value == value).count() == 1
}

/// The variable of the peer regions.
fn own_peers(dashboard: &Dashboard) -> String {
    let mut names = dashboard.variables().iter().map(|variable| text(variable, "name"));
    names.find(|name| name.starts_with("peer")).unwrap_or_default().to_owned()
}

/// What `families!` says of a metric.
struct Family {
    /// It is on the small page, and so in two jobs.
    state: bool,
    /// Of what there is one series, such as `Region`.
    subject: String,
}

impl Family {
    /// There are as many as pairs of regions.
    fn of_pairs(&self) -> bool {
        ["Path", "Peer", "Region", "Votes"].contains(&&*self.subject)
    }

    /// There are as many as servers of databases, for each vantage.
    fn of_servers(&self) -> bool {
        self.subject == "Database"
    }
}

fn family(metric: &str) -> Option<Family> {
    let families = read("src/metrics/families.rs");
    let metric = metric.strip_prefix("regionwatch_")?;
    let names = ["_bucket", "_sum", "_count"].iter().filter_map(|end| metric.strip_suffix(end)).chain([metric]);
    let line = names.into_iter().find_map(|name| {
        families.lines().find(|line| line.trim_start_matches("#[state]").trim_start().contains(&format!("\"{name}\" ")))
    })?;
    let subject = line.rsplit_once('(')?.0.rsplit(' ').next()?.to_owned();
    Some(Family { state: line.contains("#[state] "), subject })
}

/// What is evaluated at each point: a rate, or which pairs are shown.
fn needs_few_points(query: &Query<'_>) -> bool {
    !query.instant && ["rate(", "topk("].iter().any(|call| query.expression.contains(call))
}

/// Samples of each pair of regions, one per second and for hours: too many at fifty regions.
fn too_many(query: &Query<'_>, names: &Names) -> Vec<String> {
    let one_peer = query.expression.contains("\"$peer_region\"");
    let long = |selector: &&Selector| {
        let range = selector.range.as_deref().unwrap_or("$__rate_interval");
        let family = family(&selector.metric);
        family.is_some_and(|family| family.of_pairs() && !one_peer && (!query.instant || range != "$__rate_interval"))
    };
    names.selectors.iter().filter(long).map(|selector| format!("{} is not recorded", selector.metric)).collect()
}

/// The variables that a selector ignores, of those that it could follow. What shows the present may show all databases, so that
/// one is chosen there.
fn unselected(selector: &Selector, peers: &str, is_instant: bool) -> Vec<String> {
    let metric = &selector.metric;
    if OF_PROMETHEUS.contains(&&**metric) {
        return Vec::new();
    }
    // A recorded series names its labels: `vantage_peer:...`.
    let level = metric.split_once(':').map(|(level, _)| level);
    let per = |word: &str, own: bool| level.map_or(own, |level| level.split('_').any(|part| part == word));
    let own = metric.starts_with("regionwatch_");
    let family = family(metric);
    let of_server = family.as_ref().is_some_and(Family::of_servers);
    let of_peer = of_server || family.is_some_and(|family| family.of_pairs());
    let mut missing = Vec::new();
    let mut demand = |has: bool, label: &str, variable: &str| {
        if has && !selects(selector, label, variable) {
            missing.push(format!("{metric} ignores ${variable}"));
        }
    };
    demand(true, "environment", "environment");
    demand(per("vantage", own), "vantage_region", "vantage");
    demand(per("peer", of_peer), "peer_region", peers);
    demand(of_server && !is_instant, "database", "database");
    missing
}

/// A series of the small page is in two jobs: what adds or counts must see it once.
fn counted_twice(selector: &Selector) -> Option<String> {
    family(&selector.metric).filter(|family| family.state)?;
    let merges = |name: &str| ["max", "min", "group"].contains(&name);
    match &selector.aggregation {
        Some(around) if merges(&around.name) && !around.by.iter().any(|label| label == "job") => None,
        around => Some(format!("{} of two jobs, in {around:?}", selector.metric)),
    }
}

/// Lists of labels without `environment`. With `up` this is the one of the scrape configuration, if any.
fn ungrouped(names: &Names) -> Vec<String> {
    let joins_up = names.selectors.iter().any(|selector| OF_PROMETHEUS.contains(&&*selector.metric));
    let lists = names.groupings.iter().filter(|grouping| {
        let exempt = (grouping.word == "on" && joins_up) || grouping.labels == ["le"];
        !grouping.word.starts_with("group_") && !exempt && !grouping.labels.iter().any(|label| label == "environment")
    });
    lists.map(|grouping| format!("{} {:?}", grouping.word, grouping.labels)).collect()
}

/// The units of a panel: the one that is meant for all its values, and those of the overrides.
fn units(panel: &Value) -> Vec<&str> {
    let overrides = items(&panel["fieldConfig"], "overrides").iter().flat_map(|over| items(over, "properties"));
    let overrides = overrides.filter(|property| property["id"] == "unit").map(|property| text(property, "value"));
    overrides.chain([text(&panel["fieldConfig"]["defaults"], "unit")]).collect()
}

/// An exception of `dashboards/.lint`.
#[derive(Debug, Default, Clone)]
struct Exception {
    rule: String,
    reason: String,
    dashboard: String,
    panel: String,
}

/// Reads as much YAML as the file needs.
fn exceptions() -> Vec<Exception> {
    let text = read("dashboards/.lint");
    let mut found: Vec<Exception> = Vec::new();
    let mut rule = String::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let indent = line.len() - line.trim_start().len();
        let (key, value) = line.trim().trim_start_matches("- ").split_once(':').unwrap_or_else(|| panic!("{line}"));
        let value = value.trim().trim_matches('"').to_owned();
        if line.trim().starts_with("- ") {
            found.push(Exception { rule: rule.clone(), ..Exception::default() });
        }
        match (key, indent) {
            ("exclusions", 0) | ("entries", 4) => {}
            (_, 2) => key.clone_into(&mut rule),
            ("dashboard", 6) => found.last_mut().unwrap().dashboard = value,
            ("panel", 8) => found.last_mut().unwrap().panel = value,
            ("reason", 8) => found.last_mut().unwrap().reason = value,
            _ => panic!("{line}"),
        }
    }
    found
}

#[test]
fn every_lint_rule_passes_except_for_exceptions_with_a_reason() {
    let mut complaints: Vec<_> = shipped().iter().flat_map(complaints).collect();
    for Exception { rule, reason, dashboard, panel } in exceptions() {
        assert!(!reason.is_empty(), "{rule} {panel}");
        let before = complaints.len();
        complaints.retain(|told| (told.rule, &told.dashboard, &told.panel) != (&rule, &dashboard, &panel));
        assert!(complaints.len() < before, "nobody needs the exception from {rule} for {panel}");
    }
    assert!(complaints.is_empty(), "{complaints:#?}");
}
