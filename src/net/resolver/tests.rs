use tokio::time::{Instant, timeout};

use super::{lookup::Part, *};

fn addresses(list: &[&str]) -> [Part; 2] {
    let all = || list.iter().map(|a| a.parse::<IpAddr>().unwrap());
    [Some(all().filter(IpAddr::is_ipv4).collect()), Some(all().filter(IpAddr::is_ipv6).collect())]
}

/// Of one name.
fn apply(entry: &mut Entry, parts: [Part; 2], duration: Duration, has_route: impl Fn(IpAddr) -> bool) {
    super::apply(entry, Found { parts, place: None }, duration, has_route);
}

fn attempt() -> Attempt {
    Attempt::new(Instant::now())
}

fn lookup(entry: &watch::Sender<Entry>, family: AddressFamily) -> ResolvedHost {
    let source = Source::Name(entry.subscribe());
    ResolvedHost { source, family, turn: Arc::default(), reported: Mutex::new(0) }
}

impl ResolvedHost {
    /// A name that has these addresses for good.
    pub(crate) fn fixed(list: &[&str]) -> Self {
        let (sender, _receiver) = watch::channel(Entry::default());
        sender.send_modify(|e| apply(e, addresses(list), Duration::ZERO, |_| true));
        lookup(&sender, AddressFamily::Any)
    }
}

#[tokio::test]
async fn a_silent_resolver_leaves_the_last_addresses_in_use() {
    let (sender, _receiver) = watch::channel(Entry::default());
    sender.send_modify(|e| apply(e, addresses(&["192.0.2.1"]), Duration::ZERO, |_| true));
    sender.send_modify(|e| apply(e, [None, None], Duration::ZERO, |_| true));
    assert_eq!(lookup(&sender, AddressFamily::Any).address(&attempt()).await, Ok("192.0.2.1".parse().unwrap()));
}

#[tokio::test]
async fn a_name_that_stops_existing_fails_with_resolve() {
    let (sender, _receiver) = watch::channel(Entry::default());
    sender.send_modify(|e| apply(e, addresses(&["192.0.2.1"]), Duration::ZERO, |_| true));
    sender.send_modify(|e| apply(e, addresses(&[]), Duration::ZERO, |_| true));
    assert_eq!(lookup(&sender, AddressFamily::Any).address(&attempt()).await, Err(Failure::Resolve));
}

#[test]
fn an_outage_of_a_name_is_logged_once_with_its_peers() {
    let mut entry = Entry::default();
    let mut next = |part: [Part; 2]| {
        let before = entry.answer.clone();
        apply(&mut entry, part, Duration::ZERO, |_| true);
        change(&before, &entry.answer)
    };
    let (some, other) = (|| addresses(&["192.0.2.1"]), || addresses(&["192.0.2.2"]));
    assert_eq!([next([None, None]), next([None, None]), next(addresses(&[]))], [Some(Change::Lost), None, None]);
    assert_eq!([next(some()), next(other()), next([None, None])], [Some(Change::Found), None, None]);
    assert_eq!([next(addresses(&[])), next(some())], [Some(Change::Lost), Some(Change::Found)]);

    let peers: BTreeSet<_> = ["us-east-1", "eu-west-1"].iter().map(|peer| Region::new(peer).unwrap()).collect();
    let line = without_address("us.example.com", AddressFamily::Any, true, Some(&peers));
    assert!(line.starts_with("us.example.com has no address: DNS has none"), "{line}");
    assert!(line.ends_with(" (peers eu-west-1, us-east-1)"), "{line}");
    let line = without_address("n", AddressFamily::V6, false, None);
    assert_eq!(line, "n has no IPv6 address: no name server answers, so its probes fail with \"resolve\"");
}

