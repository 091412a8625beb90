//! `demo`: three peer regions that exist only on this machine, and a sidecar that measures them.
//!
//! Each region is a loopback address of its own with a DNS and a web server that answer after the region's
//! delay. ICMP and TCP are answered by this machine's kernel, which delays nothing.

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    path::Path,
    process::ExitCode,
    sync::Arc,
    thread,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::time::sleep;

use super::{finish, log_to_stderr, usage};
use crate::{
    app,
    config::{Config, Loaded, Log, LogFormat, LogLevel},
};

#[derive(Debug, clap::Args)]
pub(super) struct DemoArgs {
    /// Address to serve on.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9877")]
    listen: SocketAddr,
}

/// A simulated region: its name, its loopback address, and how long its servers take.
struct Simulated {
    region: &'static str,
    address: Ipv4Addr,
    delay: Duration,
}

/// The delays are round trips as they are between eu-west-1 and these regions.
const REGIONS: [Simulated; 3] = [
    Simulated { region: "eu-central-1", address: Ipv4Addr::new(127, 77, 0, 1), delay: Duration::from_millis(24) },
    Simulated { region: "us-east-1", address: Ipv4Addr::new(127, 77, 0, 2), delay: Duration::from_millis(68) },
    Simulated { region: "ap-southeast-2", address: Ipv4Addr::new(127, 77, 0, 3), delay: Duration::from_millis(255) },
];

/// The configuration, with ports to be filled in.
const CONFIG: &str = include_str!("demo.yaml");

pub(super) fn run(args: &DemoArgs) -> ExitCode {
    match start(args.listen) {
        Ok(loaded) => {
            log_to_stderr(loaded.config.log);
            println!("{}", welcome(args.listen));
            let again = loaded.clone();
            finish(app::run(loaded.config, Box::new(move || Ok(again.clone()))))
        }
        Err(reason) => usage(&reason),
    }
}

fn welcome(listen: SocketAddr) -> String {
    let regions: String = REGIONS
        .iter()
        .map(|region| {
            format!("  {:15} {}  answers after {} ms\n", region.region, region.address, region.delay.as_millis())
        })
        .collect();
    format!(
        "regionwatch measures three simulated regions from eu-west-1:\n{regions}\n\
         (DNS and HTTP are delayed; pings and TCP handshakes are answered by this machine at once.)\n\n\
         Look at   http://{listen}/\n\
         metrics   curl -s http://{listen}/metrics | grep peer_latency\n\
         probes    curl -s 'http://{listen}/api/v1/probes?peer=us-east-1&probe=http'\n\
         Prometheus: scrape_configs: [{{job_name: regionwatch, static_configs: [{{targets: ['{listen}']}}]}}]\n\n\
         Ctrl-C ends it."
    )
}

/// Starts the simulated regions and makes the configuration that measures them.
fn start(listen: SocketAddr) -> Result<Loaded, String> {
    let mut text = CONFIG.replace("LISTEN", &listen.to_string());
    for (n, region) in REGIONS.iter().enumerate() {
        let [web, dns] = simulate(region)
            .map_err(|error| format!("cannot simulate {} on {}: {error}", region.region, region.address))?;
        text = text.replace(&format!("WEB{n}"), &web.to_string()).replace(&format!("DNS{n}"), &dns.to_string());
    }
    let mut loaded = Config::load(Some((Path::new("demo.yaml"), &text)), std::iter::empty())
        .map_err(|mistakes| mistakes.to_string())?;
    loaded.config.log = Log { level: LogLevel::Warn, format: LogFormat::Text };
    Ok(loaded)
}

/// Serves one region on a thread of its own; the ports of its web and its DNS server.
fn simulate(region: &Simulated) -> io::Result<[u16; 2]> {
    let any_port = SocketAddr::new(IpAddr::V4(region.address), 0);
    let web = TcpListener::bind(any_port)?;
    let dns = UdpSocket::bind(any_port)?;
    let ports = [web.local_addr()?.port(), dns.local_addr()?.port()];
    web.set_nonblocking(true)?;
    dns.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let delay = region.delay;
    thread::Builder::new().name(region.region.to_owned()).spawn(move || {
        runtime.block_on(async {
            let dns = tokio::net::UdpSocket::from_std(dns).map(|socket| answer_dns(socket, delay));
            let web = tokio::net::TcpListener::from_std(web).map(|listener| answer_http(listener, delay));
            if let (Ok(dns), Ok(web)) = (dns, web) {
                tokio::join!(dns, web);
            }
        });
    })?;
    Ok(ports)
}

async fn answer_http(listener: tokio::net::TcpListener, delay: Duration) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        let answer = move |_: Request<hyper::body::Incoming>| async move {
            sleep(delay).await;
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"ok\n"))))
        };
        tokio::spawn(async move {
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)).await;
        });
    }
}

async fn answer_dns(socket: tokio::net::UdpSocket, delay: Duration) {
    let socket = Arc::new(socket);
    let mut buffer = [0; 512];
    loop {
        let Ok((len, asker)) = socket.recv_from(&mut buffer).await else { continue };
        let Some(answer) = dns_answer(&buffer[..len]) else { continue };
        let socket = Arc::clone(&socket);
        tokio::spawn(async move {
            sleep(delay).await;
            let _ = socket.send_to(&answer, asker).await;
        });
    }
}

/// Answers any question with 192.0.2.1: the question again, as a response, and one record that points to its
/// name (RFC 1035 4.1).
fn dns_answer(question: &[u8]) -> Option<Vec<u8>> {
    let labels = question.get(12..)?;
    // The name ends at its first zero byte; type and class follow.
    let end = 12 + labels.iter().position(|byte| *byte == 0)? + 5;
    let mut answer = question.get(..end)?.to_vec();
    // Response, recursion available, no error; one question, one answer, nothing else.
    answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
    answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_demo_measures_four_kinds_in_every_region() {
        let loaded = start("127.0.0.1:0".parse().unwrap()).unwrap();
        assert_eq!(loaded.config.paths().count(), 4 * REGIONS.len());
        assert_eq!(loaded.warnings, Vec::<String>::new());
    }

    #[test]
    fn a_question_that_is_cut_short_gets_no_answer() {
        for len in 0..17 {
            assert_eq!(dns_answer(&vec![1; len]), None);
        }
    }
}
