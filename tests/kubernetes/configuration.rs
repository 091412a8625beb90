//! What the ConfigMaps hold, told by the program itself.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use serde_json::Value;
use testkit::{
    binary,
    kubernetes::{example, need_tools, run},
    root,
};

use crate::problems::{list, pods, text};

/// Writes what is mounted into the regionwatch of that workload, with a key of our own.
pub(crate) fn write_files(workload: &str, folder: &Path) {
    let resources = example();
    let pod = pods(&resources).find(|pod| pod.name == workload).unwrap();
    let volumes = pod.spec["volumes"].as_array().unwrap();
    let volume = volumes.iter().find(|volume| volume["name"] == "regionwatch").unwrap();
    let projected = volume["projected"]["sources"].as_array();
    let name = projected.into_iter().flatten().chain([volume]).find_map(|source| source["configMap"]["name"].as_str());
    let map = resources.iter().find(|one| one["kind"] == "ConfigMap" && one["metadata"]["name"] == name.unwrap());
    for (file, content) in map.unwrap()["data"].as_object().unwrap() {
        fs::write(folder.join(file), content.as_str().unwrap()).unwrap();
    }
    if projected.is_some() {
        fs::write(folder.join("votes.key"), "0123456789abcdef0123456789abcdef\n").unwrap();
    }
}

/// The effective configuration of the regionwatch of that workload.
fn effective(workload: &str) -> Result<String, String> {
    let folder = tempfile::tempdir().unwrap();
    write_files(workload, folder.path());
    let mut check = Command::new(binary());
    check.env_clear().args(["check", "--print", "--config"]).arg(folder.path().join("regionwatch.yaml"));
    run(&mut check, "")
}

#[test]
fn the_program_accepts_the_configuration_of_the_vantage_and_it_can_decide() {
    need_tools();
    let config = effective("regionwatch").unwrap();
    assert!(config.contains("votes.key") && config.contains(":9093"), "{config}");
    let peers = config.matches("- region: ").count();
    assert!(peers >= 2 && config.matches("- kind: sidecar\n").count() == peers, "{config}");
}

/// The Secret of docs/kubernetes.md, and the lines of the example that ask for it.
#[test]
fn a_vantage_with_the_secret_of_a_signing_key_signs_orders_and_starts_without_it() {
    need_tools();
    let resources = example();
    let pod = pods(&resources).find(|pod| pod.name == "regionwatch").unwrap();
    let sources = &list(&pod.spec["volumes"])[0]["projected"]["sources"];
    let secret = list(sources).iter().find(|source| source["secret"]["name"] == "regionwatch-signing").unwrap();
    assert_eq!(secret["secret"]["optional"], true);
    let page = fs::read_to_string(root().join("docs/kubernetes.md")).unwrap();
    assert!(page.contains("create secret generic regionwatch-signing --from-file=signing.key\n"));

    let folder = tempfile::tempdir().unwrap();
    write_files("regionwatch", folder.path());
    let keygen = |file: &str| run(Command::new(binary()).arg("keygen").arg(folder.path().join(file)), "").unwrap();
    let own = keygen("signing.key");
    let place = folder.path().join("regionwatch.yaml");
    let mut text = fs::read_to_string(&place).unwrap().replace("# signing: ", "signing: ");
    for peer in ["x.key", "y.key"] {
        let key = keygen(peer);
        text = text.replacen("# public_keys: [\"ed25519:...\"]", &format!("public_keys: [\"{}\"]", key.trim()), 1);
    }
    fs::write(&place, &text).unwrap();
    let check = || run(Command::new(binary()).env_clear().args(["check", "--print", "--config"]).arg(&place), "");
    let printed = check().unwrap();
    assert!(own.starts_with("ed25519:") && printed.contains("signing.key") && !printed.contains("..."), "{printed}");
    assert_eq!(printed.matches("ed25519:").count(), 2, "{printed}");
    fs::remove_file(folder.path().join("signing.key")).unwrap();
    assert!(check().unwrap_err().contains("signing.key"), "a configuration that asks for the key needs it");
}

/// Whether the NetworkPolicy lets the vantage out to a port of a host. Names are let out by rules without addresses only.
fn lets_out(policy: &Value, host: &str, port: u64) -> bool {
    list(&policy["spec"]["egress"]).iter().any(|rule| {
        let at = |one: &Value| one["protocol"] == "TCP" && one["port"] == port;
        let to = |one: &Value| one["ipBlock"]["cidr"] == format!("{host}/32");
        (rule["ports"].is_null() || list(&rule["ports"]).iter().any(at))
            && (rule["to"].is_null() || list(&rule["to"]).iter().any(to))
    })
}