#[tokio::test]
async fn the_family_decides_and_any_prefers_ipv4() {
    let (sender, _receiver) = watch::channel(Entry::default());
    sender.send_modify(|e| apply(e, addresses(&["2001:db8::1", "192.0.2.1"]), Duration::ZERO, |_| true));
    let v6 = Ok("2001:db8::1".parse().unwrap());
    assert_eq!(lookup(&sender, AddressFamily::Any).address(&attempt()).await, Ok("192.0.2.1".parse().unwrap()));
    assert_eq!(lookup(&sender, AddressFamily::V6).address(&attempt()).await, v6);
    sender.send_modify(|e| apply(e, addresses(&["2001:db8::1"]), Duration::ZERO, |_| true));
    assert_eq!(lookup(&sender, AddressFamily::Any).address(&attempt()).await, v6);
    assert_eq!(lookup(&sender, AddressFamily::V4).address(&attempt()).await, Err(Failure::Resolve));
}

#[tokio::test]
async fn an_answer_for_one_family_keeps_the_addresses_of_the_other() {
    let (sender, _receiver) = watch::channel(Entry::default());
    sender.send_modify(|e| apply(e, addresses(&["2001:db8::1", "192.0.2.1"]), Duration::ZERO, |_| true));
    let v4_only = [Some(vec!["192.0.2.2".parse().unwrap()]), None];
    sender.send_modify(|e| apply(e, v4_only, Duration::ZERO, |_| true));
    let address = |family| lookup(&sender, family);
    assert_eq!(address(AddressFamily::V6).address(&attempt()).await, Ok("2001:db8::1".parse().unwrap()));
    assert_eq!(address(AddressFamily::V4).address(&attempt()).await, Ok("192.0.2.2".parse().unwrap()));
}

#[tokio::test]
async fn a_silent_address_gives_way_to_the_next_one_of_its_family() {
    let (sender, _receiver) = watch::channel(Entry::default());
    let all = ["192.0.2.2", "192.0.2.1", "192.0.2.3", "2001:db8::1"];
    sender.send_modify(|e| apply(e, addresses(&all), Duration::ZERO, |_| true));
    let host = lookup(&sender, AddressFamily::Any);
    let probe = async || {
        let attempt = attempt();
        let address = host.address(&attempt).await.unwrap().to_string();
        (address, attempt)
    };
    let (first, attempt) = probe().await;
    let (again, overlapping) = probe().await;
    assert_eq!([&*first, &*again], ["192.0.2.1"; 2]);
    attempt.note_silence();
    let (second, attempt) = probe().await;
    assert_eq!(second, "192.0.2.2");
    // What was sent to the first one before says nothing of the second.
    overlapping.note_silence();
    assert_eq!(probe().await.0, "192.0.2.2");
    attempt.note_silence();
    let (third, attempt) = probe().await;
    attempt.note_silence();
    assert_eq!([third, probe().await.0], ["192.0.2.3", "192.0.2.1"]);
    // One that is gone gives way, too.
    sender.send_modify(|e| apply(e, addresses(&["192.0.2.7", "192.0.2.9"]), Duration::ZERO, |_| true));
    assert_eq!(probe().await.0, "192.0.2.7");
}

#[tokio::test]
async fn all_addresses_have_their_turn_where_that_is_wanted() {
    let (sender, _receiver) = watch::channel(Entry::default());
    sender.send_modify(|e| apply(e, addresses(&["192.0.2.2", "192.0.2.1"]), Duration::ZERO, |_| true));
    let host = lookup(&sender, AddressFamily::Any).using(AddressChoice::All);
    let mut probed = Vec::new();
    for _ in 0..4 {
        let attempt = attempt();
        probed.push(host.address(&attempt).await.unwrap().to_string());
        attempt.note_silence();
    }
    assert_eq!(probed, ["192.0.2.1", "192.0.2.2", "192.0.2.1", "192.0.2.2"]);
}

