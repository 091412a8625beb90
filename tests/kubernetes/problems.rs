//! What no schema tells: whether names, ports and labels meet, and whether containers have a right too many.

use serde_json::{Value, json};

/// A workload's pods.
pub(crate) struct Pod<'a> {
    pub(crate) name: &'a str,
    /// The workload's specification.
    workload: &'a Value,
    labels: &'a Value,
    pub(crate) spec: &'a Value,
}

impl Pod<'_> {
    pub(crate) fn containers(&self) -> impl Iterator<Item = &Value> {
        list(&self.spec["initContainers"]).iter().chain(list(&self.spec["containers"]))
    }

    /// Whether peers may ask any of them and always ask the same one.
    fn is_one(&self) -> bool {
        self.workload["replicas"] == 1 && self.workload["strategy"]["type"] == "Recreate"
    }
}

pub(crate) fn pods(resources: &[Value]) -> impl Iterator<Item = Pod<'_>> {
    resources.iter().filter(|one| one["spec"]["template"]["spec"].is_object()).map(|one| Pod {
        name: one["metadata"]["name"].as_str().unwrap(),
        workload: &one["spec"],
        labels: &one["spec"]["template"]["metadata"]["labels"],
        spec: &one["spec"]["template"]["spec"],
    })
}

pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub(crate) fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_default().to_owned()
}

/// Whether every label of the selector is among the labels; an empty selector selects nothing here.
fn selects(selector: &Value, labels: &Value) -> bool {
    selector.as_object().is_some_and(|wanted| !wanted.is_empty() && wanted.iter().all(|(key, v)| labels[key] == *v))
}

/// Everything that is wrong, a sentence each. `secrets` are made by hand.
pub(crate) fn problems(resources: &[Value], secrets: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for pod in pods(resources) {
        let mut told = Vec::new();
        volumes(&pod, resources, secrets, &mut told);
        if !selects(&pod.workload["selector"]["matchLabels"], pod.labels) {
            told.push("selects no pod of its own".to_owned());
        }
        for container in pod.containers() {
            restricted(&pod, container, &mut told);
            if container["name"] == "regionwatch" {
                hardened(&pod, container, &mut told);
            }
            probes(container, &mut told);
        }
        found.extend(told.into_iter().map(|problem| format!("{}: {problem}", pod.name)));
    }
    for one in resources {
        let mut told = Vec::new();
        match one["kind"].as_str() {
            Some("Service") => {
                service(one, resources, &mut told);
                callers(one, resources, &mut told);
            }
            Some("ServiceMonitor") => monitor(one, resources, &mut told),
            Some("NetworkPolicy") => {
                let selector = &one["spec"]["podSelector"]["matchLabels"];
                if !pods(resources).any(|pod| selects(selector, pod.labels)) {
                    told.push("selects no pod".to_owned());
                }
            }
            _ => {}
        }
        if one["kind"] != "Namespace" && one["metadata"]["namespace"] != resources[0]["metadata"]["name"] {
            told.push("is in another namespace".to_owned());
        }
        let name = format!("{} {}", text(one, "kind"), text(&one["metadata"], "name"));
        found.extend(told.into_iter().map(|problem| format!("{name}: {problem}")));
    }
    found
}

fn volumes(pod: &Pod<'_>, resources: &[Value], secrets: &[&str], told: &mut Vec<String>) {
    let volumes = list(&pod.spec["volumes"]);
    for source in volumes.iter().flat_map(|volume| list(&volume["projected"]["sources"]).iter().chain([volume])) {
        if let Some(name) = source["configMap"]["name"].as_str()
            && !resources.iter().any(|one| one["kind"] == "ConfigMap" && one["metadata"]["name"] == name)
        {
            told.push(format!("there is no ConfigMap {name}"));
        }
        let secret = source["secret"]["name"].as_str().or_else(|| source["secret"]["secretName"].as_str());
        if let Some(name) = secret.filter(|name| !secrets.contains(name)) {
            told.push(format!("there is no Secret {name}"));
        }
    }
    for name in list(&pod.spec["imagePullSecrets"]).iter().map(|one| text(one, "name")) {
        if !secrets.contains(&&*name) {
            told.push(format!("there is no Secret {name}"));
        }
    }
    // Root's files are opened by others only through a group that the kubelet gives them.
    if volumes.iter().any(|volume| volume["projected"]["defaultMode"] == 0o440)
        && pod.spec["securityContext"]["fsGroup"] != 65532
    {
        told.push("may not read its secret".to_owned());
    }
    for container in pod.containers() {
        for mount in list(&container["volumeMounts"]) {
            if !volumes.iter().any(|volume| volume["name"] == mount["name"]) {
                told.push(format!("there is no volume {}", mount["name"]));
            }
        }
    }
}

/// The restricted Pod Security Standard, and no token of the API server.
fn restricted(pod: &Pod<'_>, container: &Value, told: &mut Vec<String>) {
    let mut wants = |field: &str, value: Value, of_pod: bool| {
        let own = &container["securityContext"][field];
        let whole = &pod.spec["securityContext"][field];
        if *own != value && !(of_pod && own.is_null() && *whole == value) {
            told.push(format!("{} lacks {field}", container["name"]));
        }
    };
    wants("runAsNonRoot", json!(true), true);
    wants("seccompProfile", json!({"type": "RuntimeDefault"}), true);
    wants("allowPrivilegeEscalation", json!(false), false);
    wants("capabilities", json!({"drop": ["ALL"]}), false);
    wants("readOnlyRootFilesystem", json!(true), false);
    if pod.spec["automountServiceAccountToken"] != false {
        told.push("has a token of the API server".to_owned());
    }
}

