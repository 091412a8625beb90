//! Every query, against a Prometheus that has seen an outage.

use std::{collections::BTreeSet, thread, time::Duration};

use serde_json::Value;
use testkit::{
    needs::{
        Need::{Ping, Tool},
        require,
    },
    stalls::Patience,
};

use crate::{
    dashboard::{Dashboard, Query, filled_in, items, shipped, text},
    faults,
    outage::{FOREIGN, Outage, SIDECARS, Series, VICTIM},
    promql,
    stores::LOST,
};

/// How long the outage may take to be seen: the region dies after 10 s, is given up 10 s after that, and some rules are
/// evaluated each 15 s.
const PATIENCE: Duration = Duration::from_secs(90);

/// The values of a dashboard's variables, each as Grafana would insert it.
type Choice = Vec<(String, String)>;

/// All values at once, as Grafana writes several into a regular expression.
fn several(values: &[String]) -> String {
    let quoted: Vec<_> = values.iter().map(|value| value.replace('.', "\\\\.")).collect();
    format!("({})", quoted.join("|"))
}

/// What is done with a variable that takes several values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Several {
    /// It is left at All, as it is in the file.
    All,
    /// Each of the values is chosen.
    Each,
}

/// Every way in which a dashboard's variables are tried: each value of a variable that takes one, all of the others.
pub(crate) fn choices(outage: &Outage, dashboard: &Dashboard, how: Several) -> Result<Vec<Choice>, String> {
    let mut choices = vec![Choice::new()];
    for variable in dashboard.variables().iter().filter(|variable| text(variable, "type") == "query") {
        let name = text(variable, "name");
        let chosen: Vec<_> = choices[0].iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let values = outage.label_values(&filled_in(text(variable, "query"), &chosen));
        if values.is_empty() {
            return Err(format!("{}: the variable {name} has no values", dashboard.file));
        }
        let values = match (variable["multi"] == true, how) {
            (false, _) => values,
            (true, Several::All) => vec![text(variable, "allValue").to_owned()],
            (true, Several::Each) => vec![several(&values)],
        };
        let with = |choice: &Choice| {
            let choice = choice.clone();
            values.iter().map(move |value| [choice.clone(), vec![(name.to_owned(), value.clone())]].concat())
        };
        choices = choices.iter().flat_map(with).collect();
    }
    Ok(choices)
}

