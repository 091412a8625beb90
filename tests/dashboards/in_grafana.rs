//! `dashboards/verify-in-grafana`, against something that answers as Grafana does, and against faults in its answers.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Command, Output},
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use serde_json::{Value, json};
use testkit::{
    needs::{Need::Tool, require},
    process::free,
};

use crate::{dashboard::shipped, path};

/// What a Grafana answers to a path: the status, and the body.
type Answer = (u16, String);

const OVERVIEW: &str = "/api/dashboards/uid/regionwatch-overview";
const SOURCE: &str = "/api/datasources/uid/regionwatch-prometheus/health";

/// As a Grafana answers that has all that it should have.
fn sound(path: &str) -> Answer {
    let file = path.strip_prefix("/api/dashboards/uid/");
    let dashboard = shipped().into_iter().find(|dashboard| file == Some(&dashboard.file));
    let body = match (path, dashboard) {
        ("/api/health", _) => json!({"commit": "0", "database": "ok", "version": "12.2.0"}),
        (SOURCE, _) => json!({"message": "Successfully queried the Prometheus API.", "status": "OK"}),
        (_, Some(mut dashboard)) => {
            dashboard.json["id"] = json!(7);
            dashboard.json["version"] = json!(3);
            json!({"meta": {"provisioned": true}, "dashboard": dashboard.json})
        }
        _ => return (404, json!({"message": "Dashboard not found"}).to_string()),
    };
    (200, body.to_string())
}

/// The path that a request asks for, and who asks.
fn read_request(stream: &TcpStream) -> Option<(String, String)> {
    let mut lines = BufReader::new(stream).lines();
    let path = lines.next()?.ok()?.split(' ').nth(1)?.to_owned();
    let mut credentials = String::new();
    for line in lines.map_while(Result::ok).take_while(|line| !line.is_empty()) {
        if let Some(basic) = line.strip_prefix("Authorization: Basic ") {
            basic.clone_into(&mut credentials);
        }
    }
    Some((path, credentials))
}

/// Answers for as long as the tests run.
fn serve(answer: impl Fn(&str, &str) -> Answer + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let Some((path, credentials)) = read_request(&stream) else { continue };
            let (status, body) = answer(&path, &credentials);
            let head = format!("HTTP/1.1 {status} Any\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all((head + &body).as_bytes());
        }
    });
    addr
}

fn verify(wait: &str, args: &[&str]) -> (bool, String) {
    let mut command = Command::new(path("dashboards/verify-in-grafana"));
    let Output { status, stdout, stderr } = command.args(args).env("WAIT", wait).output().unwrap();
    (status.success(), format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr)))
}

/// What is said of a Grafana of which one answer is another one.
fn verify_with(place: &'static str, status: u16, body: String) -> String {
    let addr = serve(move |path, _| if path == place { (status, body.clone()) } else { sound(path) });
    let (passed, said) = verify("0", &[&format!("http://{addr}")]);
    assert!(!passed, "{place} {status}: {said}");
    said
}

fn need_tools() {
    require(&[Tool("bash"), Tool("curl"), Tool("jq")]);
}

#[test]
fn a_complete_grafana_passes_with_its_password_and_with_or_without_a_trailing_slash() {
    need_tools();
    let addr = serve(|path, credentials| {
        // user:pass word
        if credentials == "dXNlcjpwYXNzIHdvcmQ=" { sound(path) } else { (401, r#"{"message":"Unauthorized"}"#.into()) }
    });
    for url in [format!("http://{addr}"), format!("http://{addr}/")] {
        let (passed, said) = verify("0", &[&url, "user:pass word"]);
        assert!(passed && said.lines().count() == 1, "{said}");
    }
    let (passed, said) = verify("0", &[&format!("http://{addr}")]);
    assert!(!passed && said.contains("401") && said.contains("Unauthorized"), "{said}");
}

#[test]
fn each_grafana_fault_is_reported_on_one_line() {
    need_tools();
    let overview = |fault: fn(&mut Value)| {
        let mut answer: Value = serde_json::from_str(&sound(OVERVIEW).1).unwrap();
        fault(&mut answer["dashboard"]);
        answer.to_string()
    };
    let faults = [
        ("/api/health", 503, r#"{"database":"failing"}"#.to_owned(), "503"),
        ("/api/health", 200, r#"{"database":"failing"}"#.to_owned(), "failing"),
        ("/api/health", 200, "<html>\n</html>".to_owned(), "not an object of JSON: <html> </html>"),
        (OVERVIEW, 404, r#"{"message":"Dashboard not found"}"#.to_owned(), "404, and not 200: Dashboard not found"),
        (OVERVIEW, 200, "[]".to_owned(), "not an object of JSON: []"),
        (OVERVIEW, 200, "{}".to_owned(), "regionwatch-overview.json"),
        (OVERVIEW, 200, overview(|it| drop(it["panels"].as_array_mut().unwrap().pop())), "15 panels, and the file 16"),
        (OVERVIEW, 200, overview(|it| it["title"] = "Home".into()), "\"Home\""),
        (OVERVIEW, 200, overview(|it| it["panels"][0]["targets"][0]["expr"] = "up".into()), "other queries"),
        (SOURCE, 404, r#"{"message":"Data source not found"}"#.to_owned(), "Data source not found"),
        (SOURCE, 400, r#"{"message":"connection refused","status":"ERROR"}"#.to_owned(), "connection refused"),
        (SOURCE, 200, r#"{"message":"no such host","status":"ERROR"}"#.to_owned(), "no such host"),
    ];
    for (place, status, body, what) in faults {
        let said = verify_with(place, status, body);
        assert!(said.contains(what) && said.lines().count() == 1, "{what}: {said}");
    }
    let (passed, said) = verify("0", &[&format!("http://{}", free())]);
    assert!(!passed && said.contains("curl: (7)") && said.lines().count() == 1, "{said}");
}

#[test]
fn verification_waits_until_grafana_has_loaded_its_folder() {
    need_tools();
    let asked = AtomicU32::new(0);
    let addr = serve(move |path, _| {
        let late = path == OVERVIEW && asked.fetch_add(1, Ordering::Relaxed) == 0;
        if late { sound("/none") } else { sound(path) }
    });
    let (passed, said) = verify("30", &[&format!("http://{addr}")]);
    assert!(passed, "{said}");
}

#[test]
fn a_wrong_argument_is_rejected_with_the_expected_form() {
    need_tools();
    for (wait, args, what) in [
        ("0", &[][..], "expected the address of Grafana"),
        ("0", &["127.0.0.1:3000"], "http://127.0.0.1:3000"),
        ("0", &["http://127.0.0.1:3000", "admin"], "expected USER:PASSWORD"),
        ("0", &["http://127.0.0.1:3000", "a:b", "c"], "expected the address of Grafana"),
        ("soon", &["http://127.0.0.1:3000"], "WAIT=soon"),
    ] {
        let (passed, said) = verify(wait, args);
        assert!(!passed && said.contains(what) && said.lines().count() == 1, "{args:?}: {said}");
    }
}
