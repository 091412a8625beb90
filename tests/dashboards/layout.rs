//! The form of a dashboard: what Grafana needs to load it unchanged, and what keeps it readable.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::dashboard::{Dashboard, items, shipped, text};

/// How many columns Grafana has.
const COLUMNS: u64 = 24;

/// What is wrong with the form of a dashboard.
pub(crate) fn complaints(dashboard: &Dashboard) -> Vec<String> {
    let Dashboard { file, json } = dashboard;
    let mut wrong = Vec::new();
    let mut demand = |holds: bool, what: String| {
        if !holds {
            wrong.push(format!("{file}: {what}"));
        }
    };
    demand(text(json, "uid") == file, "the uid is not the name of the file".into());
    demand(file.len() <= 40, "the uid has more than 40 characters".into());
    demand(json.get("id").is_none_or(Value::is_null), "a numeric id belongs to one Grafana only".into());
    demand(json["schemaVersion"] == 39, "not the schema of Grafana 10".into());
    demand(json["timezone"] == "utc", "not in UTC".into());
    demand(json["graphTooltip"] == 1, "no shared crosshair".into());
    demand(items(json, "tags").iter().any(|tag| tag == "regionwatch"), "no tag, by which the links find it".into());
    demand(!text(json, "description").is_empty(), "no description".into());
    let link = &items(json, "links").first().cloned().unwrap_or_default();
    demand(link["includeVars"] == true && link["keepTime"] == true, "links lose the time or the variables".into());
    let own: Vec<_> = dashboard.variables().iter().map(|variable| text(variable, "name")).collect();
    // The links keep both: other dashboards ignore the database.
    let shared = ["datasource", "environment", "job", "instance", "vantage", "database"];
    let own: Vec<_> = own.iter().filter(|name| !shared.contains(name)).collect();
    demand(own.len() <= 1, format!("more than one variable of its own: {own:?}"));

    let mut ids = BTreeSet::new();
    let mut titles = BTreeSet::new();
    let mut taken = BTreeSet::new();
    for panel in items(json, "panels") {
        let title = text(panel, "title");
        demand(panel["id"].is_u64() && ids.insert(panel["id"].as_u64()), format!("{title}: its id is not unique"));
        demand(titles.insert(title), format!("{title}: the title is not unique"));
        let side = |name: &str| panel["gridPos"][name].as_u64().unwrap_or_default();
        let (x, y, w, h) = (side("x"), side("y"), side("w"), side("h"));
        demand(w > 0 && h > 0 && x + w <= COLUMNS, format!("{title}: not within {COLUMNS} columns"));
        let cells: BTreeSet<_> = (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))).collect();
        demand(taken.is_disjoint(&cells), format!("{title}: overlaps another panel"));
        taken.extend(cells);
        if panel["type"] == "row" {
            continue;
        }
        let description = text(panel, "description");
        demand(
            description.len() >= 40,
            format!("{title}: the description does not say what is normal, and what to do"),
        );
        // Grafana reads words under such a unit as dates.
        let dates = panel["type"] == "table" && text(&panel["fieldConfig"]["defaults"], "unit").starts_with("date");
        demand(!dates, format!("{title}: a unit of dates for the columns of words too"));
        let mut references = BTreeSet::new();
        for target in items(panel, "targets") {
            let reference = text(target, "refId");
            demand(
                !reference.is_empty() && references.insert(reference),
                format!("{title}: refId {reference:?} is not unique"),
            );
            demand(target["instant"].as_bool() != target["range"].as_bool(), format!("{title}: instant, or range?"));
        }
        for words in coloured(panel) {
            demand(!words.iter().any(String::is_empty), format!("{title}: a colour without a word"));
        }
    }
    let height = taken.iter().map(|(_, y)| y + 1).max().unwrap_or_default();
    for y in 0..height {
        let hole = (0..COLUMNS).find(|x| !taken.contains(&(*x, y)));
        demand(hole.is_none(), format!("a hole in line {y}, from column {hole:?} on"));
    }
    for annotation in items(&json["annotations"], "list").iter().filter(|annotation| annotation["builtIn"] != 1) {
        let same = annotation["target"]["expr"] == annotation["expr"] && annotation["expr"].is_string();
        demand(same, "an annotation says one thing to Grafana 10, and another to newer ones".into());
    }
    wrong
}