/// What a query returns, for the first choice that returns something.
pub(crate) fn answer(outage: &Outage, query: &Query<'_>, choices: &[Choice]) -> Result<Vec<Series>, String> {
    for choice in choices {
        let variables: Vec<_> = choice.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let found = outage.query(&filled_in(query.expression, &variables), query.instant);
        let found = found.map_err(|error| format!("{}: {error}", query.place()))?;
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Err(format!("{}: no data", query.place()))
}

/// Names in the queries of a dashboard that nobody exposes.
pub(crate) fn strangers(outage: &Outage, dashboard: &Dashboard) -> Vec<String> {
    let mut wrong = Vec::new();
    let variables = dashboard.variables().iter().filter_map(|variable| {
        let inside = text(variable, "query").strip_prefix("label_values(")?;
        Some((text(variable, "name").to_owned(), inside.rsplit_once(", ")?.0.to_owned()))
    });
    let queries = dashboard.queries().into_iter().map(|query| (query.place(), query.expression.to_owned()));
    for (place, expression) in variables.chain(queries) {
        let names = promql::names(&expression);
        let mut groupable = BTreeSet::new();
        for selector in &names.selectors {
            let metric = &selector.metric;
            let series = outage.series(metric);
            if series.is_empty() {
                wrong.push(format!("{place}: nobody exposes {metric}"));
            }
            for matcher in &selector.matchers {
                let values: BTreeSet<_> = series.iter().filter_map(|labels| labels[&matcher.label].as_str()).collect();
                if values.is_empty() {
                    wrong.push(format!("{place}: {metric} has no label {}", matcher.label));
                }
                let literal = !matcher.value.contains(['$', '.', '+', '*', '[']);
                for value in matcher.value.split('|').filter(|value| literal && !values.contains(value)) {
                    wrong.push(format!("{place}: {metric} never has {}={value:?}", matcher.label));
                }
            }
            let labels = series.iter().filter_map(Value::as_object);
            groupable.extend(labels.flat_map(|labels| labels.keys().cloned()));
        }
        for label in names.grouped().filter(|label| !groupable.contains(*label)) {
            // Made by `label_replace`.
            if expression.contains(&format!("\"{label}\"")) {
                continue;
            }
            wrong.push(format!("{place}: nothing there has the label {label}"));
        }
    }
    wrong
}

/// Between `{{` and `}}`.
fn placeholders(legend: &str) -> impl Iterator<Item = &str> {
    legend.split("{{").skip(1).filter_map(|rest| rest.split("}}").next()).map(str::trim)
}

/// Names in legends, transformations, overrides and orders that the answers of a panel's queries do not have.
pub(crate) fn misnomers(panel: &Value, answers: &[(Query<'_>, Vec<Series>)]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut columns = BTreeSet::from(["Time".to_owned()]);
    let mut legends = BTreeSet::new();
    for (query, series) in answers {
        let place = query.place();
        let labels: BTreeSet<_> = series.iter().filter_map(|s| s.labels.as_object()).flat_map(|l| l.keys()).collect();
        for label in placeholders(query.legend).filter(|label| !labels.iter().any(|known| known == label)) {
            wrong.push(format!("{place}: no series has the label {label} of the legend"));
        }
        legends.insert(query.legend.to_owned());
        columns.extend(labels.into_iter().cloned());
        columns.insert(if answers.len() == 1 { "Value".into() } else { format!("Value #{}", query.reference) });
    }
    let title = text(panel, "title");
    let mut renamed = columns.clone();
    for transformation in items(panel, "transformations") {
        let options = &transformation["options"];
        let keys =
            |name: &str| options[name].as_object().into_iter().flat_map(|o| o.keys().cloned()).collect::<Vec<_>>();
        let fields = ["columnField", "rowField", "valueField"].into_iter().filter_map(|name| options[name].as_str());
        let named = ["excludeByName", "renameByName", "indexByName"].into_iter().flat_map(keys);
        for name in named.chain(fields.map(str::to_owned)).filter(|name| !columns.contains(name)) {
            wrong.push(format!("{title}: no column {name:?}, which {} names", text(transformation, "id")));
        }
        let names = options["renameByName"].as_object().into_iter().flatten();
        for (from, to) in names {
            renamed.remove(from);
            renamed.insert(to.as_str().unwrap().to_owned());
        }
    }
    let overridden = items(&panel["fieldConfig"], "overrides").iter().flat_map(|over| items(over, "properties"));
    let names = overridden.filter(|property| property["id"] == "displayName");
    renamed.extend(names.map(|property| text(property, "value").to_owned()));
    for order in items(&panel["options"], "sortBy") {
        if !renamed.contains(text(order, "displayName")) {
            wrong.push(format!("{title}: is sorted by {}, which it does not have", order["displayName"]));
        }
    }
    for matcher in items(&panel["fieldConfig"], "overrides").iter().map(|over| &over["matcher"]) {
        let name = text(matcher, "options");
        let known = match text(matcher, "id") {
            "byName" => renamed.contains(name) || legends.contains(name),
            "byFrameRefID" => answers.iter().any(|(query, _)| query.reference == name),
            "byRegexp" => columns.contains(name.trim_matches(['/', '^'])),
            _ => false,
        };
        if !known {
            wrong.push(format!("{title}: nothing is overridden by {matcher}"));
        }
    }
    wrong
}

/// Queries that show something where nothing of regionwatch is chosen.
fn strays(outage: &Outage, dashboard: &Dashboard) -> Vec<String> {
    let foreign = [
        ("job", FOREIGN),
        ("instance", ".+"),
        ("environment", ".*"),
        ("vantage", ".*"),
        ("peer_region", ".*"),
        ("peer", ".*"),
        ("database", ".+"),
    ];
    let mut wrong = Vec::new();
    // What the rules have recorded is of regionwatch, and has no job.
    let has_no_job = |selector: &promql::Selector| {
        selector.metric.contains(':') && !selector.matchers.iter().any(|matcher| matcher.label == "job")
    };
    let follows = |query: &&Query<'_>| {
        query.expression.contains("$job") && !promql::names(query.expression).selectors.iter().any(has_no_job)
    };
    for query in dashboard.queries().iter().filter(follows) {
        match outage.query(&filled_in(query.expression, &foreign), query.instant) {
            Ok(found) if found.is_empty() => {}
            other => wrong.push(format!("{}: counts what is not regionwatch's: {other:?}", query.place())),
        }
    }
    wrong
}

fn of_instances(series: &[Series], count: usize) -> bool {
    let instances: BTreeSet<_> = series.iter().map(|series| series.label("instance")).collect();
    instances.len() == count && series.len() == count
}

fn of_server<'a>(series: &'a [Series], database: &str, region: &str) -> Option<&'a Series> {
    series.iter().find(|series| (series.label("database"), series.label("peer_region")) == (database, region))
}