#[tokio::test]
async fn of_two_families_the_one_that_has_a_route_is_used() {
    let (sender, _receiver) = watch::channel(Entry::default());
    let both = || addresses(&["2001:db8::1", "192.0.2.1"]);
    sender.send_modify(|e| apply(e, both(), Duration::ZERO, |address| address.is_ipv6()));
    let v6 = Ok("2001:db8::1".parse().unwrap());
    assert_eq!(lookup(&sender, AddressFamily::Any).address(&attempt()).await, v6);
    let v4 = Ok("192.0.2.1".parse().unwrap());
    assert_eq!(lookup(&sender, AddressFamily::V4).address(&attempt()).await, v4);
    sender.send_modify(|e| apply(e, both(), Duration::ZERO, |_| false));
    assert_eq!(lookup(&sender, AddressFamily::Any).address(&attempt()).await, v4);
}

/// The address of a name, once it is this one.
async fn becomes(host: &ResolvedHost, address: &str) {
    let wanted = Ok(address.parse().unwrap());
    let found = async {
        while host.address(&attempt()).await != wanted {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(30), found).await.unwrap_or_else(|_| panic!("not {address}"));
}

#[tokio::test]
async fn the_files_of_the_system_are_read_again_when_they_change() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let interval = Duration::from_millis(20);
    let files =
        SystemFiles { resolv_conf: path("resolv.conf"), hosts: path("hosts"), interval, ..SystemFiles::default() };
    let resolver = Resolver::from_files(files.clone());
    let host = |name: &str| resolver.lookup(&Host::Name(name.into()), AddressFamily::Any);
    // No file yet, and no name server.
    let (web, localhost) = (host("web_1"), host("localhost"));
    becomes(&localhost, "127.0.0.1").await;
    std::fs::write(&files.hosts, "192.0.2.7 Web_1 # as Compose names it\n").unwrap();
    becomes(&web, "192.0.2.7").await;
    std::fs::write(&files.resolv_conf, "search example.com\nnameserver 127.0.0.1\n").unwrap();
    std::fs::write(&files.hosts, "192.0.2.8 web_1\n192.0.2.9 app.svc app.example.com\n").unwrap();
    becomes(&web, "192.0.2.8").await;
    becomes(&host("app.svc"), "192.0.2.9").await;
    // For getent, too, a name of the hosts file stands there as it is asked for.
    for other in ["app.svc.", "app"] {
        assert_eq!(host(other).address(&attempt()).await, Err(Failure::Resolve), "{other}");
    }
}

#[tokio::test]
async fn addresses_of_another_name_of_the_search_list_do_not_stay_in_use() {
    let (sender, _receiver) = watch::channel(Entry::default());
    let found = |parts: [Part; 2], place: Option<usize>| {
        sender.send_modify(|e| super::apply(e, Found { parts, place }, Duration::ZERO, |_| true));
    };
    let v4 = || Some(vec!["192.0.2.1".parse().unwrap()]);
    let address =
        async |family| lookup(&sender, family).address(&attempt()).await.ok().map(|address| address.to_string());
    found(addresses(&["2001:db8::1"]), Some(1));
    // Nothing was said about the family that is known.
    found([v4(), None], Some(1));
    assert_eq!(address(AddressFamily::V6).await.as_deref(), Some("2001:db8::1"));
    found([None, None], None);
    assert_eq!(address(AddressFamily::V6).await.as_deref(), Some("2001:db8::1"));
    found([v4(), None], Some(2));
    assert_eq!(address(AddressFamily::V6).await, None);
    assert_eq!(address(AddressFamily::Any).await.as_deref(), Some("192.0.2.1"));
}

#[tokio::test]
async fn each_lookup_is_reported_once() {
    let (sender, _receiver) = watch::channel(Entry::default());
    sender.send_modify(|e| apply(e, addresses(&["192.0.2.1"]), Duration::from_millis(7), |_| true));
    let lookup = lookup(&sender, AddressFamily::Any);
    let mut phases = PhaseTimes::default();
    lookup.report(&mut phases);
    lookup.report(&mut phases);
    assert_eq!(phases.iter().collect::<Vec<_>>(), [(Phase::Resolve, Duration::from_millis(7))]);
}