#[test]
fn the_vantage_may_reach_its_anchors_and_every_alertmanager() {
    need_tools();
    let config = effective("regionwatch").unwrap();
    let lists = regex_lite::Regex::new(r"(?m)^(?:anchors|alertmanagers): \[(.*)\]$").unwrap();
    let entries: Vec<_> =
        lists.captures_iter(&config).flat_map(|found| found.extract::<1>().1[0].split(", ")).collect();
    let address = regex_lite::Regex::new(r"^(?:tcp|https?)://([^:/]+):([0-9]+)/?$").unwrap();
    let reached: Vec<(&str, u64)> = entries
        .iter()
        .map(|entry| address.captures(entry).unwrap().extract().1)
        .map(|[host, port]| (host, port.parse().unwrap()))
        .collect();
    assert_eq!(reached.len(), 4, "{config}");
    let resources = example();
    let mut policy = resources.into_iter().find(|one| one["kind"] == "NetworkPolicy").unwrap();
    let kept_in = |policy: &Value| reached.iter().filter(|(host, port)| !lets_out(policy, host, *port)).count();
    assert_eq!(kept_in(&policy), 0, "{reached:?}: {policy:#}");
    let rules = policy["spec"]["egress"].as_array_mut().unwrap();
    rules.retain(|rule| !list(&rule["ports"]).iter().any(|one| one["port"] == 443));
    assert_eq!(kept_in(&policy), 2, "the anchors, without the rule for them");
    assert!(config.contains("external_url: "), "alerts lead nowhere: {config}");
}

#[test]
fn the_program_accepts_the_configuration_of_the_sidecars_and_they_only_measure() {
    need_tools();
    let config = effective("shop").unwrap();
    for word in ["votes", "9093", "kind: sidecar"] {
        assert!(!config.contains(word), "{word}: {config}");
    }
}

fn pattern_of_what_is_dropped() -> String {
    let monitors = example().into_iter().filter(|one| one["kind"] == "ServiceMonitor");
    let dropped: Vec<_> = monitors
        .flat_map(|one| one["spec"]["endpoints"].as_array().unwrap().clone())
        .filter_map(|endpoint| Some(text(endpoint["metricRelabelings"].get(0)?, "regex")))
        .collect();
    assert_eq!(dropped.len(), 1, "{dropped:?}");
    dropped[0].clone()
}

/// The families of docs/metrics.md, which another test compares with the code.
#[test]
fn prometheus_keeps_the_measurements_of_sidecars_and_drops_their_decisions() {
    need_tools();
    let dropped = regex_lite::Regex::new(&format!("^(?:{})$", pattern_of_what_is_dropped())).unwrap();
    let page = fs::read_to_string(root().join("docs/metrics.md")).unwrap();
    let families = page.lines().filter_map(|line| line.strip_prefix("| `regionwatch_")?.split('`').next());
    let kept: BTreeSet<_> = families.filter(|family| !dropped.is_match(&format!("regionwatch_{family}"))).collect();
    let expected = "clock_steps_total config_last_reload_success_timestamp_seconds config_last_reload_successful \
        database_engine_lag_seconds database_lost_tokens database_probes_total database_read_duration_seconds database_replication_lag_seconds \
        database_state database_writable database_write_duration_seconds \
        log_lines_dropped_total peer_distance_meters peer_failure_ratio peer_jitter_seconds peer_latency_seconds peer_light_rtt_seconds peer_loss_ratio \
        probe_dns_question_info probe_duplicates_total probe_duration_seconds probe_http_status_code probe_http_version probe_last_success_timestamp_seconds probe_late_total \
        probe_phase_duration_seconds probe_reply_hop_limit probe_slots_missed_total probe_start_delay_seconds \
        probe_success probes_total tcp_syn_retransmits_total timestamp_source tls_certificate_expiry_timestamp_seconds \
        tls_certificate_info tls_certificate_issuers_expiry_timestamp_seconds \
        tls_certificate_not_before_timestamp_seconds";
    let expected: BTreeSet<_> = expected.split_whitespace().collect();
    assert_eq!(kept, expected, "a family that is new here is either measured or decided: sort it in");
}

#[test]
fn no_manifest_contains_a_key() {
    need_tools();
    let kinds: Vec<Value> = example().iter().map(|one| one["kind"].clone()).collect();
    assert!(!kinds.contains(&"Secret".into()), "{kinds:?}");
}
