//! What an operator commands, and what an instance answers.

use std::{fs, process::Output, time::Duration};

use testkit::process::{eventually, free, output, sidecar, write};

const SOON: Duration = Duration::from_secs(60);

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// An instance that no other one votes with decides alone.
#[test]
fn an_operator_orders_a_failover_and_takes_it_back_and_releases_the_region() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name).display().to_string();
    let key = output(&["keygen", &place("alice.key")], &[]);
    let public = String::from_utf8(key.stdout).unwrap();
    let listen = free();
    let peer = |name: &str| {
        let probe = format!("{{kind: tcp, port: {}}}", listen.port());
        format!("- {{region: {name}, targets: [{{host: 127.0.0.1, probes: [{probe}]}}]}}\n")
    };
    let text = format!(
        "listen: {listen}\nregion: here\noperators: ['alice={}']\nstate_dir: {}\npeers:\n{}{}",
        public.trim_end(),
        place("state"),
        peer("there"),
        peer("elsewhere")
    );
    let config = write(folder.path(), "regionwatch.yaml", &text);
    let _sidecar = sidecar(&["run", "--config", &config], &[], listen);
    let command = |words: &[&str]| {
        let key = place("alice.key");
        let output = output(&[words, &["--operator", "alice", "--key", &key, "--config", &config]].concat(), &[]);
        (output.status.code(), said(&output))
    };
    let explained = || said(&output(&["explain", "there", &format!("http://{listen}")], &[]));
    eventually("there is known", SOON, || explained().starts_with("there is healthy ").then_some(()));

    let (status, text) = command(&["failover", "there"]);
    assert!(status == Some(1) && text.contains("name the target with --to REGION"), "{text}");
    let (status, text) = command(&["failover", "there", "--to", "there"]);
    assert!(status == Some(1) && text.contains("--to there: is the region itself"), "{text}");
    let (status, text) = command(&["failover", "there", "--to", "nowhere"]);
    assert!(status == Some(1) && text.contains("nowhere is no region of this instance"), "{text}");
    assert_eq!(command(&["failover", "there", "--to", "here", "--force", " "]).0, Some(64));

    let (status, text) = command(&["failover", "there", "--to", "here", "--for", "1h"]);
    assert_eq!(status, Some(0), "{text}");
    assert!(text.starts_with("here: taken: alice has ordered the failover of there to here until "), "{text}");
    assert!(text.ends_with("\nthe failover of there is ordered by here\n"), "{text}");
    let text = explained();
    assert!(text.contains("The failover of there to here is ordered now.\n  No incident is open."), "{text}");
    let (status, text) = command(&["failover", "there", "--to", "elsewhere"]);
    assert!(status == Some(1) && text.contains("it was failed over to here, and is not released"), "{text}");
    // The slot is taken.
    let (status, text) = command(&["failover", "elsewhere", "--to", "here"]);
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("is not ordered now: other regions are failed over or come first.\n"), "{text}");
    assert_eq!(command(&["failover", "elsewhere", "--off"]).0, Some(0));

    let (status, text) = command(&["failover", "there", "--off"]);
    assert_eq!(status, Some(0), "{text}");
    let taken_back = "taken back for there: alice has ordered the failover of there to here until ";
    assert!(text.contains(taken_back) && !explained().contains("is ordered now"), "{text}");
    let (status, text) = command(&["release", "there"]);
    assert_eq!((status, &*text), (Some(0), "here: there is released\n"));
    let audit = || fs::read_to_string(folder.path().join("state/audit.log")).unwrap_or_default();
    for line in [
        r#""action":"failover","region":"there","target":"here","until":"#,
        r#""action":"failover","region":"elsewhere","target":"here","until":"#,
        r#""action":"release","region":"there","result":"there is released""#,
    ] {
        eventually(line, SOON, || audit().contains(line).then_some(()));
    }
}
