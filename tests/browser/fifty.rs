//! A page of fifty peers and two hundred paths.

use std::{
    fmt::Write as _,
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    thread,
};

use serde_json::json;
use testkit::{
    needs::{Need::Ping, require},
    process::{free, sidecar, write},
    web::web,
};

use crate::{driver::need_browser, page::Page};

const PEERS: u8 = 50;
const UPDATES: usize = 15;

fn address(peer: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 80, 0, peer + 1)
}

/// A DNS server on an address of its own, for the answer must come from there: the question, and 192.0.2.1.
fn dns(address: Ipv4Addr) -> u16 {
    let socket = UdpSocket::bind((address, 0)).unwrap();
    let port = socket.local_addr().unwrap().port();
    thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((read, asker)) = socket.recv_from(&mut buffer) {
            let Some(name) = buffer[..read].get(12..).and_then(|rest| rest.iter().position(|byte| *byte == 0)) else {
                continue;
            };
            let mut answer = buffer[..12 + name + 5].to_vec();
            answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
            let _ = socket.send_to(&answer, asker);
        }
    });
    port
}

fn configuration(listen: SocketAddr) -> String {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    web(listener);
    let mut text = format!("region: here\nlisten: \"{listen}\"\npeers:\n");
    for peer in 0..PEERS {
        let (host, dns) = (address(peer), dns(address(peer)));
        let _ = write!(
            text,
            "  - region: region-{peer}\n    targets:\n      - name: edge\n        host: \"{host}\"\n        probes:\n\
             \x20         - {{kind: icmp}}\n\
             \x20         - {{kind: tcp, port: {port}}}\n\
             \x20         - {{kind: dns, port: {dns}, query: app.example.com, record: A}}\n\
             \x20         - {{kind: http, url: \"http://{host}:{port}/\"}}\n"
        );
    }
    text
}

#[test]
fn two_hundred_paths_load_within_a_second_and_stay_small() {
    need_browser();
    require(&[Ping]);
    let (folder, listen) = (tempfile::tempdir().unwrap(), free());
    let config = write(folder.path(), "fifty.yaml", &configuration(listen));
    let sidecar = sidecar(&["run", "--config", &config], &[], listen);
    let page = Page::open(&format!("http://{listen}/"));
    let rows = page.order("rows", json!({}));
    assert_eq!(rows["peers"].as_array().unwrap().len(), usize::from(PEERS));
    assert_eq!(rows["paths"].as_array().unwrap().len(), 4 * usize::from(PEERS));

    let loads = page.order("load", json!({"times": 5, "server": sidecar.child.id()}));
    let loads: Vec<(f64, f64)> = serde_json::from_value(loads).unwrap();
    println!("loaded in these ms, and for so many of them processes got no processor: {loads:?}");
    // Tests run beside each other on two cores: the middle one of five.
    let mut times: Vec<_> = loads.iter().map(|(took, withheld)| took - withheld).collect();
    times.sort_by(f64::total_cmp);
    assert!(times[2] < 1_000.0, "{loads:?}");

    let grown = page.order("grown", json!({"updates": UPDATES}));
    let number = |of: &str, name: &str| grown[of][name].as_f64().unwrap();
    let tasks: Vec<f64> = serde_json::from_value(grown["tasks"].clone()).unwrap();
    println!("{} {} busy for {:?} ms at a time", grown["before"], grown["after"], &tasks[..tasks.len().min(9)]);
    // Each update is a task, at least.
    assert!(tasks.len() >= UPDATES, "{tasks:?}");
    assert!(tasks[0] < 200.0, "{tasks:?}");
    assert!(number("after", "elements") < 8_000.0, "{grown}");
    assert!(number("after", "elements") < number("before", "elements") * 1.05, "{grown}");
    assert!(number("after", "nodes") < number("before", "nodes") * 1.5, "{grown}");
    assert!(number("after", "heap") < number("before", "heap") + 5e6, "{grown}");
    assert_eq!(page.order("layout", json!({"widths": [360, 1920]})), json!([]));
    assert_eq!(page.close(), Vec::<String>::new());
}
