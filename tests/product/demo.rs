//! The demo: every answer is as late as its region is far away, and a region comes back.

use std::time::Duration;

use serde_json::Value;
use testkit::{
    needs::{
        Need::{self, Tunnels},
        check, require,
    },
    process::{Running, eventually, free, get, sidecar, value},
};

/// The other regions, and how many seconds away they are.
const REGIONS: [(&str, f64); 3] = [("eu-central-1", 0.024), ("us-east-1", 0.068), ("ap-southeast-2", 0.255)];

const ALL_KINDS: &[&str] = &["icmp", "dns", "tcp", "http"];

/// The flags for each way to simulate the regions, and the kinds that they answer.
fn ways() -> Vec<(&'static [&'static str], &'static [&'static str])> {
    let mut ways: Vec<(&[_], &[_])> = vec![(&["--loopback"], &["dns", "http"])];
    if check(&[Tunnels]).is_ok() {
        ways.push((&[], ALL_KINDS));
    }
    ways
}

fn start(more: &[&str], listen: std::net::SocketAddr) -> Running {
    let listen_text = listen.to_string();
    sidecar(&[&["demo", "--listen", &listen_text], more].concat(), &[], listen)
}

/// How late the last answers of a kind were.
fn latencies(listen: std::net::SocketAddr, region: &str, kind: &str) -> Vec<f64> {
    let answer = get(listen, &format!("/api/v1/probes?path={region}/edge/{kind}&samples=20"));
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let samples = answer["probes"][0]["samples"].as_array().cloned().unwrap_or_default();
    samples.iter().filter_map(|sample| sample["duration_seconds"].as_f64()).collect()
}

#[test]
fn no_answer_of_the_demo_is_faster_than_its_region_is_far_away_and_none_takes_long() {
    for (more, kinds) in ways() {
        let listen = free();
        let demo = start(more, listen);
        for (region, far) in REGIONS {
            for kind in kinds {
                let seen = eventually(&format!("answers of {region} by {kind}"), Duration::from_secs(20), || {
                    Some(latencies(listen, region, kind)).filter(|seen| seen.len() >= 5)
                });
                assert!(seen.iter().all(|seen| *seen >= far), "{region} {kind}: {seen:?}");
                // A connection and a request are two round trips. The fastest of five is no matter of a busy machine.
                let fastest = seen.iter().copied().fold(f64::MAX, f64::min);
                assert!(fastest < 2.0 * far + 0.1, "{region} {kind}: {seen:?}");
            }
        }
        let page = get(listen, "/metrics");
        for kind in ALL_KINDS {
            let is_there = page.contains(&format!("probe=\"{kind}\",result=\"ok\""));
            assert_eq!(is_there, kinds.contains(kind), "{kind} {more:?}");
        }
        let said = demo.said();
        let says = if more.is_empty() { "is a network namespace" } else { "(No network namespaces: --loopback. " };
        assert!(said.contains(says) && said.contains("answers after 255 ms"), "{said}");
    }
}

#[test]
fn a_region_of_the_demo_goes_down_and_comes_back() {
    for (more, _) in ways() {
        let listen = free();
        let outage = ["--kill", "us-east-1", "--revive-after", "4s"];
        let demo = start(&[&outage, more].concat(), listen);
        for (state, limit) in [("down", 30), ("recovering", 30)] {
            let series = format!(
                "regionwatch_peer_state{{vantage_region=\"eu-west-1\",peer_region=\"us-east-1\",state=\"{state}\"}}"
            );
            eventually(&format!("{state} {more:?}"), Duration::from_secs(limit), || {
                (value(&get(listen, "/metrics?collect=state"), &series) == Some(1.0)).then_some(())
            });
        }
        let said = demo.said();
        // A loopback address cannot fall silent.
        let cause = if more.is_empty() { "cause=silence" } else { "cause=service" };
        assert!(said.contains("us-east-1 is back") && said.contains(cause), "{said}");
    }
}

#[test]
fn the_regions_of_the_demo_are_ranked_by_their_distance() {
    for (more, _) in ways() {
        let listen = free();
        let _demo = start(more, listen);
        eventually("a ranking", Duration::from_secs(40), || {
            let page = get(listen, "/metrics");
            let rank = |region: &str| {
                let labels = format!("{{vantage_region=\"eu-west-1\",peer_region=\"{region}\"}}");
                value(&page, &format!("regionwatch_candidate_rank{labels}"))
            };
            (REGIONS.map(|(region, _)| rank(region)) == [Some(1.0), Some(2.0), Some(3.0)]).then_some(())
        });
    }
}

#[test]
fn a_demo_without_privileges_runs_too_and_gives_up_none_for_nothing() {
    require(&[Need::Root, Need::Tool("setpriv")]);
    let listen = free();
    let listen_text = listen.to_string();
    let arguments = ["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"];
    let program = [&arguments[..], &["--", testkit::binary(), "demo", "--listen", &listen_text]].concat();
    let demo = Running::start("setpriv", &program, &[]);
    eventually("all peers are healthy", Duration::from_secs(30), || {
        let answer = testkit::process::request(listen, "GET", "/api/v1/overview")?;
        answer.body.contains("All 3 peers are healthy").then_some(())
    });
    let said = demo.said();
    assert!(
        ["is a network namespace", "/dev/net/tun: ", "user namespace: "].iter().any(|way| said.contains(way)),
        "{said}"
    );
    // Only the namespaces of the regions are worth that the process leaves its own.
    let user = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/user")).unwrap();
    let stays = user(&demo.child.id().to_string()) == user("self");
    assert_eq!(stays, !said.contains("is a network namespace"), "{said}");
}
