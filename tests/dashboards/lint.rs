//! The rules of dashboard-linter (github.com/grafana/dashboard-linter, read from its source), by their names. Of its 17
//! rules the two about LogQL have nothing to judge here; where the original looks at some types of panels only, these
//! look at all.

use serde_json::Value;

use crate::{
    dashboard::{Dashboard, items, shipped, text},
    promql::names,
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
const FUNCTIONS: [&str; 4] = ["label_names", "label_values", "metrics", "query_result"];

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
    for (rule, name, label) in [("template-job-rule", "job", "Job"), ("template-instance-rule", "instance", "Instance")]
    {
        let variable = variables.iter().find(|variable| text(variable, "name") == name).cloned().unwrap_or_default();
        let labels = (text(&variable, "type"), text(&variable, "label"), text(&variable, "allValue"));
        demand(rule, "", labels == ("query", label, ".+") && variable["multi"] == true, &variable.to_string());
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
            // promtool says whether it is PromQL.
            demand("target-promql-rule", title, !query.expression.is_empty(), "an empty query");
            for selector in names(query.expression).selectors {
                let metric = &selector.metric;
                let has = |label: &str| {
                    let same = |m: &&crate::promql::Matcher| {
                        m.label == label && m.operator == "=~" && m.value == format!("${label}")
                    };
                    selector.matchers.iter().filter(same).count() == 1
                };
                demand("target-job-rule", title, has("job"), metric);
                demand("target-instance-rule", title, has("instance"), metric);
                let call = selector.call.as_deref().unwrap_or_default();
                let is_rate = ["rate", "irate"].contains(&call);
                let fixed = is_rate && selector.range.as_deref() != Some("$__rate_interval");
                demand("target-rate-interval-rule", title, !fixed, &format!("{metric} over {:?}", selector.range));
                let counted = ["rate", "irate", "increase"].contains(&call) && selector.range.is_some();
                demand("target-counter-agg-rule", title, !metric.ends_with("_total") || counted, metric);
            }
        }
    }
    wrong
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
