//! What sidecars tell each other.

use std::time::Duration;

use regionwatch::quorum::Bulletin;

use crate::support::{eventually, free, get, sidecar, value, write};

#[test]
fn sidecars_read_each_others_bulletins_and_believe_no_unsigned_one() {
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = (free(), free());
    let config = |name: &str, own: &str, listen, peer: &str, url: String| {
        let probe = format!("{{kind: http, sidecar: true, url: '{url}', interval: 100ms}}");
        let peers = format!("peers: [{{region: {peer}, targets: [{{probes: [{probe}]}}]}}]");
        write(folder.path(), name, &format!("region: {own}\nlisten: {listen}\n{peers}\n"))
    };
    let one = config("here.yaml", "here", here, "there", format!("http://{there}/api/v1/regions"));
    let other = config("there.yaml", "there", there, "here", format!("http://{here}/-/healthy"));
    let _here = sidecar(&["run", "--config", &one], &[], here);
    let _there = sidecar(&["run", "--config", &other], &[], there);

    let count = |addr, own: &str, peer: &str, result: &str| {
        let labels = format!("{{vantage_region=\"{own}\",peer_region=\"{peer}\",result=\"{result}\"}}");
        value(&get(addr, "/metrics"), &format!("regionwatch_votes_received_total{labels}"))
    };
    eventually("bulletins have come both ways", Duration::from_secs(10), || {
        let unsigned = |addr, own, peer| count(addr, own, peer, "unsigned").is_some_and(|count| count >= 3.0);
        (unsigned(here, "here", "there") && unsigned(there, "there", "here")).then_some(())
    });
    assert_eq!(count(here, "here", "there", "accepted"), Some(0.0));
    let succeeded = "regionwatch_probe_success{vantage_region=\"here\",peer_region=\"there\"";
    assert_eq!(value(&get(here, "/metrics"), succeeded), Some(1.0), "who has no vote is alive all the same");

    let read = |addr| Bulletin::decode(get(addr, "/api/v1/regions").as_bytes()).unwrap();
    let (first, second) = (read(there), {
        std::thread::sleep(Duration::from_millis(50));
        read(there)
    });
    assert_eq!((first.vantage().as_str(), first.boot()), ("there", second.boot()));
    assert!(second.seq() > first.seq());
    assert_ne!(read(here).boot(), first.boot());
}