/// The words of each set of value mappings.
fn coloured(panel: &Value) -> Vec<Vec<String>> {
    let config = &panel["fieldConfig"];
    let overridden = items(config, "overrides").iter().flat_map(|over| items(over, "properties"));
    let overridden = overridden.filter(|property| property["id"] == "mappings").map(|property| &property["value"]);
    let sets = overridden.chain([&config["defaults"]["mappings"]]).filter_map(Value::as_array);
    let words = |set: &Vec<Value>| {
        let options = set.iter().filter_map(|mapping| mapping["options"].as_object());
        options.flat_map(|options| options.values().map(|option| text(option, "text").to_owned())).collect()
    };
    sets.map(words).collect()
}

#[test]
fn every_dashboard_has_the_form_that_grafana_loads_unchanged() {
    let wrong: Vec<_> = shipped().iter().flat_map(complaints).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn shared_parts_are_identical_in_all_dashboards() {
    let all = shipped();
    let (first, others) = all.split_first().unwrap();
    let variables = |dashboard: &Dashboard| dashboard.variables()[..5].to_vec();
    for other in others {
        assert_eq!(first.json["links"], other.json["links"], "{}", other.file);
        assert_eq!(variables(first), variables(other), "{}", other.file);
        assert_eq!(first.json["annotations"]["list"][0], other.json["annotations"]["list"][0], "{}", other.file);
    }
    // One state has one number, one word and one colour everywhere.
    let is_state = |set: &&Value| set[0]["options"]["1"]["text"] == "healthy";
    let states: BTreeSet<_> = all
        .iter()
        .flat_map(Dashboard::panels)
        .map(|panel| &panel["fieldConfig"]["defaults"]["mappings"])
        .filter(is_state)
        .map(Value::to_string)
        .collect();
    assert_eq!(states.len(), 1, "{states:#?}");
}

/// Where a click on a value of a panel leads.
fn links(panel: &Value) -> Vec<&str> {
    let config = &panel["fieldConfig"];
    let overridden = items(config, "overrides").iter().flat_map(|over| items(over, "properties"));
    let overridden = overridden.filter(|property| property["id"] == "links").flat_map(|links| items(links, "value"));
    overridden.chain(items(&config["defaults"], "links")).map(|link| text(link, "url")).collect()
}

#[test]
fn every_link_leads_to_a_dashboard_that_has_the_variables_in_it() {
    let all = shipped();
    let has = |dashboard: &Dashboard, name: &str| dashboard.variables().iter().any(|v| text(v, "name") == name);
    let mut found = BTreeSet::new();
    for dashboard in &all {
        for url in dashboard.panels().flat_map(links) {
            let (to, query) = url.strip_prefix("/d/").and_then(|rest| rest.split_once('?')).unwrap();
            let to = all.iter().find(|dashboard| dashboard.file == to).unwrap_or_else(|| panic!("{url}"));
            for part in query.split('&') {
                let kept = part.strip_prefix("${").and_then(|rest| rest.strip_suffix(":queryparam}"));
                let set = part.strip_prefix("var-").and_then(|rest| Some(rest.split_once('=')?.0));
                assert!(kept.is_none_or(|name| has(dashboard, name) && has(to, name)), "{}: {url}", dashboard.file);
                assert!(set.is_none_or(|name| has(to, name)), "{}: {url}", dashboard.file);
            }
            found.insert((&dashboard.file, &to.file));
        }
    }
    assert!(found.len() >= 3, "{found:?}");
}
