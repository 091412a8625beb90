//! `.github/deploy`, with a cluster that is a folder: `tests/workflows/kubectl` keeps it, and records each call.

use std::{env, fs, path::PathBuf, process::Command};

use crate::{root, script, text};

const NEW: &str =
    "registry.example.com/o/regionwatch@sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
const OLD: &str =
    "registry.example.com/o/regionwatch@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

struct Cluster(tempfile::TempDir);

impl Cluster {
    /// With an image that runs, at revision 4, or with nothing.
    fn new(running: Option<&str>) -> Self {
        let cluster = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(cluster.path("bin")).unwrap();
        fs::copy(root().join("tests/workflows/kubectl"), cluster.path("bin/kubectl")).unwrap();
        // What waits between two looks at a sidecar need not wait here.
        std::os::unix::fs::symlink("/bin/true", cluster.path("bin/sleep")).unwrap();
        fs::create_dir_all(cluster.path("overlay")).unwrap();
        fs::write(cluster.path("overlay/kustomization.yaml"), "resources: [manifest.yaml]\n").unwrap();
        fs::write(
            cluster.path("overlay/manifest.yaml"),
            "kind: Deployment\n        image: regionwatch/regionwatch:0.1.0\n",
        )
        .unwrap();
        if let Some(image) = running {
            fs::create_dir_all(cluster.path("history")).unwrap();
            for file in ["image", "history/4"] {
                fs::write(cluster.path(file), format!("{image}\n")).unwrap();
            }
            fs::write(cluster.path("revision"), "4\n").unwrap();
        }
        cluster
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn faults(&self, faults: &[&str]) {
        fs::write(self.path("faults"), faults.join("\n")).unwrap();
    }

    fn command(&self) -> Command {
        let mut command = script("deploy");
        let path = format!("{}:{}", self.path("bin").display(), env::var("PATH").unwrap());
        command.env("PATH", path).env("CLUSTER", self.0.path()).env("STATE", self.path("state"));
        command.env("NAMESPACE", "regionwatch").env("OVERLAY", self.path("overlay")).env("IMAGE", NEW);
        // What is well is seen to be well in time on a busy machine, too; what is not costs this time.
        let sick = fs::read_to_string(self.path("faults")).is_ok_and(|faults| faults.contains("sick"));
        command.env("VERSION", "1.0.0").env("VERIFY_WITHIN", if sick { "2" } else { "60" });
        command
    }

    fn deploy(&self) -> (Option<i32>, String) {
        let output = self.command().output().unwrap();
        (output.status.code(), text(&output))
    }

    fn back(&self) -> (Option<i32>, String) {
        let output = self.command().arg("back").output().unwrap();
        (output.status.code(), text(&output))
    }

    fn image(&self) -> String {
        fs::read_to_string(self.path("image")).unwrap_or_default().trim().to_owned()
    }

    /// The calls that change something.
    fn changes(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.path("calls")).unwrap_or_default();
        let changing = |call: &&str| ["apply", "rollout undo", "set image"].iter().any(|verb| call.contains(verb));
        calls.lines().filter(changing).map(|call| call.replace("--namespace regionwatch ", "")).collect()
    }
}

#[test]
fn an_image_that_is_well_stays() {
    for running in [Some(OLD), None, Some(NEW)] {
        let cluster = Cluster::new(running);
        let (status, said) = cluster.deploy();
        assert_eq!((status, cluster.image().as_str()), (Some(0), NEW), "{said}");
        assert_eq!(cluster.changes().len(), 1, "{:?}", cluster.changes());
    }
}

#[test]
fn a_failed_verification_puts_the_recorded_digest_back_and_fails_the_job() {
    let cluster = Cluster::new(Some(OLD));
    cluster.faults(&[&format!("sick {NEW}")]);
    let (status, said) = cluster.deploy();
    assert_eq!((status, cluster.image().as_str()), (Some(1), OLD), "{said}");
    assert!(said.contains("the configuration was refused") && said.contains("did not stay"), "{said}");
    assert_eq!(cluster.changes()[1..], ["rollout undo deployment/regionwatch --to-revision 4"], "{said}");
}

