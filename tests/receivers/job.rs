//! `start_job.sh` against a fake job server.

use std::{
    fs,
    sync::{Arc, Mutex},
};

use testkit::needs::{Need::Tool, require};

use crate::fake::{Fake, command, example, said, urls, vantages};

#[test]
fn a_job_is_started_although_the_server_fails_first_and_never_for_a_region_that_is_up() {
    require(&[Tool("curl")]);
    let answers = Mutex::new(vec![201, 0, 429, 503]);
    let server = Fake::start(move |_| (answers.lock().unwrap().pop().unwrap_or(201), String::new()));
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    fs::write(&token, "header = \"Authorization: Bearer secret\"\n").unwrap();
    let vantages = vantages();
    let run = |more: &[(&str, &str)]| {
        let mut command = command("bash");
        command.arg(example("start_job.sh")).env("JOB_TOKEN_FILE", &token).env("VANTAGES", urls(&vantages));
        command.env("JOB_URL", format!("{}/job/failover/buildWithParameters", server.url()));
        let output = command.env("PAUSE", "1").envs(more.iter().copied()).output().unwrap();
        (output.status.success(), said(&output))
    };
    assert!(run(&[("DRY_RUN", "true")]).0);
    vantages[0].says("up");
    assert!(!run(&[]).0);
    vantages[0].says("unknown");
    assert!(!run(&[("RETRY_FOR", "1")]).0);
    assert_eq!(server.requests().len(), 0);
    vantages[0].says("held");
    let (ok, said) = run(&[]);
    assert!(ok && said.contains("the job was started"), "{said}");
    let requests = server.requests();
    assert_eq!(requests.len(), 4, "{requests:?}");
    for request in requests {
        assert!(request.method == "POST" && request.head.contains("authorization: Bearer secret\n"), "{request:?}");
        assert_eq!(request.body, "INCIDENT_ID=us-east-1-1&PEER_REGION=us-east-1&FAILOVER_TARGET=eu-central-1");
    }
}

#[test]
fn no_request_is_repeated_once_the_region_is_up_again() {
    require(&[Tool("curl")]);
    let vantages = Arc::new(vantages());
    let returns = Arc::clone(&vantages);
    let server = Fake::start(move |_| {
        returns[0].says("up");
        (503, String::new())
    });
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    fs::write(&token, "").unwrap();
    let run = |more: &[(&str, &str)]| {
        let mut command = command("bash");
        command.arg(example("start_job.sh")).env("JOB_TOKEN_FILE", &token).env("VANTAGES", urls(&*vantages));
        let output = command.env("JOB_URL", server.url()).envs(more.iter().copied()).output().unwrap();
        (output.status.success(), said(&output))
    };
    let (ok, said) = run(&[("EXPIRES_AT", "2026-11-21T08:14:23.404Z")]);
    assert!(!ok && said.contains("the order expired") && server.requests().is_empty(), "{said}");
    let (ok, said) = run(&[]);
    assert!(!ok && said.contains("called off"), "{said}");
    assert_eq!(server.requests().len(), 1);
}
