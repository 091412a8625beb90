//! `regionwatch_check.py`: whether a region is down now.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    process::Command,
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

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

/// It needs no outage, and so many vantages that order it now. Any other order needs the outage all the same.
#[test]
fn what_an_operator_has_ordered_needs_two_vantages_that_order_it_now() {
    let vantages = vantages();
    let all = urls(&vantages);
    let by_operator = [("INCIDENT_ID", "us-east-1-operator-1795230245123")];
    let orders = |vantage: &str, orders: bool| {
        let mut message = opinion(vantage, "up");
        message["peers"][1]["operator_order"] = json!(orders);
        message
    };
    let names = ["eu-west-1", "eu-central-1"];
    vantages.iter().zip(names).for_each(|(vantage, name)| vantage.replace(orders(name, true)));
    let (status, said) = check(&all, &by_operator);
    assert!(status == DOWN && said.contains("as an operator has commanded"), "{said}");
    assert_eq!(check(&all, &[]).0, UP, "an order of another incident");
    assert_eq!(check(&all, &[("INCIDENT_ID", "us-west-1-operator-1")]).0, UP);
    vantages[0].replace(orders(names[0], false));
    assert_eq!(check(&all, &by_operator).0, UNCLEAR, "one alone");
    vantages[1].replace(orders(names[1], false));
    assert_eq!(check(&all, &by_operator).0, UP, "it was released");
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

/// A server that answers one connection after the other with these bytes, and then with a byte now and then until it tells that
/// a minute is over. Without the slow bytes it closes.
fn raw(bytes: &[u8], is_slow: bool) -> (String, Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (bytes, (over, told)) = (bytes.to_owned(), channel());
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(&bytes);
            if is_slow
                && (0..120).all(|_| {
                    thread::sleep(Duration::from_millis(500));
                    stream.write_all(b" ").is_ok()
                })
            {
                let _ = over.send(());
            }
        }
    });
    (url, told)
}

#[test]
fn no_answer_of_a_vantage_and_no_wrong_setting_says_that_the_region_is_up() {
    let vantages = vantages();
    let (all, first) = (urls(&vantages), vantages[0].fake.url());
    let body = |body: &str| format!("HTTP/1.1 200 X\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let mut nameless = opinion("", "held");
    nameless["vantage"] = json!(["eu-north-1"]);
    for answer in [
        "HTTP/1.1 200 X\r\nContent-Length: 100\r\n\r\n{".to_owned(),
        "HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n".to_owned(),
        "nonsense\r\n\r\n".to_owned(),
        body(&"[".repeat(100_000)),
        body(&" ".repeat(2 << 20)),
        body(&nameless.to_string()),
    ] {
        let (bad, _) = raw(answer.as_bytes(), false);
        let shown = &answer[..answer.len().min(80)];
        assert_eq!(check(&format!("{first} {bad}"), &[]).0, UNCLEAR, "{shown}");
        assert_eq!(check(&format!("{all} {bad}"), &[]).0, DOWN, "{shown}");
    }
    for (name, value) in [("MIN_VANTAGES", "two"), ("MIN_VANTAGES", "")] {
        assert_eq!(check(&all, &[(name, value)]).0, UNCLEAR, "{name}={value}");
    }
    let unset = command("python3").arg(example("regionwatch_check.py")).arg(REGION).output().unwrap();
    assert_eq!(unset.status.code(), Some(UNCLEAR), "{}", said(&unset));
}

#[test]
fn a_vantage_that_sends_a_byte_now_and_then_keeps_nobody_waiting() {
    let vantages = vantages();
    for head in ["", "HTTP/1.1 200 X\r\nContent-Length: 9999\r\n\r\n"] {
        let (slow, over) = raw(head.as_bytes(), true);
        assert_eq!(check(&format!("{slow} {}", urls(&vantages)), &[]).0, DOWN, "{head}");
        assert!(over.try_recv().is_err(), "it was waited for: {head}");
    }
}

/// On a busy machine an answer takes seconds.
#[test]
fn one_vantage_may_take_as_long_as_is_waited_for_all() {
    let code = "
import urllib.request, regionwatch_check
limits = []
urllib.request.urlopen = lambda url, timeout: limits.append(timeout)
try:
    regionwatch_check.fetch('http://192.0.2.1')
except (AttributeError, TypeError):
    pass
assert limits == [regionwatch_check.PATIENCE] == [5], limits";
    let output = command("python3").args(["-c", code]).current_dir(example("")).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

/// A command that cannot switch yet goes on: its order was in time.
#[test]
fn an_order_that_began_in_time_is_repeated_after_it_expired() {
    let vantages = vantages();
    let code = "
import os, sys, regionwatch_check
def act():
    global calls
    calls += 1
    assert 'EXPIRES_AT' not in os.environ
    if calls == 1:
        raise OSError('not yet')
    return 'done'
calls = 0
sys.exit(regionwatch_check.switch(os.environ['PEER_REGION'], 'act', act))";
    let run = |end: &str| {
        let mut command = command("python3");
        command.args(["-c", code]).current_dir(example("")).env("VANTAGES", urls(&vantages)).env("EXPIRES_AT", end);
        let output = command.output().unwrap();
        (output.status.success(), said(&output))
    };
    let (ok, said) = run("2999-11-21T08:14:23.404Z");
    assert!(ok && said.contains("not yet") && said.contains("done"), "{said}");
    for end in ["2026-11-21T08:14:23.404Z", "tomorrow", "2999-11-21"] {
        let (ok, said) = run(end);
        assert!(!ok && said.contains("the order expired"), "{end}: {said}");
    }
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
    let (at, url) = (listen.to_string(), format!("http://{listen}"));
    let one = [("MIN_VANTAGES", "1")];
    // A region that is to go down is up for some seconds only, in which a busy machine may not ask.
    let well = Running::start(binary(), &["demo", "--listen", &at], &[]);
    eventually("the region is up", Duration::from_secs(20), || (check(&url, &one).0 == UP).then_some(()));
    drop(well);
    let demo = Running::start(binary(), &["demo", "--kill", REGION, "--listen", &at], &[]);
    eventually("the region is held down", Duration::from_secs(45), || (check(&url, &one).0 == DOWN).then_some(()));
    drop(demo);
    assert_eq!(check(&url, &one).0, UNCLEAR);
    let vantage = Vantage::start("eu-west-1", "held");
    assert_eq!(check(&vantage.fake.url(), &one).0, DOWN);
}