/// What regionwatch itself needs, as a sidecar and alone.
fn hardened(pod: &Pod<'_>, container: &Value, told: &mut Vec<String>) {
    let mut demand = |met: bool, problem: &str| {
        if !met {
            told.push(problem.to_owned());
        }
    };
    let context = &container["securityContext"];
    demand(context["runAsUser"] == 65532 && context["runAsGroup"] == 65532, "regionwatch is not 65532:65532");
    let sysctl = json!({"name": "net.ipv4.ping_group_range", "value": "65532 65532"});
    demand(list(&pod.spec["securityContext"]["sysctls"]).contains(&sysctl), "may not ping");
    demand(pod.spec["hostNetwork"].is_null(), "shares the node's network, whose sysctls are not the pod's");
    let sidecar = list(&pod.spec["initContainers"]).contains(container);
    demand(!sidecar || container["restartPolicy"] == "Always", "regionwatch is no sidecar: it would hold the pod back");
    let gates = ["startupProbe", "readinessProbe"].iter().any(|probe| !container[probe].is_null());
    demand(!(sidecar && gates), "the sidecar's probes hold the application back");
    demand(sidecar || pod.is_one(), "a region has one vantage");
    let image = container["image"].as_str().unwrap_or_default();
    demand(image.split_once(':').is_some_and(|(_, tag)| tag != "latest"), "the image has no tag");
    let resources = &container["resources"];
    demand(resources["limits"]["cpu"].is_null(), "regionwatch is throttled");
    demand(
        !resources["limits"]["memory"].is_null() && !resources["requests"]["cpu"].is_null(),
        "no resources are asked",
    );
    let listens = list(&container["ports"]).iter().any(|port| port["containerPort"] == 9877);
    demand(listens, "the port 9877 is not named");
}

fn probes(container: &Value, told: &mut Vec<String>) {
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        let get = &container[probe]["httpGet"];
        if !get.is_null() && !list(&container["ports"]).iter().any(|port| port["name"] == get["port"]) {
            told.push(format!("the {probe} of {} asks a port that it does not have", container["name"]));
        }
        let known = ["/-/healthy", "/-/ready"].contains(&get["path"].as_str().unwrap_or("/-/healthy"));
        if container["name"] == "regionwatch" && !known {
            told.push(format!("the {probe} asks for {}", get["path"]));
        }
    }
}

fn service(one: &Value, resources: &[Value], told: &mut Vec<String>) {
    let selected: Vec<_> = pods(resources).filter(|pod| selects(&one["spec"]["selector"], pod.labels)).collect();
    if selected.is_empty() {
        told.push("selects no pod".to_owned());
    }
    for pod in &selected {
        for port in list(&one["spec"]["ports"]) {
            let target = &port["targetPort"];
            let open = |of: &Value| list(&of["ports"]).iter().any(|p| p["containerPort"] == *target);
            if !pod.containers().any(open) {
                told.push(format!("{} has no port {target}", pod.name));
            }
        }
        if one["spec"]["type"] == "LoadBalancer" && !pod.is_one() {
            told.push(format!("peers would read the votes of any pod of {}", pod.name));
        }
    }
}

/// Whoever the load balancer lets in, the NetworkPolicy must let in as well.
fn callers(one: &Value, resources: &[Value], told: &mut Vec<String>) {
    let policies = resources.iter().filter(|other| other["kind"] == "NetworkPolicy");
    let rules = policies.flat_map(|policy| list(&policy["spec"]["ingress"]));
    let admitted: Vec<_> = rules.flat_map(|rule| list(&rule["from"])).map(|from| &from["ipBlock"]["cidr"]).collect();
    for range in list(&one["spec"]["loadBalancerSourceRanges"]) {
        if !admitted.contains(&range) {
            told.push(format!("the NetworkPolicy keeps {range} out"));
        }
    }
}

fn seconds(endpoint: &Value, field: &str) -> f64 {
    let text = text(endpoint, field);
    text.strip_suffix('s').and_then(|number| number.parse().ok()).unwrap_or(f64::NAN)
}

fn monitor(one: &Value, resources: &[Value], told: &mut Vec<String>) {
    let selector = &one["spec"]["selector"]["matchLabels"];
    let services: Vec<_> = resources
        .iter()
        .filter(|other| other["kind"] == "Service" && selects(selector, &other["metadata"]["labels"]))
        .collect();
    if services.len() != 1 {
        told.push(format!("selects {} Services", services.len()));
    }
    let endpoints = list(&one["spec"]["endpoints"]);
    let mut jobs = Vec::new();
    for endpoint in endpoints {
        let has =
            |service: &&Value| list(&service["spec"]["ports"]).iter().any(|port| port["name"] == endpoint["port"]);
        if !services.iter().all(has) {
            told.push(format!("there is no port {}", endpoint["port"]));
        }
        if seconds(endpoint, "scrapeTimeout")
            .partial_cmp(&seconds(endpoint, "interval"))
            .is_none_or(|order| order.is_gt())
        {
            told.push("waits longer than its interval".to_owned());
        }
        let job = list(&endpoint["relabelings"]).iter().find(|rule| rule["targetLabel"] == "job");
        jobs.push(job.map(|rule| text(rule, "replacement")));
    }
    jobs.sort();
    jobs.dedup();
    if jobs.len() != endpoints.len() {
        told.push("two scrapes write the same series".to_owned());
    }
    if jobs.iter().flatten().any(|job| !job.contains("regionwatch")) {
        told.push("RegionwatchTargetDown does not look at its job".to_owned());
    }
}
