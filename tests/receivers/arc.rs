//! `arc_switch.py` with the real boto3, against the five endpoints of a cluster.

use std::{
    collections::BTreeMap,
    fs,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};

use crate::fake::{Answer, Fake, REGION, Request, Vantage, example, python, said, urls, vantages};

const OFF: &str = "arn:aws:route53-recovery-control::1:controlpanel/p/routingcontrol/off";
const ON: &str = "arn:aws:route53-recovery-control::1:controlpanel/p/routingcontrol/on";

type States = Arc<Mutex<BTreeMap<String, String>>>;

/// What an endpoint does; all of them share the states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Endpoint {
    Works,
    Throttles,
    Fails,
    /// Closes the connection; nothing was changed.
    Closes,
    /// Makes the change, and does not answer.
    AnswerLost,
    /// A safety rule forbids it.
    Forbids,
}

fn error(status: u16, code: &str) -> Answer {
    (status, json!({"__type": code, "message": "as the test says"}).to_string())
}

fn answer(endpoint: Endpoint, states: &States, request: &Request) -> Answer {
    match endpoint {
        Endpoint::Throttles => return error(429, "ThrottlingException"),
        Endpoint::Fails => return error(503, "EndpointTemporarilyUnavailableException"),
        Endpoint::Closes => return (0, String::new()),
        Endpoint::Forbids => return error(409, "ConflictException"),
        Endpoint::Works | Endpoint::AnswerLost => {}
    }
    let (body, mut states) = (request.json(), states.lock().unwrap());
    match &*request.operation() {
        "UpdateRoutingControlStates" => {
            for entry in body["UpdateRoutingControlStateEntries"].as_array().unwrap() {
                let text = |name: &str| entry[name].as_str().unwrap().to_owned();
                states.insert(text("RoutingControlArn"), text("RoutingControlState"));
            }
            let lost = endpoint == Endpoint::AnswerLost;
            if lost { (0, String::new()) } else { (200, "{}".into()) }
        }
        "GetRoutingControlState" => {
            let arn = body["RoutingControlArn"].as_str().unwrap();
            (200, json!({"RoutingControlArn": arn, "RoutingControlState": states[arn]}).to_string())
        }
        other => panic!("{other}"),
    }
}

struct World {
    states: States,
    endpoints: Vec<Fake>,
    vantages: [Vantage; 2],
}

/// In this order in the file; the first is that of the failed region.
const REGIONS: [&str; 5] = [REGION, "ap-northeast-1", "ap-southeast-2", "eu-west-1", "us-west-2"];

impl World {
    fn start(endpoints: [Endpoint; 5]) -> Self {
        let states: States = Arc::new(Mutex::new(
            [(OFF, "On"), (ON, "Off")].map(|(arn, state)| (arn.to_owned(), state.to_owned())).into(),
        ));
        let start = |endpoint: Endpoint| {
            let states = Arc::clone(&states);
            Fake::start(move |request| answer(endpoint, &states, request))
        };
        let endpoints = endpoints.map(start).into();
        Self { states, endpoints, vantages: vantages() }
    }

    fn run(&self, more: &[(&str, &str)]) -> (bool, String) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("arc.json");
        let endpoints: BTreeMap<_, _> = REGIONS.iter().zip(self.endpoints.iter().map(Fake::url)).collect();
        let config = json!({"endpoints": endpoints, "routing_controls": {REGION: OFF, "eu-central-1": ON}});
        fs::write(&file, config.to_string()).unwrap();
        let output = python()
            .arg(example("arc_switch.py"))
            .arg(&file)
            .env("VANTAGES", urls(&self.vantages))
            .envs([("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "x")])
            .envs(more.iter().copied())
            .output()
            .unwrap();
        (output.status.success(), said(&output))
    }

    fn switched(&self) -> bool {
        let states = self.states.lock().unwrap();
        (&*states[OFF], &*states[ON]) == ("Off", "On")
    }

    fn untouched(&self) -> bool {
        let states = self.states.lock().unwrap();
        (&*states[OFF], &*states[ON]) == ("On", "Off")
    }

    fn updates(&self) -> usize {
        let all = self.endpoints.iter().flat_map(Fake::requests);
        all.filter(|request| request.operation() == "UpdateRoutingControlStates").count()
    }
}

#[test]
fn one_working_endpoint_of_five_is_enough_and_both_controls_change_in_one_request() {
    use Endpoint::{AnswerLost, Closes, Fails, Throttles, Works};
    let world = World::start([Closes, Throttles, Fails, AnswerLost, Works]);
    let (ok, said) = world.run(&[]);
    assert!(ok && world.switched(), "{said}");
    for endpoint in &world.endpoints {
        for request in endpoint.requests().iter().filter(|request| request.operation() == "UpdateRoutingControlStates")
        {
            let entries: Value = request.json()["UpdateRoutingControlStateEntries"].clone();
            assert_eq!(entries.as_array().unwrap().len(), 2);
        }
    }
    // The endpoint of the region that is down is the last resort.
    assert_eq!(world.endpoints[0].requests().len(), 0);
    // Once more, after the program was killed and started again.
    let (ok, said) = world.run(&[]);
    assert!(ok && world.switched(), "{said}");
}

#[test]
fn without_a_working_endpoint_it_fails_and_with_only_that_of_the_failed_region_it_switches() {
    use Endpoint::{Closes, Fails, Throttles, Works};
    let world = World::start([Closes, Throttles, Fails, Closes, Fails]);
    let (ok, said) = world.run(&[("RETRY_FOR", "0")]);
    assert!(!ok && world.untouched() && said.contains("page a person"), "{said}");
    let world = World::start([Works, Throttles, Fails, Closes, Fails]);
    assert!(world.run(&[]).0 && world.switched());
}

#[test]
fn a_safety_rule_is_obeyed() {
    let world = World::start([Endpoint::Forbids; 5]);
    let (ok, said) = world.run(&[]);
    assert!(!ok && world.untouched() && said.contains("refused"), "{said}");
    assert_eq!(world.updates(), 1);
    assert!(
        world.endpoints.iter().flat_map(Fake::requests).all(|request| !request.body.contains("SafetyRulesToOverride"))
    );
}

#[test]
fn nothing_is_switched_for_a_region_that_is_up_or_in_a_drill() {
    let world = World::start([Endpoint::Works; 5]);
    for drill in ["true", ""] {
        let (ok, said) = world.run(&[("DRY_RUN", drill)]);
        assert!(ok && said.contains("dry run"), "{said}");
    }
    world.vantages[0].says("up");
    assert!(!world.run(&[]).0);
    assert!(!world.run(&[("EXPIRES_AT", "2026-11-21T08:14:00Z")]).0);
    assert_eq!(world.updates(), 0);
}
