//! docs/failover.md, followed word for word but for ports and folders.

use std::{collections::BTreeSet, net::SocketAddr, process::Command, time::Duration};

use serde_json::Value;
use testkit::{
    binary,
    needs::{
        Need::{self, Tool},
        require,
    },
    process::{Running, eventually, free, request, write},
    programs::cargo,
};

pub(crate) use testkit::programs::webhook_receiver as receiver;

/// A command of the page as a shell reads it: joined lines, without the prompt.
fn command<'a>(page: &'a str, begins: &str) -> Vec<String> {
    let from = page.find(&format!("$ {begins}")).unwrap_or_else(|| panic!("no {begins} on the page")) + 2;
    let text: &'a str = &page[from..];
    let mut line = String::new();
    for part in text.lines() {
        line.push_str(part.trim().trim_end_matches('\\'));
        if !part.ends_with('\\') {
            break;
        }
    }
    let words = Command::new("sh").args(["-c", &format!("printf '%s\\n' {line}")]).output().unwrap();
    String::from_utf8(words.stdout).unwrap().lines().map(str::to_owned).collect()
}

pub(crate) fn incidents(receiver: SocketAddr) -> Option<Vec<Value>> {
    serde_json::from_str(&request(receiver, "GET", "/incidents")?.body).ok()
}

#[test]
fn the_commands_of_the_failover_page_lead_to_a_webhook_call() {
    require(&[Tool("prometheus-alertmanager"), Need::Ping]);
    let page = std::fs::read_to_string(format!("{}/docs/failover.md", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (receiver_at, alertmanager_at, demo_at) = (free(), free(), free());
    let here = |word: &String| {
        word.replace("127.0.0.1:9099", &receiver_at.to_string())
            .replace("127.0.0.1:9093", &alertmanager_at.to_string())
            .replace("/tmp/", &format!("{}/", folder.path().display()))
    };
    let start = |program: &str, words: &[String]| {
        let words: Vec<_> = words.iter().map(here).collect();
        Running::start(program, &words.iter().map(String::as_str).collect::<Vec<_>>(), &[])
    };
    assert!(page.contains("$ cargo build --release -p regionwatch -p webhook-receiver\n"));

    let mut words = command(&page, "target/release/webhook_receiver")[1..].to_vec();
    words.iter_mut().for_each(|word| *word = word.replace("failovers.jsonl", "/tmp/failovers.jsonl"));
    let receiver = start(receiver().to_str().unwrap(), &words);
    eventually("the receiver listens", Duration::from_secs(5), || incidents(receiver_at));

    let config = page.split("cat > /tmp/alertmanager.yml <<'END'\n").nth(1).unwrap().split("   END\n").next().unwrap();
    let config: String = config.lines().map(|line| format!("{}\n", &line[3..])).collect();
    write(folder.path(), "alertmanager.yml", &here(&config));
    let _alertmanager = start("prometheus-alertmanager", &command(&page, "prometheus-alertmanager")[1..]);
    eventually("Alertmanager is ready", Duration::from_secs(15), || {
        request(alertmanager_at, "GET", "/-/ready").filter(|answer| answer.status == 200)
    });

    let mut words = command(&page, "target/release/regionwatch")[1..].to_vec();
    assert_eq!(words[0], "demo");
    words.extend(["--listen".to_owned(), demo_at.to_string()]);
    let demo = start(binary(), &words);
    let orders = eventually("both orders", Duration::from_secs(45), || {
        let mut orders = incidents(receiver_at)?;
        orders.retain(|order| order["decision"] == "accepted");
        (orders.len() == 2).then_some(orders)
    });
    for (order, stage) in orders.iter().zip(["prepare", "execute"]) {
        assert_eq!(order["stage"], stage, "{order:#}\n{}", demo.said());
        assert_eq!(order["peer_region"], "us-east-1");
    }
    // The page says it, and why.
    assert!(page.contains("execute: accepted, to eu-west-1"));
    assert_eq!(orders[1]["target"], "eu-west-1");
    eventually("what was run", Duration::from_secs(5), || {
        receiver.said().contains("switch us-east-1 over to eu-west-1").then_some(())
    });
    // Another vantage may have told first.
    for line in ["us-east-1 goes down now", "stage=prepare", "stage=execute", "from=suspect to=down"] {
        eventually(line, Duration::from_secs(5), || demo.said().contains(line).then_some(()));
    }
}

#[test]
fn no_dependency_is_compiled_again_for_the_example_receiver() {
    let packages = |package: &str| -> BTreeSet<String> {
        let edges = ["--edges", "normal,build", "--prefix", "none", "--format", "{p} {f}"];
        let output = cargo(&[&["tree", "--package", package], &edges[..]].concat()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| line.trim_end_matches(" (*)").to_owned()).collect()
    };
    let (own, receiver) = (packages("regionwatch"), packages("webhook-receiver"));
    let other: Vec<_> = receiver.difference(&own).filter(|line| !line.starts_with("webhook-receiver ")).collect();
    assert!(receiver.len() > 50 && other.is_empty(), "{other:#?}");
}

#[test]
fn promtool_accepts_the_prometheus_configuration_of_the_page() {
    require(&[Tool("promtool")]);
    let root = env!("CARGO_MANIFEST_DIR");
    let page = std::fs::read_to_string(format!("{root}/docs/failover.md")).unwrap();
    let text = page.split("```yaml\n").find(|block| block.starts_with("global:")).unwrap().split("```").next().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let config = write(folder.path(), "prometheus.yml", text);
    let check = || Command::new("promtool").args(["check", "config", &config]).output().unwrap();
    assert!(!check().status.success(), "it must look at the rules, which are not there yet");
    std::fs::copy(format!("{root}/alerts/regionwatch.rules.yml"), folder.path().join("regionwatch.rules.yml")).unwrap();
    let output = check();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 rule files found"), "{said}");
    for part in ["params: {collect: [state]}", "scrape_interval: 1s", "rule_files:", "alertmanagers:"] {
        assert!(text.contains(part), "{part}");
    }
    assert!(page.contains("--rules.alert.resend-delay="));
}
