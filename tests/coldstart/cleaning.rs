//! What a comparison makes is removed, and nothing else.

use std::time::Duration;

use testkit::{
    binary,
    engine::docker,
    images::{need, server},
    process::{Running, eventually, output},
};

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
    for (signal, expected) in [("INT", 130), ("HUP", 129)] {
        let mut run = Running::start(binary(), &["coldstart", &late], &[]);
        eventually("a container is started", Duration::from_secs(60), || {
            (!docker(&["ps", "--quiet", "--filter", LABEL]).is_empty()).then_some(())
        });
        run.signal(signal);
        assert_eq!(run.ends_within(Duration::from_secs(60)), expected, "{}", run.said());
        assert_eq!(of_coldstart(), ["", "", ""], "{}", run.said());
    }
    let alive = docker(&["ps", "--quiet", "--no-trunc", "--filter", &format!("id={other}")]);
    docker(&["rm", "--force", &other]);
    assert_eq!(alive, other);
}

#[test]
fn a_complete_run_leaves_nothing() {
    need();
    let quick = server("quick", &[]);
    let run = output(&["coldstart", &quick, "--rounds", "1"], &[]);
    assert!(run.status.success(), "{run:?}");
    assert_eq!(of_coldstart(), ["", "", ""]);
}
