//! `cloudflare_switch.py` against a fake of Cloudflare's API.

use std::{
    collections::BTreeMap,
    fs,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use testkit::process::eventually;

use crate::fake::{Answer, Fake, REGION, Request, Vantage, command, example, said, urls, vantages};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    RateLimited,
    CutOff,
    Failed,
    Closed,
    AnswerLost,
    /// Errors with the status 200.
    Unsuccessful,
    NotJson,
}

#[derive(Default)]
struct Api {
    enabled: BTreeMap<String, bool>,
    healthy: bool,
    token_is_wrong: bool,
    fault: Option<(usize, Fault)>,
    count: usize,
}

impl Api {
    fn answer(&mut self, request: &Request) -> Answer {
        self.count += 1;
        assert!(request.head.contains("authorization: Bearer secret\n"), "{}", request.head);
        if self.token_is_wrong {
            return (403, r#"{"success": false, "errors": [{"code": 10000}]}"#.into());
        }
        let fault = self.fault.filter(|(number, _)| *number == self.count).map(|(_, fault)| fault);
        match fault {
            Some(Fault::RateLimited) => return (429, r#"{"success": false}"#.into()),
            Some(Fault::Failed) => return (502, "<html>".into()),
            Some(Fault::Closed) => return (0, String::new()),
            Some(Fault::Unsuccessful) => return (200, r#"{"success": false, "errors": [{"code": 1}]}"#.into()),
            Some(Fault::CutOff) => return (0, r#"{"success": "#.into()),
            Some(Fault::NotJson) => return (200, "<html>".into()),
            _ => {}
        }
        let pool = request.path.strip_prefix("/accounts/a/load_balancers/pools/").unwrap();
        if request.method == "PATCH" {
            let body = request.json();
            assert_eq!(body, json!({"enabled": false}));
            self.enabled.insert(pool.to_owned(), false);
        }
        if fault == Some(Fault::AnswerLost) {
            return (0, String::new());
        }
        let result = json!({"id": pool, "enabled": self.enabled[pool], "healthy": self.healthy});
        (200, json!({"success": true, "errors": [], "result": result}).to_string())
    }
}

struct World {
    api: Arc<Mutex<Api>>,
    fake: Fake,
    vantages: [Vantage; 2],
    folder: tempfile::TempDir,
}

impl World {
    fn start() -> Self {
        let api: Arc<Mutex<Api>> = Arc::default();
        let shared = Arc::clone(&api);
        let fake = Fake::start(move |request| shared.lock().unwrap().answer(request));
        let world = Self { api, fake, vantages: vantages(), folder: tempfile::tempdir().unwrap() };
        world.reset(None);
        world
    }

    fn reset(&self, fault: Option<(usize, Fault)>) {
        let enabled = [("pool-us", true), ("pool-eu", true)].map(|(pool, on)| (pool.to_owned(), on)).into();
        *self.api.lock().unwrap() = Api { enabled, healthy: true, fault, ..Api::default() };
    }

    fn run(&self, more: &[(&str, &str)]) -> (bool, String) {
        let token = self.folder.path().join("token");
        fs::write(&token, "secret\n").unwrap();
        let config: Value = json!({"api": self.fake.url(), "account": "a", "token_file": token,
            "pools": {REGION: "pool-us", "eu-central-1": "pool-eu"}});
        let file = self.folder.path().join("cloudflare.json");
        fs::write(&file, config.to_string()).unwrap();
        let mut command = command("python3");
        command.arg(example("cloudflare_switch.py")).arg(file).env("VANTAGES", urls(&self.vantages));
        let output = command.envs(more.iter().copied()).output().unwrap();
        (output.status.success(), said(&output))
    }

    fn state(&self) -> (bool, bool) {
        let api = self.api.lock().unwrap();
        (api.enabled["pool-us"], api.enabled["pool-eu"])
    }
}

#[test]
fn the_pool_of_the_failed_region_is_disabled_whichever_request_fails_and_however() {
    let world = World::start();
    assert!(world.run(&[]).0);
    let requests = world.fake.requests().len();
    assert_eq!(requests, 4);
    for number in 1..=requests {
        for fault in [
            Fault::RateLimited,
            Fault::CutOff,
            Fault::Failed,
            Fault::Closed,
            Fault::AnswerLost,
            Fault::Unsuccessful,
            Fault::NotJson,
        ] {
            world.reset(Some((number, fault)));
            let (ok, said) = world.run(&[]);
            assert!(ok, "{number} {fault:?}: {said}");
            assert_eq!(world.state(), (false, true), "{number} {fault:?}");
        }
    }
}

#[test]
fn nothing_is_disabled_if_the_target_is_unhealthy_or_disabled_or_the_token_is_wrong() {
    let world = World::start();
    let faults: [fn(&mut Api); 3] = [
        |api| api.healthy = false,
        |api| *api.enabled.get_mut("pool-eu").unwrap() = false,
        |api| api.token_is_wrong = true,
    ];
    for fault in faults {
        world.reset(None);
        fault(&mut world.api.lock().unwrap());
        let (ok, said) = world.run(&[]);
        assert!(!ok && said.contains("refused"), "{said}");
        assert!(world.state().0);
    }
}

#[test]
fn nothing_is_disabled_for_a_region_that_is_up_or_in_a_drill() {
    let world = World::start();
    let (ok, said) = world.run(&[("DRY_RUN", "true")]);
    assert!(ok && said.contains("dry run"), "{said}");
    world.vantages[1].says("up");
    assert!(!world.run(&[]).0);
    assert_eq!(world.fake.requests().len(), 0);
}

#[test]
fn too_few_vantages_are_asked_again_until_the_time_is_over() {
    let world = World::start();
    world.vantages[1].says("unknown");
    let (ok, said) = world.run(&[("RETRY_FOR", "0")]);
    assert!(!ok && said.contains("page a person"), "{said}");
    assert_eq!(world.fake.requests().len(), 0);
    let asked = world.vantages[1].fake.requests().len();
    let (ok, said) = thread::scope(|scope| {
        scope.spawn(|| {
            eventually("the vantage is asked three times more", Duration::from_secs(60), || {
                (world.vantages[1].fake.requests().len() >= asked + 3).then_some(())
            });
            world.vantages[1].says("held");
        });
        world.run(&[])
    });
    assert!(ok, "{said}");
    assert_eq!(world.state(), (false, true));
}
