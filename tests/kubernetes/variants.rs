//! The component on other workloads than the example's.

use std::fs;

use serde_json::Value;
use testkit::kubernetes::{build, mistakes, need_tools, overlay, resources};

const KUSTOMIZATION: &str = "
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [workloads.yaml]
components: [../../components/sidecar]
configMapGenerator: [{name: regionwatch-sidecar, literals: [regionwatch.yaml=none]}]
";

fn workload(kind: &str, label: bool) -> String {
    let service = if kind == "StatefulSet" { "serviceName: any" } else { "" };
    let labels = if label { "{regionwatch/sidecar: 'true'}" } else { "{}" };
    format!(
        "---
apiVersion: apps/v1
kind: {kind}
metadata: {{name: any-{label}, labels: {labels}}}
spec:
  {service}
  selector: {{matchLabels: {{app: any}}}}
  template:
    metadata: {{labels: {{app: any}}}}
    spec:
      securityContext: {{fsGroup: 7, sysctls: [{{name: kernel.shm_rmid_forced, value: '1'}}]}}
      initContainers: [{{name: migrate, image: any}}]
      containers: [{{name: any, image: any, volumeMounts: [{{name: data, mountPath: /data}}]}}]
      volumes: [{{name: data, emptyDir: {{}}}}]
"
    )
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect()
}

#[test]
fn the_sidecar_is_injected_into_every_kind_of_workload_as_the_first_container() {
    need_tools();
    let (_copy, overlay) = overlay(KUSTOMIZATION);
    for kind in ["Deployment", "StatefulSet", "DaemonSet"] {
        let workloads = workload(kind, true) + &workload(kind, false);
        fs::write(overlay.join("workloads.yaml"), workloads).unwrap();
        let built = resources(&build(&overlay).unwrap());
        mistakes(&built, "1.29").unwrap_or_else(|said| panic!("{kind}: {said}"));
        let pod = |name: &str| {
            let workload = built.iter().find(|one| one["kind"] == kind && one["metadata"]["name"] == name);
            &workload.unwrap()["spec"]["template"]["spec"]
        };
        let with = pod("any-true");
        assert_eq!(names(&with["initContainers"]), ["regionwatch", "migrate"], "{kind}: it starts first");
        assert_eq!(with["initContainers"][0]["restartPolicy"], "Always");
        assert_eq!(names(&with["volumes"]), ["regionwatch", "data"], "{kind}");
        assert_eq!(names(&with["containers"]), ["any"]);
        assert_eq!(with["securityContext"]["fsGroup"], 7, "{kind}: what was there stays");
        let sysctls = names(&with["securityContext"]["sysctls"]);
        assert_eq!(sysctls, ["net.ipv4.ping_group_range"], "{kind}: the page says that the list is replaced");
        assert_eq!(names(&pod("any-false")["initContainers"]), ["migrate"], "{kind}: nobody asked for it");
    }
}
