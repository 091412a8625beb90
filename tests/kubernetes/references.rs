//! The example has no problem, and faults are found.

use serde_json::{Value, json};
use testkit::kubernetes::{example, need_tools};

use crate::problems::problems;

/// The page tells how to make it.
pub(crate) const BY_HAND: [&str; 3] = ["regionwatch-votes", "regionwatch-signing", "regionwatch-pull"];

#[test]
fn every_reference_of_the_example_resolves_and_no_container_has_excess_permissions() {
    need_tools();
    assert_eq!(problems(&example(), &BY_HAND), Vec::<String>::new());
}

/// Of which kind and name, where in it, which field, its new value, and what is told of it.
type Fault = ((&'static str, &'static str), &'static str, &'static str, Value, &'static str);

#[test]
fn every_seeded_reference_or_permission_fault_is_found() {
    need_tools();
    const VANTAGE: (&str, &str) = ("Deployment", "regionwatch");
    const SHOP: (&str, &str) = ("Deployment", "shop");
    const OWN: &str = "/spec/template/spec/containers/0";
    const SIDECAR: &str = "/spec/template/spec/initContainers/0";
    const POD: &str = "/spec/template/spec";
    let faults: [Fault; 34] = [
        (VANTAGE, "/spec", "replicas", json!(2), "a region has one vantage"),
        (VANTAGE, "/spec", "strategy", json!({}), "a region has one vantage"),
        (VANTAGE, "/spec/template/spec/volumes/0/projected/sources/0/configMap", "name", json!("x"), "no ConfigMap x"),
        (VANTAGE, "/spec/template/spec/volumes/0/projected/sources/1/secret", "name", json!("x"), "no Secret x"),
        (VANTAGE, "/spec/template/spec/securityContext", "fsGroup", json!(null), "may not read its secret"),
        (VANTAGE, "/spec/template/spec/securityContext/sysctls/0", "value", json!("1 0"), "may not ping"),
        (VANTAGE, "/spec/template/spec/containers/0/volumeMounts/0", "name", json!("x"), "no volume"),
        (VANTAGE, "/spec/template/spec/containers/0/readinessProbe/httpGet", "port", json!("x"), "does not have"),
        (VANTAGE, "/spec/template/spec/containers/0/livenessProbe/httpGet", "path", json!("/"), "asks for"),
        (VANTAGE, "/spec/template/metadata", "labels", json!({"a": "b"}), "selects no pod of its own"),
        (SHOP, POD, "imagePullSecrets", json!([{"name": "x"}]), "no Secret x"),
        (VANTAGE, POD, "hostNetwork", json!(true), "shares the node's network"),
        (VANTAGE, POD, "automountServiceAccountToken", json!(true), "token"),
        (VANTAGE, OWN, "image", json!("regionwatch/regionwatch"), "no tag"),
        (SHOP, SIDECAR, "restartPolicy", json!(null), "no sidecar"),
        (SHOP, SIDECAR, "readinessProbe", json!({"exec": {"command": ["x"]}}), "hold the application back"),
        (SHOP, SIDECAR, "ports", json!([]), "9877"),
        (SHOP, "/spec/template/spec/initContainers/0/securityContext", "runAsUser", json!(0), "65532"),
        (SHOP, "/spec/template/spec/initContainers/0/securityContext", "capabilities", json!({}), "capabilities"),
        (
            SHOP,
            "/spec/template/spec/initContainers/0/securityContext",
            "readOnlyRootFilesystem",
            json!(false),
            "readOnly",
        ),
        (
            SHOP,
            "/spec/template/spec/initContainers/0/securityContext",
            "allowPrivilegeEscalation",
            json!(null),
            "allowP",
        ),
        (SHOP, "/spec/template/spec/initContainers/0/securityContext", "seccompProfile", json!({}), "seccompProfile"),
        (SHOP, "/spec/template/spec/initContainers/0/securityContext", "runAsNonRoot", json!(false), "runAsNonRoot"),
        (SHOP, "/spec/template/spec/initContainers/0/resources/limits", "cpu", json!("100m"), "throttled"),
        (
            SHOP,
            "/spec/template/metadata/labels",
            "regionwatch/sidecar",
            json!("no"),
            "regionwatch-sidecar: selects no pod",
        ),
        (("Service", "regionwatch"), "/spec/ports/0", "targetPort", json!(9876), "no port 9876"),
        (
            ("Service", "regionwatch-votes"),
            "/spec",
            "selector",
            json!({"regionwatch/sidecar": "true"}),
            "any pod of shop",
        ),
        (("Service", "regionwatch"), "/metadata", "labels", json!({}), "selects 0 Services"),
        (("NetworkPolicy", "regionwatch"), "/spec/podSelector/matchLabels", "a", json!("b"), "selects no pod"),
        (("ServiceMonitor", "regionwatch"), "/spec/endpoints/0", "port", json!("http"), "no port \"http\""),
        (("ServiceMonitor", "regionwatch"), "/spec/endpoints/0", "relabelings", json!([]), "the same series"),
        (
            ("ServiceMonitor", "regionwatch"),
            "/spec/endpoints/0",
            "scrapeTimeout",
            json!("2s"),
            "longer than its interval",
        ),
        (("NetworkPolicy", "regionwatch"), "/spec", "ingress", json!([]), "keeps \"198.51.100.0/24\" out"),
        (("ServiceMonitor", "regionwatch"), "/metadata", "namespace", json!("x"), "another namespace"),
    ];
    for ((kind, name), place, field, value, expected) in faults {
        let mut resources = example();
        let resource = resources.iter_mut().find(|one| one["kind"] == kind && one["metadata"]["name"] == name).unwrap();
        resource.pointer_mut(place).unwrap_or_else(|| panic!("{name}{place}"))[field] = value;
        let found = problems(&resources, &BY_HAND);
        assert!(found.iter().any(|problem| problem.contains(expected)), "{name}{place} {field}: {found:?}");
    }
}
