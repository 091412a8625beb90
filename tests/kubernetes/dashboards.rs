//! The component that brings the dashboards to the Grafana of a cluster.

use std::{collections::BTreeMap, fs};

use serde_json::Value;
use testkit::{
    kubernetes::{build, mistakes, need_tools, overlay, resources},
    root,
};

use crate::{problems::problems, references::BY_HAND};

const KUSTOMIZATION: &str = "
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: regionwatch
resources: [../example]
components: [../../components/grafana-dashboards]
";

/// The longest that all annotations of an object may be together: `kubectl apply` writes the whole object into one.
const ANNOTATIONS: usize = 262_144;

/// The files, by their names.
fn shipped() -> BTreeMap<String, String> {
    let files = fs::read_dir(root().join("dashboards")).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|ending| ending == "json"));
    files.map(|path| (path.file_name().unwrap().to_str().unwrap().into(), fs::read_to_string(path).unwrap())).collect()
}

fn of_dashboards(built: &[Value]) -> Vec<&Value> {
    built.iter().filter(|one| one["metadata"]["labels"]["grafana_dashboard"] == "1").collect()
}

#[test]
fn every_dashboard_is_in_a_config_map_that_grafana_finds_and_kubectl_can_apply() {
    need_tools();
    let (_copy, overlay) = overlay(KUSTOMIZATION);
    let built = resources(&build(&overlay).unwrap());
    for version in ["1.29", "1.37"] {
        mistakes(&built, version).unwrap_or_else(|said| panic!("{version}: {said}"));
    }
    assert_eq!(problems(&built, &BY_HAND), Vec::<String>::new());
    let mut held = BTreeMap::new();
    for map in of_dashboards(&built) {
        assert_eq!(map["kind"], "ConfigMap");
        assert_eq!(map["metadata"]["namespace"], "regionwatch");
        let data = map["data"].as_object().unwrap();
        assert_eq!(data.len(), 1, "one each, so that none grows too long");
        for (file, content) in data {
            let name = file.replace("regionwatch-", "regionwatch-dashboard-").replace(".json", "");
            assert_eq!(map["metadata"]["name"], *name, "the same one whatever it holds");
            held.insert(file.clone(), content.as_str().unwrap().to_owned());
        }
        // With room for what others annotate, and for dashboards to grow.
        assert!(map.to_string().len() < ANNOTATIONS / 2, "{}: {}", map["metadata"]["name"], map.to_string().len());
    }
    assert_eq!(held, shipped());
}

#[test]
fn the_dashboards_component_contains_only_the_dashboards() {
    need_tools();
    let built = resources(&build(&root().join("dashboards")).unwrap());
    assert_eq!(of_dashboards(&built).len(), shipped().len());
    assert_eq!(built.len(), shipped().len());
}
