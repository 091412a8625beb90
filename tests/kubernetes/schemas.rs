//! What the API server would say.

use std::{fs, process::Command};

use serde_json::{Value, json};
use testkit::{
    kubernetes::{EXAMPLE, build, copy, example, is_operators, mistakes, need_tools, resources, run},
    needs::ignore,
    root,
};

/// The first with native sidecars by default, and the newest that there are schemas of.
const SUPPORTED: [&str; 2] = ["1.29", "1.37"];

#[test]
fn the_example_is_valid_in_the_oldest_and_the_newest_kubernetes() {
    need_tools();
    for version in SUPPORTED {
        mistakes(&example(), version).unwrap_or_else(|said| panic!("{version}: {said}"));
    }
    assert_eq!(example().iter().filter(|resource| is_operators(resource)).count(), 3);
}

#[test]
fn the_deployer_account_is_valid_and_bound_in_any_namespace() {
    need_tools();
    let copy = copy();
    let folder = copy.path().join("deploy/kubernetes/deployer");
    let file = folder.join("kustomization.yaml");
    let text = fs::read_to_string(&file).unwrap();
    for namespace in ["regionwatch", "elsewhere"] {
        fs::write(&file, text.replace("\nnamespace: regionwatch ", &format!("\nnamespace: {namespace} "))).unwrap();
        let mut built = resources(&build(&folder).unwrap());
        for version in SUPPORTED {
            mistakes(&built, version).unwrap_or_else(|said| panic!("{version}: {said}"));
        }
        assert!(built.iter().all(|one| one["metadata"]["namespace"] == namespace), "{built:#?}");
        let binding = built.iter_mut().find(|one| one["kind"] == "RoleBinding").unwrap();
        assert_eq!(binding["subjects"][0]["namespace"], namespace, "{binding:#}");
        binding["subjects"][0]["user"] = json!("x");
        assert!(mistakes(&built, SUPPORTED[0]).unwrap_err().contains("user"));
    }
}

/// Without this the next test would prove nothing: the schemas have native sidecars since 1.28.
#[test]
fn the_1_27_schema_rejects_a_native_sidecar() {
    need_tools();
    let said = mistakes(&example(), "1.27").unwrap_err();
    assert!(said.contains("restartPolicy"), "{said}");
}

#[test]
fn the_schemas_find_a_misspelt_field_a_wrong_type_and_a_wrong_kind() {
    need_tools();
    let pod = "/spec/template/spec";
    let faults: [(&str, &str, &str, Value); 10] = [
        ("Deployment", pod, "initContainer", json!([])),
        ("Deployment", "/spec/template/spec/securityContext", "runAsNonroot", json!(true)),
        ("Deployment", "/spec/template/spec/securityContext", "sysctls", json!({"a": "b"})),
        ("Deployment", "/spec", "replicas", json!("1")),
        ("Service", "/spec/ports/0", "port", json!("9877")),
        ("NetworkPolicy", "/spec/egress/0", "from", json!([])),
        ("ServiceMonitor", "/spec/endpoints/0", "intervall", json!("1s")),
        ("ServiceMonitor", "/spec/endpoints/0", "interval", json!("1 s")),
        ("PrometheusRule", "/spec/groups/0/rules/0", "annotation", json!({"a": "b"})),
        ("PrometheusRule", "/spec/groups/0", "rules", json!("none")),
    ];
    for ((kind, place, field, value), version) in faults.into_iter().zip(SUPPORTED.into_iter().cycle()) {
        let mut resources = example();
        let resource = resources.iter_mut().find(|resource| resource["kind"] == kind).unwrap();
        resource.pointer_mut(place).unwrap()[field] = value;
        let said = mistakes(&resources, version);
        assert!(said.as_ref().is_err_and(|said| said.contains(field)), "{kind} {field}: {said:?}");
    }
    let mut resources = example();
    resources[0]["kind"] = json!("Namespaces");
    assert!(mistakes(&resources, SUPPORTED[0]).is_err());
}

/// Users have their own kubectl, in a version that no test pins; so its absence is reported and is no error.
#[test]
fn kubectl_builds_the_same_manifests_as_the_pinned_kustomize() {
    need_tools();
    let overlay = root().join(EXAMPLE);
    let asked = Command::new("kubectl").args(["version", "--client"]).output();
    let version = asked.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    if !version.contains("Kustomize Version: v5.") {
        ignore("kubectl with kustomize 5");
    }
    let by_kubectl = run(Command::new("kubectl").arg("kustomize").arg(&overlay), "");
    assert_eq!(by_kubectl, build(&overlay));
}
