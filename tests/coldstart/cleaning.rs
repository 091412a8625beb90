//! What a comparison makes is removed, and nothing else.

use std::time::Duration;

use testkit::{
    binary,
    engine::docker,
    process::{Running, eventually, output},
};

use crate::images::{need, server};

const LABEL: &str = "label=io.regionwatch.coldstart";

fn of_coldstart() -> [String; 3] {
    [
        docker(&["ps", "--all", "--quiet", "--filter", LABEL]),
        docker(&["network", "ls", "--quiet", "--filter", LABEL]),
        docker(&["images", "--quiet", "--filter", LABEL]),
    ]
}

#[test]
fn an_interrupted_run_removes_its_own_containers_and_no_other() {
    need();
    let late = server("late", &["60000"]);
    let other = docker(&["run", "--detach", "--network", "none", "--pull", "never", &late]);
    let mut run = Running::start(binary(), &["coldstart", &late], &[]);
    eventually("a container is started", Duration::from_secs(60), || {
        (!docker(&["ps", "--quiet", "--filter", LABEL]).is_empty()).then_some(())
    });
    run.signal("INT");
    let status = run.ends_within(Duration::from_secs(60));
    let alive = docker(&["ps", "--quiet", "--no-trunc", "--filter", &format!("id={other}")]);
    docker(&["rm", "--force", &other]);
    assert_eq!((status, alive), (130, other), "{}", run.said());
    assert_eq!(of_coldstart(), ["", "", ""], "{}", run.said());
}

#[test]
fn a_complete_run_leaves_nothing() {
    need();
    let quick = server("quick", &[]);
    let run = output(&["coldstart", &quick, "--rounds", "1"], &[]);
    assert!(run.status.success(), "{run:?}");
    assert_eq!(of_coldstart(), ["", "", ""]);
}
