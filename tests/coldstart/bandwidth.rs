//! How fast this node pulls: what is measured is what passed a line of a known rate.

use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::Value;
use testkit::{
    engine::{docker, engine, tried},
    images::{context, dockerfile},
    needs::{Need, require},
    process::{Running, eventually, free, output, write},
    stalls::Stalls,
};
use tokio::time::Instant;

use crate::ranking::noise;

/// Bytes per second that the line carries to its clients: 40 Mbit/s; and so few that the layers take longer than the measurement.
const RATE: u32 = 5_000_000;
const SLOW: u32 = 600_000;

/// What the line has carried since it was last asked: when it began and ended, and the bytes.
type Carried = Arc<Mutex<Option<(Instant, Instant, u64)>>>;

/// A line to a server: as fast as it gets in one direction, and of a rate for all connections together in the other.
struct Line {
    address: SocketAddr,
    carried: Carried,
    bytes_per_second: Arc<AtomicU32>,
}

impl Line {
    fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let line = Self { address, carried: Carried::default(), bytes_per_second: Arc::new(AtomicU32::new(RATE)) };
        let bytes_per_second = Arc::clone(&line.bytes_per_second);
        let (carried, free_at) = (Arc::clone(&line.carried), Arc::new(Mutex::new(Instant::now())));
        // It ends with the process.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(server) else { continue };
                let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                thread::spawn(move || passed(from, to, |_| {}));
                let (carried, free_at) = (Arc::clone(&carried), Arc::clone(&free_at));
                let bytes_per_second = Arc::clone(&bytes_per_second);
                thread::spawn(move || {
                    passed(server, client, |bytes| {
                        let until = {
                            let mut free_at = free_at.lock().unwrap();
                            let rate = bytes_per_second.load(Ordering::Relaxed);
                            *free_at = (*free_at).max(Instant::now()) + Duration::from_secs(1) * bytes as u32 / rate;
                            *free_at
                        };
                        thread::sleep(until.saturating_duration_since(Instant::now()));
                        let mut carried = carried.lock().unwrap();
                        let now = Instant::now();
                        let (_, last, sum) = carried.get_or_insert((now, now, 0));
                        (*last, *sum) = (now, *sum + bytes as u64);
                    });
                });
            }
        });
        line
    }

    /// The bits in a second that it has carried, and for how long it did.
    fn rate(&self) -> (f64, Duration) {
        let (first, last, bytes) = self.carried.lock().unwrap().take().unwrap();
        (bytes as f64 * 8.0 / (last - first).as_secs_f64(), last - first)
    }
}

fn passed(mut from: TcpStream, mut to: TcpStream, mut wait: impl FnMut(usize)) {
    let mut piece = [0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut piece) {
        wait(length);
        if to.write_all(&piece[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// Whether a measured rate is that of the line. A machine that stands still shifts the beginning and the end of what is measured
/// against what passed the line.
fn is_that_of_the_line(bits: f64, (carried, took): (f64, Duration), stalls: &Stalls) -> bool {
    let shifted = 2.0 * stalls.worst().as_secs_f64() / took.as_secs_f64();
    (bits - carried).abs() < (0.05 + shifted) * carried
}

fn report(image: &str) -> (Value, String) {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("r.json").display().to_string();
    let run = output(&["coldstart", image, "--rounds", "1", "--bandwidth", "measured", "--out", &json], &[]);
    assert!(run.status.success(), "{run:?}");
    let document = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    (document, String::from_utf8_lossy(&run.stdout).into_owned())
}

#[test]
fn the_measured_bandwidth_is_that_of_the_line_to_the_registry_or_unknown() {
    require(&[engine(), Need::Tool("cc"), Need::Tool("docker-registry")]);
    for (name, bytes) in [("one", 4_000_000), ("two", 3_000_000), ("three", 2_000_000)] {
        fs::write(context().join(name), noise(bytes)).unwrap();
    }
    let text = "FROM scratch\nCOPY server /server\nCOPY one /one\nCOPY two /two\nCOPY three /three\nEXPOSE 8080\n\
                ENTRYPOINT [\"/server\"]\n";
    let built = dockerfile("measured", text);
    let (document, table) = report(&built);
    assert_eq!(document["measured_bandwidth"]["unknown"], "none of the images came from a registry", "{table}");
    assert!(document["results"][0]["pull"]["seconds"]["measured"].is_null(), "{table}");

    let folder = tempfile::tempdir().unwrap();
    let address = free();
    let configuration = format!(
        "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"{address}\"}}\n",
        folder.path().join("layers").display()
    );
    let path = write(folder.path(), "registry.yml", &configuration);
    let registry = Running::start("docker-registry", &["serve", &path], &[]);
    eventually("the registry listens", Duration::from_secs(30), || TcpStream::connect(address).ok());
    let line = Line::to(address);
    let image = format!("{}/coldstart:measured", line.address);
    docker(&["tag", &built, &image]);
    docker(&["push", "--quiet", &image]);
    line.carried.lock().unwrap().take();
    let stalls = Stalls::watch();
    let (document, table) = report(&image);
    let (measured, carried) = (&document["measured_bandwidth"], line.rate());
    let bits = measured["bits_per_second"].as_f64().unwrap_or_else(|| panic!("{table}"));
    assert!(is_that_of_the_line(bits, carried, &stalls), "{bits}, and {carried:?} passed the line: {table}");
    assert!(measured["bytes"].as_u64().unwrap() > 9_000_000, "{measured}");
    assert!(table.contains("This node pulls at ") && table.contains(" Mbit/s, measured"), "{table}");
    let pull = &document["results"][0]["pull"];
    let (seconds, bytes) = (pull["seconds"]["measured"].as_f64().unwrap(), pull["bytes"].as_f64().unwrap());
    assert!(seconds >= bytes * 8.0 / bits, "{pull}");

    // What has not arrived within the time that is measured is not waited for, and is no failure.
    line.bytes_per_second.store(SLOW, Ordering::Relaxed);
    line.carried.lock().unwrap().take();
    let (document, table) = report(&image);
    let (measured, carried) = (&document["measured_bandwidth"], line.rate());
    let bits = measured["bits_per_second"].as_f64().unwrap_or_else(|| panic!("{measured}: {table}"));
    assert!(is_that_of_the_line(bits, carried, &stalls), "{bits}, and {carried:?} passed the line: {table}");
    assert!(measured["bytes"].as_u64().unwrap() < 9_000_000, "{measured}");

    drop(registry);
    let (document, table) = report(&image);
    let unknown = document["measured_bandwidth"]["unknown"].as_str().unwrap();
    assert!(unknown.contains(&line.address.to_string()) && unknown.contains("cannot be reached"), "{unknown}");
    assert!(table.contains("unknown") && !table.contains(" Mbit/s"), "{table}");
    let _ = tried(&["rmi", &image]);
}
