//! `lambda_handler.py` with the real boto3, against fakes of DynamoDB and Step Functions.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdout, Stdio},
    sync::{Arc, LazyLock, Mutex},
};

use regionwatch::{
    model::{Region, Stage, UnixMillis},
    net::Timestamp,
    signing::{Order, PrivateKey, SignatureList},
};
use serde_json::{Value, json};

use crate::fake::{Answer, Fake, REGION, Request, Vantage, example, opinion, python, urls, vantages};

/// What happens to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// It is refused, and has no effect.
    Throttled,
    /// As above, with a 500.
    Failed,
    /// It has its effect, and the answer is lost, as where the function ends at that moment.
    AnswerLost,
}

#[derive(Default)]
struct Aws {
    slot: Option<Value>,
    /// Names of executions, with their input.
    executions: BTreeMap<String, Value>,
    /// The number of the request that meets a fault.
    fault: Option<(usize, Fault)>,
    count: usize,
}

impl Aws {
    fn answer(&mut self, request: &Request) -> Answer {
        self.count += 1;
        let fault = self.fault.filter(|(number, _)| *number == self.count).map(|(_, fault)| fault);
        match fault {
            Some(Fault::Throttled) => return error(400, "ThrottlingException"),
            Some(Fault::Failed) => return error(500, "InternalServerError"),
            _ => {}
        }
        let answer = self.apply(&request.operation(), &request.json());
        if fault == Some(Fault::AnswerLost) { (0, String::new()) } else { answer }
    }

    fn apply(&mut self, operation: &str, body: &Value) -> Answer {
        let key = &body["ExpressionAttributeValues"][":key"];
        match operation {
            "GetItem" => {
                assert_eq!(body["ConsistentRead"], true);
                (200, self.slot.as_ref().map_or_else(|| json!({}), |item| json!({"Item": item})).to_string())
            }
            "PutItem" => {
                let (may_be_free, may_be_started) = match body["ConditionExpression"].as_str().unwrap() {
                    "attribute_not_exists(id) OR #key = :key" => (true, true),
                    "#key = :key" => (false, true),
                    "#key = :key AND attribute_not_exists(started)" => (false, false),
                    other => panic!("{other}"),
                };
                let is_ours = |item: &Value| item["key"] == *key && (may_be_started || item["started"].is_null());
                if !self.slot.as_ref().map_or(may_be_free, is_ours) {
                    return error(400, "ConditionalCheckFailedException");
                }
                self.slot = Some(body["Item"].clone());
                (200, "{}".into())
            }
            "UpdateItem" => {
                let Some(slot) = self.slot.as_mut().filter(|item| item["key"] == *key) else {
                    return error(400, "ConditionalCheckFailedException");
                };
                slot["started"] = json!({"BOOL": true});
                (200, "{}".into())
            }
            "StartExecution" => {
                let name = body["name"].as_str().unwrap();
                assert!(name.len() <= 80 && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'), "{name}");
                let input: Value = serde_json::from_str(body["input"].as_str().unwrap()).unwrap();
                if self.executions.contains_key(name) {
                    return error(400, "ExecutionAlreadyExists");
                }
                self.executions.insert(name.to_owned(), input);
                (200, json!({"executionArn": "arn", "startDate": 1.0}).to_string())
            }
            other => panic!("{other}: {body}"),
        }
    }
}

fn error(status: u16, code: &str) -> Answer {
    (status, json!({"__type": format!("com.amazonaws#{code}"), "message": "as the test says"}).to_string())
}

struct World {
    aws: Arc<Mutex<Aws>>,
    fake: Fake,
    vantages: [Vantage; 2],
    function: Child,
    answers: BufReader<ChildStdout>,
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.function.kill();
        let _ = self.function.wait();
    }
}

/// Calls the handler for each line. What it raises is a 500 of the gateway.
const FUNCTION: &str = "
import json, sys, lambda_handler
for line in sys.stdin:
    try:
        status = lambda_handler.handler(json.loads(line), None)['statusCode']
    except Exception as error:
        status = 500
        print(error, file=sys.stderr)
    print('status', status, flush=True)