/// What must be seen of the outage: a dashboard, a panel, and what its first query must hold.
type Sight = (&'static str, &'static str, fn(&[Series]) -> bool);

fn of_victim(series: &[Series]) -> impl Iterator<Item = &Series> {
    series.iter().filter(|series| series.label("peer_region") == VICTIM)
}

fn last(series: &Series) -> f64 {
    *series.values.last().unwrap()
}

const SIGHTS: &[Sight] = &[
    ("regionwatch-databases", "State of each database", |all| {
        // Two have their primary, one of them in another region than before, and the old one does not answer.
        let states = [("orders", "store-a"), ("orders", "store-b"), ("billing", "store-a"), ("billing", "store-b")];
        states.map(|(database, region)| of_server(all, database, region).map(last)) == [5.0, 1.0, 0.0, 5.0].map(Some)
    }),
    ("regionwatch-databases", "Databases without a primary", |all| last(&all[0]) == 0.0),
    ("regionwatch-databases", "Losses unknown", |all| last(&all[0]) == 1.0),
    ("regionwatch-databases", "Tokens lost by promotions", |all| last(&all[0]) >= LOST),
    ("regionwatch-databases", "Lost by the last promotion", |all| all.len() == 1 && last(&all[0]) >= LOST),
    ("regionwatch-overview", "Regions down", |all| last(&all[0]) == 1.0),
    ("regionwatch-overview", "Regions, worst state of all vantages", |all| {
        of_victim(all).all(|series| last(series) == 5.0) && all.iter().filter(|series| last(series) < 5.0).count() >= 3
    }),
    ("regionwatch-overview", "Active incidents", |all| last(&all[0]) == 1.0),
    ("regionwatch-overview", "Sidecars that cannot be scraped", |all| last(&all[0]) == 1.0),
    // Of those that were scraped in the outage and in the time before it that is looked at.
    ("regionwatch-sidecar", "Sidecars scraped", |all| {
        // Prometheus 2 adds up means.
        (last(&all[0]) - (SIDECARS - 1) as f64 / SIDECARS as f64).abs() < 1e-9
    }),
    ("regionwatch-sidecar", "CPU", |all| of_instances(all, SIDECARS)),
    ("regionwatch-sidecar", "Memory", |all| of_instances(all, SIDECARS)),
    ("regionwatch-sidecar", "File descriptors in use", |all| of_instances(all, SIDECARS)),
    ("regionwatch-sidecar", "Start and configuration load", |all| of_instances(all, SIDECARS - 1)),
    ("regionwatch-overview", "State of each pair", |all| {
        of_victim(all).filter(|series| last(series) == 5.0).count() == 3
    }),
    ("regionwatch-overview", "State of each region", |all| of_victim(all).any(|series| last(series) == 5.0)),
    ("regionwatch-pair", "State over time, by vantage", |all| !all.is_empty()),
    ("regionwatch-overview", "If this region fails, go to", |all| {
        // The dead region's last word is not lost.
        of_victim(all).count() == 0 && all.iter().any(|series| series.label("vantage_region") == VICTIM)
    }),
    ("regionwatch-failover", "Regions with a quorum for down", |all| last(&all[0]) == 1.0),
    ("regionwatch-failover", "Failovers ordered", |all| last(&all[0]) == 1.0),
    ("regionwatch-failover", "Ineligible candidates, with reasons", |all| {
        ["state", "quorum"].iter().all(|reason| of_victim(all).any(|series| series.label("reason") == *reason))
    }),
    ("regionwatch-failover", "State changes in 5 minutes", |all| of_victim(all).any(|s| s.label("to") == "down")),
    ("regionwatch-failover", "Incidents", |all| of_victim(all).any(|series| last(series) == 2.0)),
    ("regionwatch-failover", "Alerts of the rules", |all| {
        let mut about = all.iter().filter(|series| series.label("about") == VICTIM);
        about.any(|series| series.label("alertname") == "RegionwatchPeerDown" && last(series) == 2.0)
    }),
];

