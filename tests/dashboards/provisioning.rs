//! The files by which Grafana finds the dashboards and Prometheus.

use crate::{
    dashboard::{shipped, text},
    promql::names,
    read,
};

#[test]
fn the_data_source_has_the_scrape_interval_of_the_readme() {
    let readme = read("README.md");
    let interval = readme.split("scrape_interval: ").nth(1).unwrap().lines().next().unwrap();
    let file = read("dashboards/provisioning/datasources.yaml");
    assert!(file.contains(&format!("      timeInterval: {interval}\n")), "{interval}");
    assert!(file.contains("    type: prometheus\n") && file.contains("    uid: regionwatch-prometheus\n"));
}

#[test]
fn provisioned_dashboards_cannot_be_edited_in_grafana() {
    let file = read("dashboards/provisioning/dashboards.yaml");
    assert!(file.contains("    allowUiUpdates: false\n") && file.contains("    type: file\n"));
}

#[test]
fn the_dashboards_page_lists_every_dashboard() {
    let page = read("docs/dashboards.md");
    for dashboard in shipped() {
        assert!(page.contains(&format!("| `{}` |", dashboard.file)), "{}", dashboard.file);
    }
}

/// The operator's Prometheus keeps only the measurements of pod sidecars.
#[test]
fn pod_sidecars_can_be_selected_and_are_counted() {
    let monitors = read("deploy/kubernetes/components/prometheus-operator/servicemonitor.yaml");
    let dropped = monitors.lines().find_map(|line| line.trim().strip_prefix("regex: ")).unwrap();
    let dropped = regex_lite::Regex::new(&format!("^(?:{dropped})$")).unwrap();
    let is_own = |metric: &str| metric.contains("regionwatch_");
    for dashboard in shipped() {
        let variables = dashboard.variables().iter().filter_map(|variable| {
            let selector = text(variable, "query").strip_prefix("label_values(")?.rsplit_once(", ")?.0;
            Some((text(variable, "name").to_owned(), selector.to_owned()))
        });
        let queries = dashboard.queries();
        // What tells a sidecar from everything else that has such a metric too.
        let mixed = queries.iter().filter(|query| names(query.expression).selectors.iter().any(|s| !is_own(&s.metric)));
        let mixed = mixed.map(|query| (query.place(), query.expression.to_owned()));
        for (place, expression) in variables.chain(mixed) {
            for metric in names(&expression).selectors.into_iter().map(|selector| selector.metric) {
                assert!(!is_own(&metric) || !dropped.is_match(&metric), "{}: {place}: {metric}", dashboard.file);
            }
        }
    }
    assert!(dropped.is_match("regionwatch_build_info"));
}
