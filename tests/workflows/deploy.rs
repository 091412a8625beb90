//! `.github/deploy`, with a cluster that is a folder: `tests/workflows/kubectl` keeps it, and records each call.

use std::{env, fs, os::unix::fs::PermissionsExt as _, path::PathBuf, process::Command};

use testkit::{
    kubernetes::{EXAMPLE, build, need_tools},
    needs::require,
    root,
};

use crate::{
    script, text,
    verify::{Demo, NEEDS, PAGE, VERSION, demo, serve},
};

pub(crate) const NEW: &str =
    "registry.example.com/o/regionwatch@sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
pub(crate) const OLD: &str =
    "registry.example.com/o/regionwatch@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

const VANTAGE: &str = "deployment/regionwatch";
const SHOP: &str = "deployment/shop";

/// The vantage, an application with it as a sidecar, and what must not be taken for a third workload of it.
const MANIFEST: &str = "apiVersion: v1
data:
  notes: |
    kind: Deployment
        image: regionwatch/regionwatch:0.1.0
kind: ConfigMap
metadata:
  name: notes
---
apiVersion: apps/v1
kind: Deployment
metadata:
  labels:
    name: other
  name: regionwatch
spec:
  template:
    spec:
      containers:
      - args: [run]
        image: regionwatch/regionwatch:0.1.0
        name: regionwatch
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: shop
spec:
  template:
    spec:
      containers:
      - image: shop:1
        name: shop
      initContainers:
      - image: regionwatch/regionwatch:0.1.0
        name: regionwatch
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: unconcerned
spec:
  template:
    spec:
      containers:
      - image: other/regionwatch:0.1.0
        name: other
";

pub(crate) struct Cluster {
    folder: tempfile::TempDir,
    /// What a pod is, whose image is well.
    sidecar: Demo,
}

