//! What the status page costs the program that is shipped, where there is much to show.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    thread::sleep,
    time::Duration,
};

use testkit::{
    engine::{Container, Files, Network, need_engine},
    process::{eventually, get, request},
    web::web,
};

const PEERS: usize = 50;
const KINDS: usize = 4;
const PAGES: usize = 21;
/// An overview serves everybody who asks within half a second.
const APART: Duration = Duration::from_millis(550);
const MOST: Duration = Duration::from_millis(10);

/// Fifty peers, all of them on this machine, where no name server is.
fn configuration(here: SocketAddr) -> String {
    let peer = |n: usize| {
        format!(
            "  - region: region-{n:02}\n    location: {{latitude: {n}, longitude: {n}}}\n    targets:\n      \
             - {{name: edge, host: {}, probes: [{{kind: icmp}}, {{kind: tcp, port: {port}}}, \
             {{kind: dns, port: {port}, query: a.example}}, {{kind: http, url: \"http://{here}/\", interval: 250ms}}]}}\n",
            here.ip(),
            port = here.port()
        )
    };
    let peers: String = (0..PEERS).map(peer).collect();
    format!("region: here\nlocation: {{latitude: 0, longitude: 0}}\npeers:\n{peers}")
}

/// How long the thread that serves has had a core (Linux, Documentation/scheduler/sched-stats.rst).
fn served_for(pid: &str) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(|entry| entry.unwrap().path());
    let server = threads.into_iter().find(|thread| fs::read_to_string(thread.join("comm")).unwrap() == "server\n");
    let stat = fs::read_to_string(server.unwrap().join("schedstat")).unwrap();
    Duration::from_nanos(stat.split(' ').next().unwrap().parse().unwrap())
}

#[test]
fn a_page_of_fifty_peers_and_two_hundred_paths_takes_less_than_ten_milliseconds_of_a_core() {
    need_engine();
    let network = Network::new();
    let listener = TcpListener::bind((network.address(1), 0)).unwrap();
    let files = Files::new();
    files.write("regionwatch.yaml", &configuration(listener.local_addr().unwrap()));
    web(listener);
    let container = Container::with_files(&network, 11, &[], files);
    eventually("everything is measured", Duration::from_secs(30), || {
        request(container.addr, "GET", "/-/ready").filter(|answer| answer.status == 200)
    });
    // So that there is something in every picture and in every window.
    sleep(Duration::from_secs(15));
    let pid = container.inspect("{{.State.Pid}}");
    let mut costs: Vec<_> = (0..PAGES)
        .map(|_| {
            sleep(APART);
            let before = served_for(&pid);
            let page = get(container.addr, "/");
            assert_eq!(page.matches("data-path=").count(), PEERS * KINDS);
            served_for(&pid) - before
        })
        .collect();
    costs.sort();
    eprintln!("a page of {PEERS} peers: {:.1?} of CPU, {:.1?} to {:.1?}", costs[PAGES / 2], costs[0], costs[PAGES - 1]);
    assert!(costs[PAGES / 2] < MOST, "{costs:?}");
}
