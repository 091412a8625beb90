//! A dashboard as its file says it.

use std::fs;

use serde_json::Value;

use crate::{path, read};

/// A dashboard, and the name of its file without the ending.
#[derive(Debug, Clone)]
pub(crate) struct Dashboard {
    pub(crate) file: String,
    pub(crate) json: Value,
}

/// One query, of a panel or of an annotation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Query<'a> {
    pub(crate) dashboard: &'a str,
    pub(crate) panel: &'a str,
    pub(crate) reference: &'a str,
    pub(crate) expression: &'a str,
    pub(crate) legend: &'a str,
    pub(crate) instant: bool,
}

impl Query<'_> {
    /// Where it stands.
    pub(crate) fn place(&self) -> String {
        format!("{}: {}: {}", self.dashboard, self.panel, self.reference)
    }
}

/// The text of a member, empty where there is none.
pub(crate) fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member].as_str().unwrap_or_default()
}

/// The items of a member, none where there are none.
pub(crate) fn items<'a>(value: &'a Value, member: &str) -> &'a [Value] {
    value[member].as_array().map_or(&[], Vec::as_slice)
}

impl Dashboard {
    pub(crate) fn title(&self) -> &str {
        text(&self.json, "title")
    }

    /// The panels that show something: all but rows.
    pub(crate) fn panels(&self) -> impl Iterator<Item = &Value> {
        items(&self.json, "panels").iter().filter(|panel| text(panel, "type") != "row")
    }

    /// A panel by its title.
    pub(crate) fn panel(&self, title: &str) -> &Value {
        self.panels().find(|panel| text(panel, "title") == title).unwrap_or_else(|| panic!("{}: {title}?", self.file))
    }

    pub(crate) fn variables(&self) -> &[Value] {
        items(&self.json["templating"], "list")
    }

    /// The queries of a panel.
    pub(crate) fn queries_of<'a>(&'a self, panel: &'a Value) -> impl Iterator<Item = Query<'a>> {
        items(panel, "targets").iter().map(|target| Query {
            dashboard: &self.file,
            panel: text(panel, "title"),
            reference: text(target, "refId"),
            expression: text(target, "expr"),
            legend: text(target, "legendFormat"),
            instant: target["instant"] == true,
        })
    }

    /// All queries: of the panels and of the annotations.
    pub(crate) fn queries(&self) -> Vec<Query<'_>> {
        let annotations =
            items(&self.json["annotations"], "list").iter().filter(|annotation| annotation["expr"] != Value::Null);
        let annotations = annotations.map(|annotation| Query {
            dashboard: &self.file,
            panel: text(annotation, "name"),
            reference: "annotation",
            expression: text(annotation, "expr"),
            legend: text(annotation, "titleFormat"),
            instant: false,
        });
        self.panels().flat_map(|panel| self.queries_of(panel)).chain(annotations).collect()
    }
}

/// All dashboards that are shipped.
pub(crate) fn shipped() -> Vec<Dashboard> {
    let folder = fs::read_dir(path("dashboards")).unwrap();
    let names = folder.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter_map(|name| Some(name.strip_suffix(".json")?.to_owned())).collect();
    names.sort();
    assert_eq!(
        names,
        [
            "regionwatch-databases",
            "regionwatch-failover",
            "regionwatch-overview",
            "regionwatch-pair",
            "regionwatch-sidecar"
        ],
        "docs/dashboards.md tells of these"
    );
    let load = |file: String| {
        let json = serde_json::from_str(&read(&format!("dashboards/{file}.json")));
        Dashboard { json: json.unwrap_or_else(|error| panic!("{file}: {error}")), file }
    };
    names.into_iter().map(load).collect()
}

/// An expression with Grafana's variables replaced. Longer names first: one is the beginning of another.
pub(crate) fn filled_in(expression: &str, variables: &[(&str, &str)]) -> String {
    let of_grafana = [("__rate_interval", "10s"), ("__interval", "1s"), ("__range", "1m")];
    let mut names: Vec<_> = variables.iter().chain(&of_grafana).collect();
    names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    names.iter().fold(expression.to_owned(), |text, (name, value)| text.replace(&format!("${name}"), value))
}

#[test]
fn variables_are_replaced() {
    let text = r#"sum(rate(x{job=~"$job", p=~"$peer_region"}[$__rate_interval]))"#;
    let expected = r#"sum(rate(x{job=~"a|b", p=~"c"}[10s]))"#;
    assert_eq!(filled_in(text, &[("job", "a|b"), ("peer_region", "c")]), expected);
}