#[test]
fn a_rollout_that_does_not_end_is_undone() {
    let cluster = Cluster::new(Some(OLD));
    cluster.faults(&[&format!("stuck {NEW}")]);
    let (status, said) = cluster.deploy();
    assert_eq!((status, cluster.image().as_str()), (Some(1), OLD), "{said}");
}

#[test]
fn where_the_revision_is_gone_the_recorded_image_is_put_back() {
    let cluster = Cluster::new(Some(OLD));
    cluster.faults(&[&format!("sick {NEW}"), "undo"]);
    let (status, said) = cluster.deploy();
    assert_eq!((status, cluster.image().as_str()), (Some(1), OLD), "{said}");
    assert_eq!(cluster.changes()[2..], [format!("set image deployment/regionwatch regionwatch={OLD}")]);
}

#[test]
fn the_same_image_again_is_never_rolled_back_to_an_older_one() {
    let cluster = Cluster::new(Some(NEW));
    cluster.faults(&[&format!("sick {NEW}")]);
    let (status, said) = cluster.deploy();
    assert_eq!((status, cluster.image().as_str()), (Some(1), NEW), "{said}");
    assert_eq!(cluster.changes().len(), 1, "{:?}", cluster.changes());
    assert!(said.contains("what is wrong is not the image"), "{said}");
}

#[test]
fn what_the_cluster_refuses_changes_nothing_and_fails() {
    let cluster = Cluster::new(Some(OLD));
    cluster.faults(&["apply"]);
    let (status, said) = cluster.deploy();
    assert_eq!((status, cluster.image().as_str()), (Some(1), OLD), "{said}");
    assert_eq!(cluster.changes().len(), 1, "{:?}", cluster.changes());
}

#[test]
fn a_first_deploy_that_fails_says_that_there_is_nothing_to_put_back() {
    let cluster = Cluster::new(None);
    cluster.faults(&[&format!("sick {NEW}")]);
    let (status, said) = cluster.deploy();
    assert!(status == Some(1) && said.contains("nothing ran before"), "{said}");
}

#[test]
fn an_image_before_that_is_stuck_too_is_an_alarm() {
    let cluster = Cluster::new(Some(OLD));
    cluster.faults(&[&format!("stuck {NEW}"), &format!("stuck {OLD}")]);
    let (status, said) = cluster.deploy();
    assert!(status == Some(1) && said.contains("look at it now"), "{said}");
}

#[test]
fn a_cancelled_deploy_is_put_back_and_a_finished_one_is_left_alone() {
    let cluster = Cluster::new(Some(OLD));
    assert!(cluster.back().1.contains("nothing was begun"));
    // As a job leaves it that was cancelled between apply and verify.
    fs::write(cluster.path("state"), format!("{OLD}\n4\nbegun\n")).unwrap();
    for (file, content) in [("image", NEW), ("revision", "5")] {
        fs::write(cluster.path(file), format!("{content}\n")).unwrap();
    }
    let (status, said) = cluster.back();
    assert_eq!((status, cluster.image().as_str()), (Some(0), OLD), "{said}");

    let (status, said) = cluster.deploy();
    assert_eq!(status, Some(0), "{said}");
    let (status, said) = cluster.back();
    assert_eq!((status, cluster.image().as_str()), (Some(0), NEW), "{said}");
}

#[test]
fn nothing_is_touched_before_the_whole_order_is_understood() {
    let refused: [(&str, &str, &str); 4] = [
        ("IMAGE", "registry.example.com/o/regionwatch:1.0.0", "a tag may change"),
        ("IMAGE", "", "must be NAME@sha256"),
        ("OVERLAY", "/nowhere", "has no kustomization.yaml"),
        ("IMAGE_NAME", "other", "has no image \"other\"; it has: regionwatch/regionwatch:0.1.0"),
    ];
    for (name, value, expected) in refused {
        let cluster = Cluster::new(Some(OLD));
        let output = cluster.command().env(name, value).output().unwrap();
        let said = text(&output);
        assert!(!output.status.success() && said.contains(expected), "{name}: {said}");
        assert_eq!((cluster.changes(), cluster.path("state").exists()), (Vec::new(), false), "{said}");
    }
}
