//! The real parser of Prometheus.

use std::process::Command;

use serde_json::json;
use testkit::needs::{Need::Tool, require};

use crate::dashboard::{Dashboard, filled_in, shipped};

/// What the parser says of all expressions: nothing where it understands them.
pub(crate) fn complaints(dashboards: &[Dashboard]) -> String {
    let variables = [
        ("job", "a"),
        ("instance", "b|c"),
        ("environment", ".*"),
        ("vantage", "e"),
        ("peer_region", "d"),
        ("peer", "d|f"),
        ("database", "g"),
    ];
    let queries: Vec<_> = dashboards.iter().flat_map(Dashboard::queries).collect();
    assert!(queries.len() > 60, "{}", queries.len());
    let rule = |(number, query): (usize, _)| {
        let crate::dashboard::Query { expression, .. } = query;
        json!({"record": format!("query:{number}"), "expr": filled_in(expression, &variables), "labels": {"place": query.place()}})
    };
    let rules: Vec<_> = queries.into_iter().enumerate().map(rule).collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    // JSON is YAML.
    std::fs::write(file.path(), json!({"groups": [{"name": "queries", "rules": rules}]}).to_string()).unwrap();
    let output = Command::new("promtool").args(["check", "rules"]).arg(file.path()).output().unwrap();
    if output.status.success() {
        return String::new();
    }
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn promtool_parses_every_expression() {
    require(&[Tool("promtool")]);
    let said = complaints(&shipped());
    assert!(said.is_empty(), "{said}");
}
