//! `deploy/kubernetes/deployer` has the rights that `.github/deploy` needs, and no other.

use std::collections::BTreeSet;

use serde_json::Value;
use testkit::{
    kubernetes::{build, example, need_tools, resources},
    needs::require,
    root,
};

use crate::{
    deploy::{Cluster, NEW, OLD},
    verify::NEEDS,
};

/// Verbs on a resource, each as `get apps/deployments`.
fn rights(verbs: &[&str], group: &str, resource: &str) -> Vec<String> {
    verbs.iter().map(|verb| format!("{verb} {group}/{resource}")).collect()
}

/// What the API server is asked for by a call of kubectl about a workload of that kind. Written down by a server that
/// kubectl 1.32 was pointed at; both protocols of port-forward are there, the one that it tries first and the older one.
fn asked(call: &str, workload: &str) -> Vec<String> {
    let of_it = |verbs: &[&str]| rights(verbs, "apps", workload);
    let history =
        rights(&["list"], "apps", if workload == "deployments" { "replicasets" } else { "controllerrevisions" });
    match call.split_once(' ').unwrap() {
        ("kustomize", _) => Vec::new(),
        ("get", rest) if rest.starts_with("pods --selector") => rights(&["list"], "", "pods"),
        ("get", _) => of_it(&["get"]),
        ("rollout", rest) if rest.starts_with("status") => of_it(&["get", "list", "watch"]),
        ("rollout", rest) if rest.starts_with("history") => [of_it(&["get"]), history].concat(),
        ("rollout", rest) if rest.starts_with("undo") => [of_it(&["get", "patch"]), history].concat(),
        ("set", _) => of_it(&["get", "patch"]),
        ("port-forward", _) => {
            [rights(&["get"], "", "pods"), rights(&["get", "create"], "", "pods/portforward")].concat()
        }
        ("apply", _) => {
            let all = example();
            [of_it(&["get", "create", "patch"]), all.iter().flat_map(applied).collect()].concat()
        }
        _ => panic!("what does kubectl ask for where it is called so: {call}"),
    }
}

/// What the API server is asked for where a resource is applied. The namespace is there before its account is.
fn applied(resource: &Value) -> Vec<String> {
    let kind = resource["kind"].as_str().unwrap().to_lowercase();
    let plural = kind.strip_suffix('y').map_or_else(|| format!("{kind}s"), |stem| format!("{stem}ies"));
    let group = resource["apiVersion"].as_str().unwrap().rsplit_once('/').map_or("", |(group, _)| group);
    rights(if kind == "namespace" { &["get"] } else { &["get", "create", "patch"] }, group, &plural)
}

/// What the rules of a role allow.
fn allowed(role: &Value) -> BTreeSet<String> {
    let list = |rule: &Value, field: &str| -> Vec<String> {
        rule[field].as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect()
    };
    let mut found = BTreeSet::new();
    for rule in role["rules"].as_array().unwrap() {
        let verbs = list(rule, "verbs");
        for group in list(rule, "apiGroups") {
            for resource in list(rule, "resources") {
                found.extend(rights(&verbs.iter().map(String::as_str).collect::<Vec<_>>(), &group, &resource));
            }
        }
    }
    found
}

#[test]
fn the_deployer_has_exactly_the_permissions_that_the_script_needs() {
    need_tools();
    require(NEEDS);
    let mut calls = BTreeSet::new();
    let (sick, stuck) = (format!("sick {NEW}"), format!("stuck {NEW}"));
    for faults in [vec![], vec![sick.as_str()], vec![stuck.as_str(), "undo"]] {
        let cluster = Cluster::new(Some(OLD));
        cluster.faults(&faults);
        cluster.deploy();
        calls.extend(cluster.calls());
    }
    for expected in ["apply", "rollout undo", "rollout history", "set image", "port-forward"] {
        assert!(calls.iter().any(|call| call.starts_with(expected)), "{expected}: {calls:?}");
    }
    // All that can be rolled out and undone.
    let workloads = ["deployments", "statefulsets", "daemonsets"];
    let needed: BTreeSet<_> =
        calls.iter().flat_map(|call| workloads.iter().flat_map(|workload| asked(call, workload))).collect();
    let deployer = resources(&build(&root().join("deploy/kubernetes/deployer")).unwrap());
    let role = deployer.iter().find(|one| one["kind"] == "Role").unwrap();
    assert_eq!(allowed(role), needed);
}
