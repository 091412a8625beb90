//! What sidecars tell each other.

use std::time::Duration;

use regionwatch::decision::votes::VoteMessage;
use testkit::process::{eventually, free, get, sidecar, value, write};

#[test]
fn sidecars_count_each_others_votes_and_reject_unsigned_ones() {
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = (free(), free());
    let config = |name: &str, own: &str, listen, peer: &str, url: String| {
        let probe = format!("{{kind: http, sidecar: true, url: '{url}', interval: 100ms}}");
        let peers = format!("peers: [{{region: {peer}, targets: [{{probes: [{probe}]}}]}}]");
        write(folder.path(), name, &format!("region: {own}\nlisten: {listen}\n{peers}\n"))
    };
    let one = config("here.yaml", "here", here, "there", format!("http://{there}/api/v1/regions"));
    let other = config("there.yaml", "there", there, "here", format!("http://{here}/-/healthy"));
    let here_runs = sidecar(&["run", "--config", &one], &[], here);
    let there_runs = sidecar(&["run", "--config", &other], &[], there);

    let count = |addr, own: &str, peer: &str, result: &str| {
        let labels = format!("{{vantage_region=\"{own}\",peer_region=\"{peer}\",result=\"{result}\"}}");
        value(&get(addr, "/metrics"), &format!("regionwatch_votes_received_total{labels}"))
    };
    eventually("vote messages have come both ways", Duration::from_secs(10), || {
        let refused = |addr, own, peer, result| count(addr, own, peer, result).is_some_and(|count| count >= 3.0);
        (refused(here, "here", "there", "unsigned") && refused(there, "there", "here", "malformed")).then_some(())
    });
    for (sidecar, line) in [
        (&here_runs, "rejecting the votes of there: unsigned; this vantage has no key"),
        (&there_runs, "rejecting the votes of here: malformed; the answer is not from a sidecar"),
    ] {
        eventually(line, Duration::from_secs(5), || (sidecar.said().matches(line).count() == 1).then_some(()));
    }
    assert_eq!(count(here, "here", "there", "accepted"), Some(0.0));
    let succeeded = "regionwatch_probe_success{vantage_region=\"here\",peer_region=\"there\"";
    assert_eq!(value(&get(here, "/metrics"), succeeded), Some(1.0), "who has no vote is alive all the same");

    let read = |addr| VoteMessage::decode(get(addr, "/api/v1/regions").as_bytes()).unwrap();
    let (first, second) = (read(there), {
        std::thread::sleep(Duration::from_millis(50));
        read(there)
    });
    assert_eq!((first.vantage().as_str(), first.incarnation()), ("there", second.incarnation()));
    assert!(second.sequence() > first.sequence());
    assert_ne!(read(here).incarnation(), first.incarnation());
}

#[test]
fn a_wrong_key_is_logged_once_and_so_is_its_correction() {
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = (free(), free());
    let (key, wrong) = ("0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210");
    write(folder.path(), "there.key", wrong);
    write(folder.path(), "here.key", key);
    let config = |own: &str, listen, peer: &str, addr| {
        let probe = format!("{{kind: http, sidecar: true, url: 'http://{addr}/api/v1/regions', interval: 100ms}}");
        let peers = format!("peers: [{{region: {peer}, targets: [{{probes: [{probe}]}}]}}]");
        let text = format!("region: {own}\nlisten: {listen}\nvotes: {{key_file: {own}.key}}\n{peers}\n");
        write(folder.path(), &format!("{own}.yaml"), &text)
    };
    let (one, other) = (config("here", here, "there", there), config("there", there, "here", here));
    let watching = sidecar(&["run", "--config", &one], &[], here);
    let wrong = sidecar(&["run", "--config", &other], &[], there);
    let told = "WARN rejecting the votes of there: forged; its votes.key differs from ours; compare both";
    let again = "INFO accepting the votes of there again";
    let times = |line: &str| watching.said().matches(line).count();
    let count = |result: &str| {
        let labels = format!("{{vantage_region=\"here\",peer_region=\"there\",result=\"{result}\"}}");
        value(&get(here, "/metrics"), &format!("regionwatch_votes_received_total{labels}")).unwrap()
    };
    let (told_once, limit) = (|| (times(told) == 1).then_some(()), Duration::from_secs(10));
    eventually(told, limit, told_once);
    eventually("it goes on", limit, || (count("forged") >= 12.0).then_some(()));
    assert_eq!((times(told), times("rejecting"), times(again)), (1, 1, 0), "{}", watching.said());
    drop(wrong);
    write(folder.path(), "there.key", key);
    let _right = sidecar(&["run", "--config", &other], &[], there);
    eventually(again, limit, || (times(again) == 1).then_some(()));
    eventually("it goes on", limit, || (count("accepted") >= 12.0).then_some(()));
    assert_eq!((times("rejecting"), times(again)), (1, 1), "{}", watching.said());
}
