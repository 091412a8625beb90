//! The files by which Grafana finds the dashboards and Prometheus.

use crate::{dashboard::shipped, read};

#[test]
fn the_data_source_knows_the_interval_at_which_the_readme_scrapes() {
    let readme = read("README.md");
    let interval = readme.split("scrape_interval: ").nth(1).unwrap().lines().next().unwrap();
    let file = read("dashboards/provisioning/datasources.yaml");
    assert!(file.contains(&format!("      timeInterval: {interval}\n")), "{interval}");
    assert!(file.contains("    type: prometheus\n") && file.contains("    uid: regionwatch-prometheus\n"));
}

#[test]
fn provisioned_dashboards_stay_as_they_were_tested() {
    let file = read("dashboards/provisioning/dashboards.yaml");
    assert!(file.contains("    allowUiUpdates: false\n") && file.contains("    type: file\n"));
}

#[test]
fn the_page_about_dashboards_tells_of_each() {
    let page = read("docs/dashboards.md");
    for dashboard in shipped() {
        assert!(page.contains(&format!("| `{}` |", dashboard.file)), "{}", dashboard.file);
    }
}
