//! The parts of the benchmarks' rig that decide what is true: a wrong truth would make any program look right.

use std::net::Ipv4Addr;

use testkit::rig::{
    compare::{Errors, Reported, compare},
    packet::parse,
    page::{Histogram, sum},
    tap::Seen,
    truth::{Flow, Service, Truth, reconstruct},
};

const PROBER: Ipv4Addr = Ipv4Addr::new(10, 76, 0, 1);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 1);
const SYN: u8 = 2;
const ACK: u8 = 16;

fn ipv4(outgoing: bool, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let (source, destination) = if outgoing { (PROBER, SERVER) } else { (SERVER, PROBER) };
    let mut bytes = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0];
    bytes.extend(source.octets());
    bytes.extend(destination.octets());
    bytes.extend(payload);
    let length = bytes.len() as u16;
    bytes[2..4].copy_from_slice(&length.to_be_bytes());
    bytes
}

fn seen(at: i64, outgoing: bool, protocol: u8, payload: &[u8]) -> Seen {
    let packet = parse(&ipv4(outgoing, protocol, payload), outgoing).expect("an IPv4 packet");
    Seen { at, packet }
}

fn echo(at: i64, outgoing: bool, sequence: u8) -> Seen {
    seen(at, outgoing, 1, &[if outgoing { 8 } else { 0 }, 0, 0, 0, 0, 7, 0, sequence])
}

fn tcp(at: i64, outgoing: bool, port: u16, flags: u8, sequence: u32, length: usize) -> Seen {
    let ports = if outgoing { [40_000, port] } else { [port, 40_000] };
    let mut segment: Vec<u8> = ports.iter().flat_map(|port| port.to_be_bytes()).collect();
    segment.extend(sequence.to_be_bytes());
    segment.extend([0, 0, 0, 0, 5 << 4, flags, 0, 0, 0, 0, 0, 0]);
    segment.resize(20 + length, 0);
    seen(at, outgoing, 6, &segment)
}

#[test]
fn an_echo_is_timed_by_its_own_reply() {
    let truths = reconstruct(&[echo(10, true, 1), echo(20, true, 2), echo(35, false, 2), echo(40, false, 1)]);
    let list = &truths[&(SERVER, Service::Icmp)];
    assert_eq!(list.iter().map(|truth| truth.exchange).collect::<Vec<_>>(), [Some(30), Some(15)]);
}

#[test]
fn a_dns_answer_belongs_to_the_question_with_its_port_and_id() {
    let question = |at, outgoing, id: u8| {
        let ports: [u8; 4] = if outgoing { [156, 64, 0, 53] } else { [0, 53, 156, 64] };
        seen(at, outgoing, 17, &[&ports[..], &[0, 12, 0, 0, 0, id, 0, 0]].concat())
    };
    let truths = reconstruct(&[question(1, true, 9), question(5, false, 8), question(7, false, 9)]);
    assert_eq!(truths[&(SERVER, Service::Dns)][0].exchange, Some(6));
}

#[test]
fn a_request_ends_with_its_last_new_segment_and_a_response_begins_with_its_first() {
    let truths = reconstruct(&[
        tcp(0, true, 80, SYN, 99, 0),
        tcp(50, false, 80, SYN | ACK, 499, 0),
        tcp(51, true, 80, ACK, 100, 0),
        tcp(60, true, 80, ACK, 100, 10),
        tcp(62, true, 80, ACK, 110, 10),
        tcp(90, true, 80, ACK, 110, 10),
        tcp(112, false, 80, ACK, 500, 20),
        tcp(113, false, 80, ACK, 520, 20),
    ]);
    let truth = truths[&(SERVER, Service::Http)][0];
    assert_eq!((truth.connect, truth.exchange, truth.answered), (Some(50), Some(50), Some(112)));
}