";

impl World {
    fn start() -> Self {
        // The second vantage changes its key.
        let [x, y] = &*KEYS;
        let other = PrivateKey::generate().unwrap().0.public().to_string();
        let keys = json!({x.0.as_str(): [x.1.public().to_string()], y.0.as_str(): [other, y.1.public().to_string()]});
        Self::with(&keys.to_string(), "")
    }

    fn with(keys: &str, environment: &str) -> Self {
        let aws: Arc<Mutex<Aws>> = Arc::default();
        let shared = Arc::clone(&aws);
        let fake = Fake::start(move |request| shared.lock().unwrap().answer(request));
        let vantages = vantages();
        let mut function = python()
            .args(["-c", FUNCTION])
            .current_dir(example(""))
            .envs([("AWS_ENDPOINT_URL", &*fake.url()), ("VANTAGES", &urls(&vantages))])
            .envs([("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "x"), ("AWS_DEFAULT_REGION", "us-west-2")])
            .envs([("KEYS", keys), ("ENVIRONMENT", environment)])
            .envs([("TABLE", "failover"), ("STATE_MACHINE", "arn:aws:states:us-west-2:1:stateMachine:failover")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let answers = BufReader::new(function.stdout.take().unwrap());
        Self { aws, fake, vantages, function, answers }
    }

    /// The status of the answer to a webhook.
    fn post(&mut self, alerts: &[Value]) -> u16 {
        let body = json!({"version": "4", "status": "firing", "alerts": alerts}).to_string();
        writeln!(self.function.stdin.as_mut().unwrap(), "{}", json!({"body": body})).unwrap();
        loop {
            let mut line = String::new();
            assert!(self.answers.read_line(&mut line).unwrap() > 0, "the function has ended");
            if let Some(status) = line.strip_prefix("status ") {
                return status.trim().parse().unwrap();
            }
        }
    }

    fn started(&self) -> Vec<Value> {
        self.aws.lock().unwrap().executions.values().cloned().collect()
    }

    /// Forgets everything, and lets one request meet a fault.
    fn reset(&self, fault: Option<(usize, Fault)>) {
        *self.aws.lock().unwrap() = Aws { fault, ..Aws::default() };
    }

    /// What an operator does after the region was failed back.
    fn release(&self) {
        self.aws.lock().unwrap().slot = None;
    }
}

/// The keys of two vantages.
static KEYS: LazyLock<[(Region, PrivateKey); 2]> =
    LazyLock::new(|| ["x", "y"].map(|name| (Region::new(name).unwrap(), PrivateKey::generate().unwrap().0)));

/// The annotation of an order about a region, that these vantages signed so many seconds ago.
fn signatures(region: &str, by: &[&(Region, PrivateKey)], age: u64) -> Value {
    let region = Region::new(region).unwrap();
    let order = Order { environment: "", region: &region, stage: Stage::Execute, drill: false };
    let at = UnixMillis(Timestamp::now().unix_nanos() / 1_000_000 - age * 1_000);
    let signed: Vec<_> = by.iter().map(|(vantage, key)| order.sign(vantage, key, at).unwrap()).collect();
    json!(SignatureList::encode(&signed))
}

fn push(region: &str, id: &str) -> Value {
    let mut alert = unsigned(region, id);
    let [x, y] = &*KEYS;
    alert["annotations"]["signatures"] = signatures(region, &[x, y], 0);
    alert
}

fn unsigned(region: &str, id: &str) -> Value {
    json!({"status": "firing", "startsAt": "2026-11-21T08:13:22.792Z", "endsAt": "0001-01-01T00:00:00Z",
        "labels": {"alertname": "RegionwatchPeerFailover", "failover": "true", "drill": "false", "stage": "execute",
            "peer_region": region, "source": "push"},
        "annotations": {"incident_id": id, "failover_target": "eu-central-1"}})
}

fn rules(starts_at: &str) -> Value {
    let mut alert = unsigned(REGION, "");
    alert["labels"]["source"] = json!("rules");
    alert["annotations"].as_object_mut().unwrap().remove("incident_id");
    alert["startsAt"] = json!(starts_at);
    alert
}

#[test]
fn an_order_starts_one_execution_whichever_request_fails_and_however() {
    let mut world = World::start();
    assert_eq!(world.post(&[push(REGION, "us-east-1-1")]), 200);
    let requests = world.fake.requests().len();
    assert_eq!(requests, 4);
    for number in 1..=requests {
        for fault in [Fault::Throttled, Fault::Failed, Fault::AnswerLost] {
            world.reset(Some((number, fault)));
            assert!(world.post(&[push(REGION, "us-east-1-1")]) >= 500, "{number} {fault:?}");
            // Alertmanager sends it again, and other Alertmanagers do as well.
            for _ in 0..2 {
                assert_eq!(world.post(&[push(REGION, "us-east-1-1")]), 200, "{number} {fault:?}");
            }
            let started = world.started();
            assert_eq!(started.len(), 1, "{number} {fault:?}");
            assert_eq!((&started[0]["region"], &started[0]["approval"]), (&json!(REGION), &json!(false)));
        }
    }
}

#[test]
fn by_rules_alone_every_incident_waits_for_approval_and_the_second_one_is_not_lost() {
    let mut world = World::start();
    // Two vantages report one incident, at different times.
    let first = [rules("2026-11-21T08:13:52.000Z"), rules("2026-11-21T08:13:53.000Z")];
    assert_eq!(world.post(&first), 200);
    assert_eq!(world.post(&first[1..]), 200);
    assert_eq!(world.started().len(), 1);
    assert_eq!(world.started()[0]["approval"], true);
    world.release();
    // A copy of the first one, which came late, starts nothing; what is new does.
    assert_eq!(world.post(&first), 200);
    assert_eq!(world.started().len(), 1);
    world.release();
    assert_eq!(world.post(&[rules("2026-12-24T00:00:00.000Z")]), 200);
    assert_eq!(world.started().len(), 2);
}

#[test]
fn a_signed_order_takes_the_place_of_one_that_waits_for_approval_whichever_request_fails_and_however() {
    let mut world = World::start();
    let by_rules = rules("2026-11-21T08:13:52.000Z");
    assert_eq!(world.post(std::slice::from_ref(&by_rules)), 200);
    let before = world.fake.requests().len();
    assert_eq!(world.post(&[push(REGION, "us-east-1-1")]), 200);
    let requests = world.fake.requests().len();
    assert_eq!(requests - before, 4);
    for number in 1..=requests {
        for fault in [Fault::Throttled, Fault::Failed, Fault::AnswerLost] {
            world.reset(Some((number, fault)));
            for _ in 0..2 {
                world.post(std::slice::from_ref(&by_rules));
            }
            for _ in 0..2 {
                world.post(&[push(REGION, "us-east-1-1")]);
            }
            // Neither starts anything again.
            assert_eq!(world.post(std::slice::from_ref(&by_rules)), 200, "{number} {fault:?}");
            assert_eq!(world.post(&[push(REGION, "us-east-1-1")]), 200, "{number} {fault:?}");
            let mut approvals: Vec<_> =
                world.started().iter().map(|order| order["approval"].as_bool().unwrap()).collect();
            approvals.sort_unstable();
            assert_eq!(approvals, [false, true], "{number} {fault:?}");
        }
    }
    world.reset(None);
    assert_eq!(world.post(&[by_rules]), 200);
    assert_eq!(world.post(&[unsigned(REGION, "us-east-1-1")]), 200);
    assert_eq!(world.started().len(), 1, "an unsigned order takes no place");
}

#[test]
fn an_order_whose_start_failed_is_finished_while_it_is_fresh_and_by_none_that_needs_more_approval() {
    let mut world = World::start();
    let to = |mut alert: Value, target: &str| {
        alert["annotations"]["failover_target"] = json!(target);
        alert
    };
    // It takes the slot, nothing is started, and the outage ends before it comes again.
    let begin = |world: &mut World| {
        world.reset(Some((3, Fault::Failed)));
        assert_eq!(world.post(&[push(REGION, "us-east-1-1")]), 500);
        assert_eq!(world.started().len(), 0);
        world.vantages[0].says("up");
        assert_eq!(world.post(&[push(REGION, "us-east-1-1")]), 503);
        world.vantages[0].says("held");
    };
    let started = |world: &World| {
        let started = world.started();
        assert_eq!(started.len(), 1, "{started:?}");
        (started[0]["approval"].as_bool().unwrap(), started[0]["target"].as_str().unwrap().to_owned())
    };
    begin(&mut world);
    assert_eq!(world.post(&[to(rules("2026-12-24T00:00:00.000Z"), "ap-southeast-2")]), 200);
    assert_eq!(started(&world), (true, "ap-southeast-2".into()));

    let later = || to(push(REGION, "us-east-1-2"), "ap-southeast-2");
    begin(&mut world);
    assert_eq!(world.post(&[later()]), 200);
    assert_eq!(started(&world), (false, "eu-central-1".into()), "what is fresh is finished");

    begin(&mut world);
    {
        let mut aws = world.aws.lock().unwrap();
        let at = &mut aws.slot.as_mut().unwrap()["taken_at"]["N"];
        *at = json!((at.as_str().unwrap().parse::<u64>().unwrap() - 301).to_string());
    }
    assert_eq!(world.post(&[later()]), 200);
    assert_eq!(started(&world), (false, "ap-southeast-2".into()));
    assert_eq!(world.post(&[later()]), 200);
    assert_eq!(world.started().len(), 1);
}

#[test]
fn of_the_alerts_of_one_region_the_one_with_the_best_proof_counts() {
    let mut world = World::start();
    let earlier = |mut alert: Value| {
        alert["startsAt"] = json!("2020-01-01T00:00:00Z");
        alert["annotations"]["failover_target"] = json!("planted");
        alert
    };
    let mut named = rules("");
    named["annotations"]["incident_id"] = json!("us-east-1-1");
    let planted = [earlier(unsigned(REGION, "us-east-1-1")), earlier(named)];
    let genuine = push(REGION, "us-east-1-1");
    assert_eq!(world.post(&[planted[0].clone(), planted[1].clone(), genuine]), 200);
    let started = world.started();
    assert_eq!(started.len(), 1);
    assert_eq!((&started[0]["approval"], &started[0]["target"]), (&json!(false), &json!("eu-central-1")));
    // Nor does one without signatures hide the request of the rules.
    world.reset(None);
    assert_eq!(world.post(&[planted[0].clone(), rules("2026-11-21T08:13:52.000Z")]), 200);
    assert_eq!(world.started()[0]["approval"], true);
    // Nor does one whose signatures exhaust a parser.
    for brackets in [2_000, 500_000] {
        world.reset(None);
        let mut deep = planted[0].clone();
        deep["labels"]["planted"] = json!("yes");
        deep["annotations"]["signatures"] = json!("[".repeat(brackets));
        assert_eq!(world.post(&[deep, push(REGION, "us-east-1-1")]), 200, "{brackets}");
        assert_eq!(world.started().len(), 1, "{brackets}");
        assert_eq!(world.started()[0]["target"], "eu-central-1", "{brackets}");
    }
}

#[test]
fn an_order_of_another_environment_is_skipped() {
    let mut world = World::with("{}", "prod");
    let mut order = unsigned(REGION, "us-east-1-1");
    assert_eq!(world.post(&[order.clone()]), 200);
    order["labels"]["environment"] = json!("staging");
    assert_eq!(world.post(&[order.clone()]), 200);
    assert_eq!(world.fake.requests().len(), 0);
    order["labels"]["environment"] = json!("prod");
    for (vantage, name) in world.vantages.iter().zip(["eu-west-1", "eu-central-1"]) {
        let mut message = opinion(name, "held");
        message["environment"] = json!("prod");
        vantage.replace(message);
    }
    assert_eq!(world.post(&[order]), 200);
    assert_eq!(world.started().len(), 1);
}

#[test]
fn a_planted_order_for_a_region_that_is_up_starts_nothing_and_is_asked_for_again() {
    let mut world = World::start();
    world.vantages[0].says("up");
    assert_eq!(world.post(&[push(REGION, "us-east-1-1")]), 503);
    world.vantages[0].says("held");
    let mut expired = push(REGION, "us-east-1-1");
    expired["annotations"]["expires_at"] = json!("2026-11-21T08:14:00Z");
    assert_eq!(world.post(&[expired]), 503);
    assert_eq!(world.started().len(), 0);
    assert_eq!(world.post(&[push(REGION, "us-east-1-1")]), 200);
    assert_eq!(world.started().len(), 1);
}

#[test]
fn an_order_without_fresh_signatures_of_two_vantages_starts_nothing_until_one_with_them_comes() {
    let mut world = World::start();
    let [x, y] = &*KEYS;
    let stranger = (y.0.clone(), PrivateKey::generate().unwrap().0);
    for (what, text) in [
        ("none", json!("")),
        ("no list", json!("{}")),
        ("one", signatures(REGION, &[x], 0)),
        ("one twice", signatures(REGION, &[x, x], 0)),
        ("of another key", signatures(REGION, &[x, &stranger], 0)),
        ("of another region", signatures("eu-central-1", &[x, y], 0)),
        ("old", signatures(REGION, &[x, y], 120)),
    ] {
        let mut alert = unsigned(REGION, "us-east-1-1");
        alert["annotations"]["signatures"] = text;
        assert_eq!(world.post(&[alert]), 503, "{what}");
    }
    assert_eq!(world.started().len(), 0);
    assert_eq!(world.post(&[push(REGION, "us-east-1-1")]), 200);
    assert_eq!(world.started().len(), 1);
    // What was started is known, however the next copy is signed.
    assert_eq!(world.post(&[unsigned(REGION, "us-east-1-1")]), 200);
    assert_eq!(world.started().len(), 1);
}

#[test]
fn without_keys_every_execution_waits_for_approval() {
    let mut world = World::with("{}", "");
    assert_eq!(world.post(&[unsigned(REGION, "us-east-1-1")]), 200);
    assert_eq!(world.started()[0]["approval"], true);
}

#[test]
fn the_signatures_are_verified_as_the_webhook_page_shows() {
    let page = std::fs::read_to_string(testkit::root().join("docs/webhook.md")).unwrap();
    let code = std::fs::read_to_string(example("regionwatch_signatures.py")).unwrap();
    let shown = page.split("```python\n").find(|text| text.contains("def signers")).unwrap();
    assert_eq!(code.split_once('\n').unwrap().1, shown.split("```").next().unwrap());
}

#[test]
fn only_one_region_of_an_environment_is_failed_over_until_it_is_released() {
    let mut world = World::start();
    assert_eq!(world.post(&[push(REGION, "us-east-1-1")]), 200);
    assert_eq!(world.post(&[push("eu-central-1", "eu-central-1-1")]), 503);
    assert_eq!(world.started().len(), 1);
}

#[test]
fn prepare_resolved_drills_and_other_alerts_start_nothing() {
    let mut world = World::start();
    for (place, value) in [
        ("/status", "resolved"),
        ("/labels/stage", "prepare"),
        ("/labels/drill", "true"),
        ("/labels/drill", "no"),
        ("/labels/failover", "false"),
    ] {
        let mut alert = push(REGION, "us-east-1-1");
        *alert.pointer_mut(place).unwrap() = json!(value);
        assert_eq!(world.post(&[alert]), 200, "{place}");
    }
    assert_eq!(world.fake.requests().len(), 0);
}