/// What is wrong with a dashboard before this Prometheus: queries without data, and names that nothing has.
pub(crate) fn complaints(outage: &Outage, dashboard: &Dashboard) -> Vec<String> {
    let mut wrong = strangers(outage, dashboard);
    wrong.extend(strays(outage, dashboard));
    for how in [Several::All, Several::Each] {
        match choices(outage, dashboard, how) {
            Ok(choices) => wrong.extend(complaints_of(outage, dashboard, &choices)),
            Err(said) => wrong.push(said),
        }
    }
    wrong
}

fn complaints_of(outage: &Outage, dashboard: &Dashboard, choices: &[Choice]) -> Vec<String> {
    let mut wrong = Vec::new();
    for query in dashboard.queries().iter().filter(|query| query.reference == "annotation") {
        wrong.extend(answer(outage, query, choices).err());
    }
    for panel in dashboard.panels() {
        let answers: Vec<_> =
            dashboard.queries_of(panel).map(|query| (query, answer(outage, &query, choices))).collect();
        wrong.extend(answers.iter().filter_map(|(_, answer)| answer.as_ref().err().cloned()));
        let answers: Vec<_> = answers.into_iter().map(|(query, answer)| (query, answer.unwrap_or_default())).collect();
        wrong.extend(misnomers(panel, &answers));
        let first = answers.first().map_or(&[][..], |(_, series)| series);
        for (_, title, seen) in
            SIGHTS.iter().filter(|(file, title, _)| (*file, *title) == (&dashboard.file, text(panel, "title")))
        {
            if first.is_empty() || !seen(first) {
                wrong.push(format!("{title}: does not show the outage: {first:?}"));
            }
        }
    }
    wrong
}

#[test]
fn every_query_of_every_panel_returns_data_and_shows_the_outage() {
    require(&[Ping, Tool("prometheus"), Tool("prometheus-alertmanager"), Tool("nginx"), Tool("knotd")]);
    let dashboards = shipped();
    for (file, title, _) in SIGHTS {
        dashboards.iter().find(|dashboard| dashboard.file == *file).unwrap().panel(title);
    }
    let outage = Outage::begin();
    let patience = Patience::of(PATIENCE);
    for dashboard in &dashboards {
        loop {
            let wrong = complaints(&outage, dashboard);
            if wrong.is_empty() {
                break;
            }
            assert!(!patience.is_over(), "{wrong:#?}");
            thread::sleep(Duration::from_millis(500));
        }
    }
    faults::are_found_by_a_live_prometheus(&outage);
}