#[test]
fn with_tls_the_request_is_the_second_outgoing_flight() {
    let hello_to_response = [
        tcp(0, true, 443, SYN, 99, 0),
        tcp(50, false, 443, SYN | ACK, 499, 0),
        tcp(60, true, 443, ACK, 100, 200),
        tcp(110, false, 443, ACK, 500, 900),
        tcp(111, false, 443, ACK, 1400, 300),
        tcp(120, true, 443, ACK, 300, 80),
        tcp(121, true, 443, ACK, 380, 120),
        tcp(180, false, 443, ACK, 1700, 150),
        tcp(190, true, 443, ACK, 500, 24),
    ];
    assert_eq!(reconstruct(&hello_to_response)[&(SERVER, Service::Https)][0].exchange, Some(59));
    let cut = &hello_to_response[..7];
    assert_eq!(reconstruct(cut)[&(SERVER, Service::Https)][0].answered, None);
}

#[test]
fn a_reused_port_is_another_connection() {
    let truths = reconstruct(&[
        tcp(0, true, 8081, SYN, 99, 0),
        tcp(5, true, 8081, SYN, 99, 0),
        tcp(9, false, 8081, SYN | ACK, 499, 0),
        tcp(100, true, 8081, SYN, 777, 0),
    ]);
    let list = &truths[&(SERVER, Service::Tcp)];
    assert_eq!(list.iter().map(|truth| truth.connect).collect::<Vec<_>>(), [Some(9), None]);
}

const FLOW: Flow = (SERVER, Service::Icmp);

fn compared(reported: &[(i64, bool)], truths: &[(i64, Option<i64>)]) -> Errors {
    let mut reported: Vec<_> = reported
        .iter()
        .map(|(from, ok)| Reported {
            flow: FLOW,
            from: *from,
            until: from + 100,
            ok: *ok,
            connect: None,
            exchange: ok.then_some(5_000.0),
            kernel: true,
        })
        .collect();
    let truths = truths.iter().map(|(sent, took)| Truth {
        sent: *sent,
        connect: None,
        exchange: *took,
        answered: took.map(|took| sent + took),
    });
    compare(&mut reported, &[(FLOW, truths.collect())].into(), 10_000, (0, i64::MAX))
}

#[test]
fn a_reported_probe_is_matched_with_the_probe_sent_in_its_span() {
    let errors = compared(&[(0, true), (1000, true)], &[(10, Some(3_000)), (500, Some(1)), (1001, Some(7_000))]);
    assert_eq!(errors.by_measure["icmp rtt"], [2.0, -2.0]);
    assert_eq!((errors.unreported, errors.phantom), (1, 0));
}

#[test]
fn a_failure_is_false_only_if_the_reply_arrived_in_time() {
    let errors = compared(
        &[(0, false), (1000, false), (2000, false), (3000, true)],
        &[(1, Some(9_999)), (1001, Some(10_000)), (2001, None)],
    );
    assert_eq!(errors.false_failures.values().sum::<usize>(), 1);
    assert_eq!((errors.true_failures, errors.phantom), (2, 1));
}

#[test]
fn a_histogram_is_summed_over_its_series_and_differenced() {
    let page = |low: u32, all: u32| {
        format!(
            "# TYPE d histogram\nd_bucket{{a=\"x\",le=\"0.1\"}} {low}\nd_bucket{{a=\"x\",le=\"+Inf\"}} {all}\n\
             d_bucket{{a=\"y\",le=\"0.1\"}} 1\nd_bucket{{a=\"y\",le=\"+Inf\"}} 1\nd_count{{a=\"x\"}} {all}\n"
        )
    };
    let histogram = Histogram::between(&page(1, 1), &page(99, 101), "d");
    assert_eq!((histogram.quantile(0.5), histogram.quantile(0.99)), (0.1, f64::INFINITY));
    assert_eq!(sum(&page(1, 5), "d_count", "a=\"x\""), 5.0);
    assert!(Histogram::between("", "", "d").quantile(0.5).is_nan());
}
