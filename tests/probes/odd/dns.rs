//! Odd names and answers, beside `dig`.

use std::{net::SocketAddr, process::Command};

use crate::{servers, support::probing};

/// The status that dig prints of an answer, such as NOERROR; none if there is no answer.
fn dig(addr: SocketAddr, name: &str, record: &str) -> Option<String> {
    dig_with("+edns=0", addr, name, record)
}

fn dig_with(option: &str, addr: SocketAddr, name: &str, record: &str) -> Option<String> {
    let (server, port) = (format!("@{}", addr.ip()), addr.port().to_string());
    let output = Command::new("dig")
        .args(["+tries=1", "+time=5", option, "-p", &port, &server, "-q", name, "-t", record])
        .output()
        .unwrap_or_else(|error| panic!("dig: {error}; install it (tests/run says how)"));
    let text = String::from_utf8(output.stdout).unwrap();
    let (_, status) = text.split_once("status: ")?;
    Some(status.split(',').next()?.to_owned())
}

#[tokio::test]
async fn answers_are_what_dig_sees_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let addr = servers::closed();
    let many: String = (0..200).map(|n| format!("many 60 A 192.0.2.{n}\n")).collect();
    let long = format!("long 60 TXT {}\n", vec![format!("\"{}\"", "x".repeat(250)); 12].join(" "));
    let zone = "web_1 60 A 192.0.2.1\n_sip._tcp 60 SRV 0 0 5060 web_1\n*.wild 60 A 192.0.2.2\n-dash- 60 A 192.0.2.3\n\
                a/b 60 A 192.0.2.4\nin*ner 60 A 192.0.2.8\nx.*.side 60 A 192.0.2.9\n-lead 60 A 192.0.2.10\nchain 60 CNAME chain2\nchain2 60 CNAME chain3\nchain3 60 A 192.0.2.5\n\
                dangling 60 CNAME nothing\nfar 60 CNAME host.elsewhere.test.\ntree 60 DNAME wild\n\
                sub 60 NS ns.elsewhere.test.\nxn--bcher-kva 60 A 192.0.2.6\n1.2.3 60 A 192.0.2.7\n";
    let _knot = servers::knot(folder.path(), &format!("{zone}{many}{long}"), addr);
    let label = "x".repeat(63);
    let mut disagreed = Vec::new();
    for (name, record) in [
        ("web_1.example.com", "A"),
        ("WEB_1.Example.COM.", "A"),
        ("_sip._tcp.example.com", "SRV"),
        ("any.thing.wild.example.com", "A"),
        ("*.wild.example.com", "A"),
        ("-dash-.example.com", "A"),
        ("-lead.example.com", "A"),
        ("a/b.example.com", "A"),
        ("in*ner.example.com", "A"),
        ("x.*.side.example.com", "A"),
        ("chain.example.com", "A"),
        ("chain.example.com", "CNAME"),
        ("dangling.example.com", "A"),
        ("far.example.com", "A"),
        ("x.tree.example.com", "A"),
        ("host.sub.example.com", "A"),
        ("xn--bcher-kva.example.com", "A"),
        ("1.2.3.example.com", "A"),
        ("web_1.example.com", "AAAA"),
        ("web_1.example.com", "TYPE65534"),
        ("web_1.example.com", "ANY"),
        ("example.com", "SOA"),
        ("example.com", "DNSKEY"),
        ("many.example.com", "A"),
        ("long.example.com", "TXT"),
        ("nothing.example.com", "A"),
        (&*format!("{label}.example.com"), "A"),
        ("elsewhere.test", "A"),
        (".", "NS"),
    ] {
        let status = dig(addr, name, record);
        let probe =
            format!("kind: dns, port: {}, query: '{name}', record: {record}, retry_over_tcp: true", addr.port());
        let seen = probing("127.0.0.1", probe).run(1).await.remove(0);
        let ours = match seen.outcome {
            Ok(_) => Some("NOERROR".to_owned()),
            // Such as "rcode NXDOMAIN".
            Err(_) => seen.failed.detail.map(|detail| detail.to_string().replace("rcode ", "")),
        };
        if ours != status {
            disagreed.push(format!("{name} {record}: dig {status:?}, ours {:?} {}", seen.outcome, seen.failed));
        }
    }
    assert!(disagreed.is_empty(), "{disagreed:#?}");
}

/// Servers of before EDNS: one that repeats nothing of a question that it does not understand, and one that answers without
/// the question (RFC 6891 7). dig says with `+noedns` what the next question gets.
#[tokio::test]
async fn old_servers_are_asked_and_read_as_dig_does_it() {
    let answer = |question: &[u8], flags: [u8; 2]| {
        let mut answer = question.to_vec();
        answer[2..4].copy_from_slice(&flags);
        answer
    };
    let without_question = |question: &[u8], rcode: u8| {
        let mut error = question[..12].to_vec();
        error[2..4].copy_from_slice(&[0x80, rcode]);
        error[4..].fill(0);
        error
    };
    let has_edns = |question: &[u8]| question[10..12] != [0, 0];
    let of_edns = move |rcode: u8| {
        servers::udp(move |question| {
            vec![if has_edns(question) { without_question(question, rcode) } else { answer(question, [0x80, 0]) }]
        })
    };
    for (addr, option) in [
        (servers::udp(move |question| vec![without_question(question, 5)]), "+edns=0"),
        (servers::udp(move |question| vec![without_question(question, 2)]), "+edns=0"),
        (of_edns(1), "+noedns"),
        (of_edns(4), "+noedns"),
    ] {
        let status = dig_with(option, addr, "a.example", "A").unwrap();
        let seen = probing("127.0.0.1", format!("kind: dns, port: {}, query: a.example", addr.port())).run(1).await;
        let ours = match seen[0].outcome {
            Ok(_) => "NOERROR".to_owned(),
            Err(_) => seen[0].failed.detail.unwrap().to_string().replace("rcode ", ""),
        };
        assert_eq!(ours, status, "{option}");
    }
}