impl Cluster {
    /// With an image that both workloads run, at revision 4, or with nothing.
    pub(crate) fn new(running: Option<&str>) -> Self {
        let cluster = Self { folder: tempfile::tempdir().unwrap(), sidecar: demo(&[]) };
        fs::write(cluster.path("well"), cluster.sidecar.1.to_string()).unwrap();
        fs::create_dir_all(cluster.path("bin")).unwrap();
        fs::copy(root().join("tests/workflows/kubectl"), cluster.path("bin/kubectl")).unwrap();
        // What waits between two looks at a sidecar need not wait long here.
        let sleep = cluster.path("bin/sleep");
        fs::write(&sleep, "#!/bin/sh\nexec /bin/sleep 0.05\n").unwrap();
        fs::set_permissions(&sleep, fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir_all(cluster.path("overlay")).unwrap();
        fs::write(cluster.path("overlay/kustomization.yaml"), "resources: [manifest.yaml]\n").unwrap();
        fs::write(cluster.path("overlay/manifest.yaml"), MANIFEST).unwrap();
        for workload in [VANTAGE, SHOP] {
            if let Some(image) = running {
                cluster.runs(workload, 4, image);
            }
        }
        cluster
    }

    fn runs(&self, workload: &str, revision: u32, image: &str) {
        fs::create_dir_all(self.path(&format!("{workload}/history"))).unwrap();
        for (file, content) in
            [("image", image), ("revision", &revision.to_string()), (&format!("history/{revision}"), image)]
        {
            fs::write(self.path(&format!("{workload}/{file}")), format!("{content}\n")).unwrap();
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn faults(&self, faults: &[&str]) {
        fs::write(self.path("faults"), faults.join("\n")).unwrap();
        let refused = |line: &str| match line.strip_suffix(" 1") {
            Some(gauge) if gauge.starts_with("regionwatch_config_last_reload_successful{") => format!("{gauge} 0\n"),
            _ => format!("{line}\n"),
        };
        let sick: String = PAGE.lines().map(refused).collect();
        fs::write(self.path("sick"), serve("200 OK", sick).to_string()).unwrap();
    }

    fn command(&self) -> Command {
        let mut command = script("deploy");
        let path = format!("{}:{}", self.path("bin").display(), env::var("PATH").unwrap());
        command.env("PATH", path).env("CLUSTER", self.folder.path()).env("STATE", self.path("state"));
        command.env("NAMESPACE", "regionwatch").env("OVERLAY", self.path("overlay")).env("IMAGE", NEW);
        // What is well is seen to be well in time on a busy machine, too; what is not costs this time.
        let sick = fs::read_to_string(self.path("faults")).is_ok_and(|faults| faults.contains("sick"));
        command.env("VERSION", VERSION).env("VERIFY_WITHIN", if sick { "2" } else { "60" });
        command
    }

    pub(crate) fn deploy(&self) -> (Option<i32>, String) {
        let output = self.command().output().unwrap();
        (output.status.code(), text(&output))
    }

    fn back(&self) -> (Option<i32>, String) {
        let output = self.command().arg("back").output().unwrap();
        (output.status.code(), text(&output))
    }

    /// What a workload runs; empty where it is not there.
    fn image(&self, workload: &str) -> String {
        fs::read_to_string(self.path(&format!("{workload}/image"))).unwrap_or_default().trim().to_owned()
    }

    /// What both run, which is the same.
    fn images(&self) -> String {
        assert_eq!(self.image(VANTAGE), self.image(SHOP));
        self.image(VANTAGE)
    }

    fn revision(&self, workload: &str) -> String {
        fs::read_to_string(self.path(&format!("{workload}/revision"))).unwrap().trim().to_owned()
    }

    /// All that was asked of kubectl.
    pub(crate) fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.path("calls")).unwrap_or_default();
        calls.lines().map(|call| call.replace("--namespace regionwatch ", "")).collect()
    }

    /// The calls that change something.
    fn changes(&self) -> Vec<String> {
        let mut calls = self.calls();
        calls.retain(|call| ["apply", "rollout undo", "set image"].iter().any(|verb| call.starts_with(verb)));
        calls
    }
}

#[test]
fn a_healthy_image_stays_deployed() {
    require(NEEDS);
    for running in [Some(OLD), None, Some(NEW)] {
        let cluster = Cluster::new(running);
        let (status, said) = cluster.deploy();
        assert_eq!((status, cluster.images().as_str()), (Some(0), NEW), "{said}");
        assert_eq!(cluster.changes().len(), 1, "{:?}", cluster.changes());
    }
}

#[test]
fn a_failed_verification_restores_the_recorded_digest_and_fails_the_job() {
    require(NEEDS);
    let cluster = Cluster::new(Some(OLD));
    cluster.faults(&[&format!("sick {NEW}")]);
    let (status, said) = cluster.deploy();
    assert_eq!((status, cluster.images().as_str()), (Some(1), OLD), "{said}");
    assert!(said.contains("the configuration was refused") && said.contains("did not stay"), "{said}");
    let undone = [VANTAGE, SHOP].map(|workload| format!("rollout undo {workload} --to-revision 4"));
    assert_eq!(cluster.changes()[1..], undone, "{said}");
    // Nothing is left behind that a look at a pod has begun.
    for process in fs::read_to_string(cluster.path("forwarding")).unwrap().lines() {
        assert!(!PathBuf::from("/proc").join(process).exists(), "{process} still runs: {said}");
    }
}

#[test]
fn every_workload_with_the_image_is_awaited_and_rolled_back() {
    require(NEEDS);
    for stuck in [VANTAGE, SHOP] {
        let cluster = Cluster::new(Some(OLD));
        cluster.faults(&[&format!("stuck {stuck} {NEW}")]);
        let (status, said) = cluster.deploy();
        assert_eq!((status, cluster.images().as_str()), (Some(1), OLD), "{stuck}: {said}");
        // And each is waited for once more, with what it ran before.
        let calls = cluster.calls();
        let back = calls.iter().rposition(|call| call.starts_with("rollout undo")).unwrap();
        for workload in [VANTAGE, SHOP] {
            let waited = format!("rollout status {workload} --timeout 5m");
            assert!(calls[back..].contains(&waited), "{waited}: {calls:?}");
        }
        assert!(!calls.iter().any(|call| call.contains("unconcerned")), "{calls:?}");
    }
}

#[test]
fn vantage_and_application_are_found_in_the_kustomize_output_of_the_example() {
    require(NEEDS);
    need_tools();
    let cluster = Cluster::new(Some(OLD));
    let built = build(&root().join(EXAMPLE)).unwrap();
    fs::write(cluster.path("overlay/manifest.yaml"), built).unwrap();
    let (status, said) = cluster.deploy();
    assert_eq!((status, cluster.images().as_str()), (Some(0), NEW), "{said}");
    let mut waited = cluster.calls();
    waited.retain(|call| call.starts_with("rollout status"));
    assert_eq!(waited, [VANTAGE, SHOP].map(|workload| format!("rollout status {workload} --timeout 5m")), "{said}");
}

#[test]
fn a_new_workload_is_not_rolled_back_and_is_reported() {
    require(NEEDS);
    let cluster = Cluster::new(None);
    cluster.runs(VANTAGE, 4, OLD);
    cluster.faults(&[&format!("sick {NEW}")]);
    let (status, said) = cluster.deploy();
    assert_eq!((status, cluster.image(VANTAGE).as_str(), cluster.image(SHOP).as_str()), (Some(1), OLD, NEW), "{said}");
    assert!(said.contains("deployment/shop is new, so there is nothing to put back"), "{said}");
}

/// For example, a pod without permission to forward a port.
#[test]
fn an_unreachable_pod_is_reported_with_the_error_of_kubectl() {
    require(NEEDS);
    let cluster = Cluster::new(Some(OLD));
    fs::remove_file(cluster.path("well")).unwrap();
    let output = cluster.command().env("VERIFY_WITHIN", "1").output().unwrap();
    let said = text(&output);
    assert_eq!((output.status.code(), cluster.images().as_str()), (Some(1), OLD), "{said}");
    assert!(said.contains("kubectl does not forward to it: cat: "), "{said}");
}

#[test]
fn a_stuck_rollout_is_rolled_back() {
    require(NEEDS);
    let cluster = Cluster::new(Some(OLD));
    cluster.faults(&[&format!("stuck {NEW}")]);
    let (status, said) = cluster.deploy();
    assert_eq!((status, cluster.images().as_str()), (Some(1), OLD), "{said}");
}

#[test]
fn without_the_old_revision_the_recorded_image_is_restored() {
    require(NEEDS);
    let cluster = Cluster::new(Some(OLD));
    cluster.faults(&[&format!("sick {NEW}"), "undo"]);
    let (status, said) = cluster.deploy();
    assert_eq!((status, cluster.images().as_str()), (Some(1), OLD), "{said}");
    let mut set = cluster.changes();
    set.retain(|call| call.starts_with("set image"));
    assert_eq!(set, [VANTAGE, SHOP].map(|workload| format!("set image {workload} regionwatch={OLD}")));
}

#[test]
fn a_redeployed_image_is_never_rolled_back_to_an_older_one() {
    require(NEEDS);
    let cluster = Cluster::new(Some(NEW));
    cluster.faults(&[&format!("sick {NEW}")]);
    let (status, said) = cluster.deploy();
    assert_eq!((status, cluster.images().as_str()), (Some(1), NEW), "{said}");
    assert_eq!([VANTAGE, SHOP].map(|workload| cluster.revision(workload)), ["4", "4"], "{said}");
    assert!(said.contains("what is wrong is not the image"), "{said}");
}

#[test]
fn a_deploy_that_the_cluster_rejects_changes_nothing_and_fails() {
    require(NEEDS);
    let cluster = Cluster::new(Some(OLD));
    cluster.faults(&["apply"]);
    let (status, said) = cluster.deploy();
    assert_eq!((status, cluster.images().as_str()), (Some(1), OLD), "{said}");
    assert_eq!([VANTAGE, SHOP].map(|workload| cluster.revision(workload)), ["4", "4"], "{said}");
}

#[test]
fn a_failed_first_deploy_reports_that_there_is_nothing_to_restore() {
    require(NEEDS);
    let cluster = Cluster::new(None);
    cluster.faults(&[&format!("sick {NEW}")]);
    let (status, said) = cluster.deploy();
    assert!(status == Some(1) && said.contains("is new, so there is nothing to put back"), "{said}");
}

#[test]
fn a_stuck_rollback_fails_and_asks_for_manual_action() {
    require(NEEDS);
    let cluster = Cluster::new(Some(OLD));
    cluster.faults(&[&format!("stuck {NEW}"), &format!("stuck {OLD}")]);
    let (status, said) = cluster.deploy();
    assert!(status == Some(1) && said.contains("look at it now"), "{said}");
}

#[test]
fn a_cancelled_deploy_is_rolled_back_and_a_completed_one_is_kept() {
    require(NEEDS);
    let cluster = Cluster::new(Some(OLD));
    assert!(cluster.back().1.contains("nothing was begun"));
    // As a job leaves it that was cancelled between apply and verify.
    let before = [VANTAGE, SHOP].map(|workload| format!("{workload} 4 {OLD}\n")).concat();
    fs::write(cluster.path("state"), format!("begun\n{before}")).unwrap();
    for workload in [VANTAGE, SHOP] {
        cluster.runs(workload, 5, NEW);
    }
    let (status, said) = cluster.back();
    assert_eq!((status, cluster.images().as_str()), (Some(0), OLD), "{said}");

    let (status, said) = cluster.deploy();
    assert_eq!(status, Some(0), "{said}");
    let (status, said) = cluster.back();
    assert_eq!((status, cluster.images().as_str()), (Some(0), NEW), "{said}");
}

#[test]
fn invalid_inputs_are_rejected_before_anything_changes() {
    let refused: [(&str, &str, &str); 4] = [
        ("IMAGE", "registry.example.com/o/regionwatch:1.0.0", "a tag may change"),
        ("IMAGE", "", "must be NAME@sha256"),
        ("OVERLAY", "/nowhere", "has no kustomization.yaml"),
        (
            "IMAGE_NAME",
            "other",
            "has no workload with an image \"other\"; its images are: regionwatch/regionwatch:0.1.0",
        ),
    ];
    for (name, value, expected) in refused {
        let cluster = Cluster::new(Some(OLD));
        let output = cluster.command().env(name, value).output().unwrap();
        let said = text(&output);
        assert!(!output.status.success() && said.contains(expected), "{name}: {said}");
        assert_eq!((cluster.changes(), cluster.path("state").exists()), (Vec::new(), false), "{said}");
    }
}
