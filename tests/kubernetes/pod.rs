//! The program with the rights that the manifests give it, and no other, in a network of its own.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

use serde_json::Value;
use testkit::{
    binary,
    kubernetes::{example, need_tools, run},
    needs::{
        Need::{NetworkNamespaces, Root, Tool},
        require,
    },
};

use crate::{configuration::write_files, problems::pods};

/// What a kubelet does for a pod. Arguments: sysctl, user, group, program, the folder that is mounted, and the paths
/// that the probes ask for.
const SCRIPT: &str = r#"
set -eu
ip link set lo up
sysctl -qw "$1"
as="setpriv --reuid $2 --regid $3 --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs --pdeathsig KILL"
program=$4 folder=$5
shift 5
$as $program run --config $folder/regionwatch.yaml > /dev/null &
trap 'kill %1' EXIT
for path in "$@"; do
  for attempt in $(seq 100); do
    exec 3<> /dev/tcp/127.0.0.1/9877 && printf 'GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n' $path >&3 &&
      read -r _ status _ <&3 && [ "$status" = 200 ] && break
    sleep 0.1
  done 2> /dev/null
  echo "$path $status"
done
$as $program healthcheck
$as $program doctor || true
"#;

fn paths(container: &Value) -> Vec<String> {
    let probes = ["startupProbe", "readinessProbe", "livenessProbe"];
    let paths = probes.iter().filter_map(|probe| container[probe]["httpGet"]["path"].as_str());
    paths.map(str::to_owned).collect()
}

/// What the probes and `doctor` say in a pod of that workload, whose sysctl may be another one than it should be.
fn said_in(workload: &str, other_sysctl: Option<&str>) -> (Vec<String>, String) {
    let resources = example();
    let pod = pods(&resources).find(|pod| pod.name == workload).unwrap();
    let container = pod.containers().find(|container| container["name"] == "regionwatch").unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    write_files(workload, folder.path());
    let secret = folder.path().join("votes.key");
    if secret.exists() {
        // As the kubelet mounts it with this fsGroup and this mode.
        let group = pod.spec["securityContext"]["fsGroup"].as_u64().unwrap().try_into().unwrap();
        std::os::unix::fs::chown(&secret, Some(0), Some(group)).unwrap();
        let mode = pod.spec["volumes"][0]["projected"]["defaultMode"].as_u64().unwrap().try_into().unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(mode)).unwrap();
    }
    let program = folder.path().join("program");
    let built = binary();
    if fs::hard_link(built, &program).is_err() {
        fs::copy(built, &program).unwrap();
    }
    let sysctl = &pod.spec["securityContext"]["sysctls"][0];
    let value = other_sysctl.or_else(|| sysctl["value"].as_str()).unwrap();
    let sysctl = format!("{}={value}", sysctl["name"].as_str().unwrap());
    let id = |name: &str| container["securityContext"][name].as_u64().unwrap().to_string();
    let mut unshare = Command::new("unshare");
    unshare.args(["--net", "bash", "-c", SCRIPT, "pod", &sysctl, &id("runAsUser"), &id("runAsGroup")]);
    unshare.arg(&program).arg(folder.path()).args(paths(container));
    let said = run(&mut unshare, "").unwrap_or_else(|said| panic!("{workload}: {said}"));
    (paths(container), said)
}

const MAY_PING: &str = "icmp over IPv4     unprivileged";

#[test]
fn the_pod_permissions_suffice_to_be_ready_and_to_ping() {
    let tools = ["setpriv", "sysctl", "ip", "unshare"].map(Tool);
    need_tools();
    require(&[&[Root, NetworkNamespaces][..], &tools].concat());
    for workload in ["regionwatch", "shop"] {
        let (paths, said) = said_in(workload, None);
        assert!(!paths.is_empty());
        for path in paths {
            assert!(said.contains(&format!("{path} 200\n")), "{workload}: {said}");
        }
        assert!(said.contains("\nhealthy\n") && said.contains(MAY_PING), "{workload}: {said}");
    }
    let (_, said) = said_in("shop", Some("1 0"));
    assert!(said.contains("\nhealthy\n") && !said.contains(MAY_PING), "{said}");
}
