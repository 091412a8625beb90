//! `regionwatch_check.py`: whether a region is down now.

use std::{net::SocketAddr, process::Command, time::Duration};

use serde_json::json;
use testkit::{
    binary,
    needs::{
        Need::{Ping, Tool},
        require,
    },
    process::{Running, eventually, free},
};

use crate::fake::{REGION, Vantage, command, example, opinion, said, urls, vantages};

fn check(urls: &str, more: &[(&str, &str)]) -> (i32, String) {
    let mut command = command("python3");
    command.arg(example("regionwatch_check.py")).arg(REGION).env("VANTAGES", urls).envs(more.iter().copied());
    let output = command.output().unwrap();
    (output.status.code().unwrap(), said(&output))
}

const DOWN: i32 = 0;
const UP: i32 = 1;
const UNCLEAR: i32 = 2;

#[test]
fn a_region_is_down_now_only_if_two_vantages_hold_it_down_and_none_reaches_it() {
    let vantages = vantages();
    let all = urls(&vantages);
    assert_eq!(check(&all, &[]).0, DOWN);
    vantages[1].says("up");
    let (status, said) = check(&all, &[]);
    assert!(status == UP && said.contains("is reached by eu-central-1"), "{said}");
    for says in ["down", "unknown"] {
        vantages[1].says(says);
        assert_eq!(check(&all, &[]).0, UNCLEAR, "{says}");
    }
    assert_eq!(check(&all, &[("MIN_VANTAGES", "1")]).0, DOWN);
}

#[test]
fn an_answer_that_proves_nothing_does_not_count() {
    let vantages = vantages();
    let all = urls(&vantages);
    let mut isolated = opinion("eu-central-1", "held");
    isolated["isolated"] = json!(true);
    let mut other = opinion("eu-central-1", "held");
    other["environment"] = json!("staging");
    let mut unknown = opinion("eu-central-1", "held");
    unknown["peers"] = json!([]);
    let messages = [isolated, other, unknown, opinion(REGION, "held"), json!([]), json!("text"), json!(null)];
    for message in messages {
        vantages[1].replace(message.clone());
        assert_eq!(check(&all, &[]).0, UNCLEAR, "{message}");
    }
    vantages[1].replace(opinion("eu-central-1", "held"));
    // The same vantage twice, as behind a load balancer, and one that does not answer.
    let first = vantages[0].fake.url();
    assert_eq!(check(&format!("{first} {first}"), &[]).0, UNCLEAR);
    assert_eq!(check(&format!("{first} http://127.0.0.1:1"), &[]).0, UNCLEAR);
    assert_eq!(check(&format!("{all} http://127.0.0.1:1"), &[]).0, DOWN);
    // Nor does another environment's.
    assert_eq!(check(&all, &[("ENVIRONMENT", "prod")]).0, UNCLEAR);
}

#[test]
fn a_message_of_0_2_0_holds_a_region_down_while_it_names_an_incident() {
    let vantages = vantages();
    for (vantage, name) in vantages.iter().zip(["eu-west-1", "eu-central-1"]) {
        let mut message = opinion(name, "held");
        message["peers"][1].as_object_mut().unwrap().remove("held");
        vantage.replace(message);
    }
    assert_eq!(check(&urls(&vantages), &[]).0, DOWN);
}

#[test]
fn an_expired_order_is_void_after_30_s_of_skew() {
    let vantages = vantages();
    let at = |seconds: &str| {
        let output =
            Command::new("date").args(["--utc", "--date", seconds, "+%Y-%m-%dT%H:%M:%S.123Z"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    for (end, expected) in [("+60 seconds", DOWN), ("-20 seconds", DOWN), ("-40 seconds", UP)] {
        assert_eq!(check(&urls(&vantages), &[("EXPIRES_AT", &at(end))]).0, expected, "{end}");
    }
}

/// The messages above are made by hand; these come from the program.
#[test]
fn the_check_reads_what_a_real_instance_serves() {
    require(&[Ping, Tool("python3")]);
    let listen: SocketAddr = free();
    let demo = Running::start(binary(), &["demo", "--kill", REGION, "--listen", &listen.to_string()], &[]);
    let url = format!("http://{listen}");
    let one = [("MIN_VANTAGES", "1")];
    eventually("the region is up", Duration::from_secs(20), || (check(&url, &one).0 == UP).then_some(()));
    eventually("the region is held down", Duration::from_secs(45), || (check(&url, &one).0 == DOWN).then_some(()));
    drop(demo);
    assert_eq!(check(&url, &one).0, UNCLEAR);
    let vantage = Vantage::start("eu-west-1", "held");
    assert_eq!(check(&vantage.fake.url(), &one).0, DOWN);
}
