//! The dashboards against the types of Grafana itself, `@grafana/schema`, by the compiler of TypeScript.

use std::{
    fs,
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use testkit::needs::{
    Need::{Other, Tool},
    installed, program, require,
};

use crate::{
    dashboard::{Dashboard, shipped},
    path,
};

fn need_tools() {
    let there =
        ["typescript", "@grafana/schema"].iter().all(|name| installed().join("node_modules").join(name).is_dir());
    require(&[Tool("node"), Other("typescript and @grafana/schema, which tests/run installs", there)]);
}

/// What the compiler says of each dashboard, in order.
fn complaints(dashboards: &[Dashboard]) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let modules = installed().join("node_modules");
    fs::copy(path("tests/dashboards/grafana.ts"), folder.path().join("grafana.ts")).unwrap();
    let names: Vec<_> = (0..dashboards.len()).map(|at| format!("dashboard-{at:03}.ts")).collect();
    for (name, dashboard) in names.iter().zip(dashboards) {
        let head = "import type { Dashboard } from \"./grafana\";\nexport const dashboard: Dashboard = ";
        fs::write(folder.path().join(name), format!("{head}{:#};\n", dashboard.json)).unwrap();
    }
    let options = json!({
        "compilerOptions": {
            "strict": true, "noEmit": true, "skipLibCheck": true, "types": [], "lib": ["es2022"],
            "module": "esnext", "moduleResolution": "bundler",
            "paths": {
                "@grafana/schema": [modules.join("@grafana/schema")],
                "@grafana/schema/*": [modules.join("@grafana/schema/*")],
            },
        },
        "files": names,
    });
    fs::write(folder.path().join("tsconfig.json"), options.to_string()).unwrap();
    let compiler = modules.join("typescript/lib/tsc.js");
    let output = Command::new(program("node").unwrap())
        .args([&*compiler.to_string_lossy(), "--pretty", "false", "--project", "."])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let of = |name: &String| said.lines().filter(|line| line.starts_with(&**name)).collect::<Vec<_>>().join("\n");
    let all: Vec<_> = names.iter().map(of).collect();
    assert_eq!(output.status.success(), all.iter().all(String::is_empty), "{said}");
    all
}

#[test]
fn grafanas_own_types_know_every_member_of_every_dashboard_and_take_its_value() {
    need_tools();
    let told = complaints(&shipped());
    assert!(told.iter().all(String::is_empty), "{}", told.join("\n"));
}

#[test]
fn what_grafana_does_not_know_is_found() {
    need_tools();
    let faulty = |title: &str, fault: fn(&mut Value)| {
        let find = |dashboard: &Dashboard| dashboard.panels().any(|panel| panel["title"] == title);
        let mut dashboard = shipped().into_iter().find(find).unwrap();
        let panels = dashboard.json["panels"].as_array_mut().unwrap();
        fault(panels.iter_mut().find(|panel| panel["title"] == title).unwrap());
        dashboard
    };
    let whole = |fault: fn(&mut Value)| {
        let mut dashboard = shipped().remove(0);
        fault(&mut dashboard.json);
        dashboard
    };
    let (graph, matrix, number) = ("Failure share", "State of each pair", "Regions down");
    let faults = [
        ("\"lines\"", faulty(graph, |panel| panel["fieldConfig"]["defaults"]["custom"]["drawStyle"] = "lines".into())),
        ("'string'", faulty(graph, |panel| panel["options"]["legend"]["showLegend"] = "yes".into())),
        ("maxPoints", faulty(graph, |panel| panel["maxPoints"] = 300.into())),
        ("legend", faulty(matrix, |panel| panel["options"]["legend"] = json!({}))),
        ("colourMode", faulty(number, |panel| panel["options"]["colourMode"] = "value".into())),
        ("'number'", faulty(number, |panel| panel["fieldConfig"]["defaults"]["unit"] = 1.into())),
        ("\"stats\"", faulty(number, |panel| panel["type"] = "stats".into())),
        (
            "custom.widht",
            faulty(matrix, |panel| {
                let wrong = json!({"matcher": {"id": "byName", "options": "vantage"},
                    "properties": [{"id": "custom.widht", "value": 100}]});
                panel["fieldConfig"]["overrides"].as_array_mut().unwrap().push(wrong);
            }),
        ),
        ("refreshes", whole(|json| json["refreshes"] = "10s".into())),
        ("'9'", whole(|json| json["graphTooltip"] = 9.into())),
        ("\"queries\"", whole(|json| json["templating"]["list"][1]["type"] = "queries".into())),
        ("steps", whole(|json| json["annotations"]["list"][1]["steps"] = "1m".into())),
    ];
    let (expected, dashboards): (Vec<_>, Vec<_>) = faults.into_iter().unzip();
    for (expected, told) in expected.iter().zip(complaints(&dashboards)) {
        assert!(told.contains(expected), "{expected}: {told}");
    }
}
