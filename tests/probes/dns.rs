//! DNS probes, and the names of targets.

use std::{
    io::{Read, Write},
    net::SocketAddr,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use regionwatch::{
    model::{EmptyAnswer, Failure, FailureDetail, Phase, StampSource},
    net::Resolver,
};
use tokio::time::Instant;

use crate::{
    servers,
    support::{Probing, phase, phases, probing},
};

fn ask(addr: SocketAddr, more: &str) -> Probing {
    probing("127.0.0.1", format!("kind: dns, port: {}, query: app.example.com, record: A{more}", addr.port()))
}

/// The question again, as an answer without records.
fn empty_answer(question: &[u8]) -> Vec<u8> {
    let mut answer = question.to_vec();
    answer[2..4].copy_from_slice(&[0x80, 0]);
    answer
}

#[tokio::test]
async fn knot_is_measured_by_the_kernel_over_udp_and_tcp() {
    let folder = tempfile::tempdir().unwrap();
    let addr = servers::closed();
    let _knot = servers::knot(folder.path(), "app 60 A 192.0.2.7\n", addr);
    let timings = ask(addr, ", expect: {answers: [192.0.2.7]}").succeeds().await;
    assert_eq!((phases(&timings), timings.source), (vec!["request"], StampSource::Kernel));
    let timings = ask(addr, ", transport: tcp, expect: {answers: [192.0.2.7]}").succeeds().await;
    assert_eq!((phases(&timings), timings.source), (vec!["connect", "request"], StampSource::Kernel));
    assert_eq!(ask(addr, ", expect: {answers: [192.0.2.8]}").fails().await, Failure::Mismatch);
    let other = |name: &str, more: &str| {
        probing("127.0.0.1", format!("kind: dns, port: {}, query: {name}, record: A{more}", addr.port()))
    };
    assert_eq!(other("nothing.example.com", "").fails().await, Failure::Status);
    other("nothing.example.com", ", expect: {rcode: [NXDOMAIN]}").succeeds().await;
    assert_eq!(other("elsewhere.test", "").fails().await, Failure::Status);
}

/// What the outage of October 2025 began with: the name is still there, and has no address any more.
#[tokio::test]
async fn an_answer_without_an_address_fails_a_path_that_has_had_one_and_is_a_warning_before() {
    let folder = tempfile::tempdir().unwrap();
    let addr = servers::closed();
    let other = "text 1 TXT here\nalias 1 CNAME nothing.elsewhere.test.\nsub 1 NS ns.elsewhere.test.\n";
    let knot = Arc::new(servers::knot(folder.path(), &format!("app 1 A 192.0.2.7\n{other}"), addr));
    let ask_for = |name: &str, more: &str| {
        probing("127.0.0.1", format!("kind: dns, port: {}, query: {name}, record: A{more}", addr.port()))
    };
    for (name, why) in [
        ("text.example.com", EmptyAnswer::NoRecord),
        ("alias.example.com", EmptyAnswer::Alias),
        ("host.sub.example.com", EmptyAnswer::Referral),
    ] {
        let detail = Some(FailureDetail::EmptyAnswer(why));
        let seen = ask_for(name, "").run(1).await.remove(0);
        assert_eq!((seen.outcome.is_ok(), seen.failed.detail), (true, detail), "{name}");
        for expected in ["answers: [192.0.2.7]", "some_answer: .", "every_answer: ."] {
            let seen = ask_for(name, &format!(", expect: {{{expected}}}")).run(1).await.remove(0);
            assert_eq!((seen.outcome, seen.failed.detail), (Err(Failure::Empty), detail), "{name}, {expected}");
        }
        ask_for(name, ", expect: {no_answer: .}").succeeds().await;
    }

    let (place, zone, server) = (folder.path().to_owned(), format!("app 1 TXT here\n{other}"), Arc::clone(&knot));
    let remove = move || {
        servers::write_zone(&place, &zone);
        server.reload();
    };
    let seen = ask_for("app.example.com", "").after(3, remove).run(60).await;
    let (first, last) = (seen.first().unwrap(), seen.last().unwrap());
    assert_eq!((first.outcome.is_ok(), first.failed.detail), (true, None));
    let detail = Some(FailureDetail::EmptyAnswer(EmptyAnswer::NoRecord));
    assert_eq!((last.outcome, last.failed.detail), (Err(Failure::Empty), detail));
    assert!(last.failed.to_string().starts_with("the answer has no record of the type"), "{}", last.failed);
}

/// What dig prints of the answers to a question.
fn dig(addr: SocketAddr, name: &str, record: &str) -> Vec<String> {
    let (server, port) = (format!("@{}", addr.ip()), addr.port().to_string());
    let output = Command::new("dig")
        .args(["+short", "+tries=1", "+time=5", "-p", &port, &server, name, record])
        .output()
        .unwrap_or_else(|error| panic!("dig: {error}; install it (tests/run says how)"));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn expected_answers_of_each_type_are_those_that_dig_prints() {
    let folder = tempfile::tempdir().unwrap();
    let addr = servers::closed();
    let types = [
        ("A", "192.0.2.7", "192.0.2.8"),
        ("AAAA", "2001:db8::7", "2001:db8::8"),
        ("PTR", "host.example.net.", "host.example."),
        ("MX", "10 Mail", "20 mail.example.com."),
        ("TXT", "\"v=spf1 Include\" \":x -all; a\\\"b\\\\c\"", "v=spf1 include:x -all"),
        ("SRV", "1 2 443 web", "1 2 444 web.example.com."),
        ("NAPTR", "1 2 \"s\" \"SIP+D2U\" \"\" _sip._udp", "1 2 \"s\" \"SIP+D2T\" \"\" _sip._udp.example.com."),
        ("TLSA", "3 1 1 00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff", "3 1 1 00"),
        ("CAA", "0 issue \"ca.example\"", "0 issuewild \"ca.example\""),
        ("HTTPS", "1 . alpn=\"h2,h3\" port=8443 ipv4hint=192.0.2.1", "1 . alpn=\"h2\""),
        ("SVCB", "2 svc.example.net. alpn=h2", "2 svc.example.net."),
        (
            "DNSKEY",
            "257 3 13 mdsswUyr3DPW132mOi8V9xESWE8jTo0dxCjjnopKl+GqJxpVXckHAeF+KkxLbxILfDLUT0rAK9iUzy1L53eKGQ==",
            "256 3 13 AAEC",
        ),
        ("DS", "60485 8 2 D4B7D520E7BB5F0F67674A0CCEB1E3E0614B93C4F9E99B8383F6A1E4469DA50A", "60485 8 2 D4B7"),
        ("TYPE999", "\\# 4 c0000201", "\\# 4 c0000202"),
    ];
    // A delegation has no other records.
    let owner = |record: &str| format!("{}-here", record.to_lowercase());
    let mut zone: String =
        types.iter().map(|(record, data, _)| format!("{} 60 {record} {data}\n", owner(record))).collect();
    zone += "ds-here 60 NS ns.example.net.\nalias-here 60 CNAME Other.example.NET.\n";
    let _knot = servers::knot(folder.path(), &zone, addr);
    let ask_for = |record: &str, answers: &[String]| {
        let quoted: Vec<_> = answers.iter().map(|answer| format!("'{}'", answer.replace('\'', "''"))).collect();
        let name = format!("{}.example.com", owner(record));
        let asked = format!("port: {}, query: {name}, record: {record}", addr.port());
        probing("127.0.0.1", format!("kind: dns, {asked}, expect: {{answers: [{}]}}", quoted.join(", ")))
    };
    for (record, _, wrong) in types {
        let printed = dig(addr, &format!("{}.example.com", owner(record)), record);
        assert_eq!(printed.len(), 1, "{record}: {printed:?}");
        let seen = ask_for(record, &printed).run(1).await.remove(0);
        assert!(seen.outcome.is_ok(), "{record}: {printed:?} {seen:?}");
        let seen = ask_for(record, &[wrong.to_owned()]).run(1).await.remove(0);
        assert_eq!(seen.outcome, Err(Failure::Mismatch), "{record}: {wrong}");
    }
    let printed = dig(addr, "alias-here.example.com", "CNAME");
    assert!(printed[0].eq_ignore_ascii_case("other.example.net."), "{printed:?}");
    let alias = format!("port: {}, query: alias-here.example.com, record: CNAME", addr.port());
    probing("127.0.0.1", format!("kind: dns, {alias}, expect: {{answers: [other.example.net]}}")).succeeds().await;
}

#[tokio::test]
async fn patterns_are_matched_with_some_every_or_none_of_the_answers() {
    let folder = tempfile::tempdir().unwrap();
    let addr = servers::closed();
    let zone = "two 60 A 192.0.2.7\ntwo 60 A 192.0.2.8\ntext 60 TXT \"v=spf1 Include\" \":x -all\"\n";
    let _knot = servers::knot(folder.path(), zone, addr);
    assert_eq!(dig(addr, "two.example.com", "A").len(), 2);
    for (asked, expected, is_met) in [
        ("two.example.com, record: A", "some_answer: '\\.7$'", true),
        ("two.example.com, record: A", "some_answer: '\\.9$'", false),
        ("two.example.com, record: A", "every_answer: '^192\\.0\\.2\\.[78]$'", true),
        ("two.example.com, record: A", "every_answer: '\\.7$'", false),
        ("two.example.com, record: A", "no_answer: '\\.9$'", true),
        ("two.example.com, record: A", "no_answer: '\\.7$'", false),
        ("text.example.com, record: TXT", "some_answer: '^\"v=spf1 Include:x -all\"$'", true),
    ] {
        let probe = format!("kind: dns, port: {}, query: {asked}, expect: {{{expected}}}", addr.port());
        let seen = probing("127.0.0.1", probe).run(1).await.remove(0);
        let outcome = seen.outcome.map(drop);
        assert_eq!(outcome, if is_met { Ok(()) } else { Err(Failure::Mismatch) }, "{asked}: {expected}");
    }
}

#[tokio::test]
async fn a_closed_port_is_refused_at_once() {
    let addr = servers::closed();
    assert_eq!(ask(addr, "").fails().await, Failure::Refused);
    assert_eq!(ask(addr, ", transport: tcp").fails().await, Failure::Refused);
}

#[tokio::test]
async fn one_question_is_one_packet_and_silence_is_a_timeout() {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&count);
    let addr = servers::udp(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
        Vec::new()
    });
    let started = Instant::now();
    assert_eq!(ask(addr, "").fails_at_the_deadline().await, Failure::Timeout);
    let probes = started.elapsed().as_millis() / 100 + 2;
    assert!(count.load(Ordering::Relaxed) as u128 <= probes, "questions are sent again");
}

/// A server of before EDNS (RFC 6891 7), which repeats nothing of a question that it does not understand.
#[tokio::test]
async fn a_server_that_does_not_know_edns_is_asked_without_it_from_then_on() {
    for rcode in [1, 4] {
        let questions = Arc::<Mutex<Vec<bool>>>::default();
        let noted = Arc::clone(&questions);
        let addr = servers::udp(move |question| {
            // The last two bytes of the counts: additional records, of which EDNS is one.
            let has_edns = question[10..12] != [0, 0];
            noted.lock().unwrap().push(has_edns);
            if !has_edns {
                return vec![empty_answer(question)];
            }
            let mut error = question[..12].to_vec();
            error[2..4].copy_from_slice(&[0x80, rcode]);
            error[4..].fill(0);
            vec![error]
        });
        let asked = || std::mem::take(&mut *questions.lock().unwrap());
        let seen = ask(addr, "").run(3).await;
        assert!(seen.iter().all(|seen| seen.outcome.is_ok()), "{seen:?}");
        // Probes that are in flight before the first refusal is there may be refused, too.
        let with_edns = asked();
        assert!(with_edns[0] && with_edns.is_sorted_by(|before, after| before >= after), "{with_edns:?}");
        assert!(with_edns.iter().filter(|edns| !**edns).count() >= 3, "{with_edns:?}");
        ask(addr, ", edns: false").succeeds().await;
        assert!(asked().iter().all(|edns| !edns));
        let expected = format!(", expect: {{rcode: ['{rcode}']}}");
        ask(addr, &expected).succeeds().await;
        assert!(asked().contains(&true));
    }
}

#[tokio::test]
async fn an_error_without_a_question_is_an_answer() {
    let addr = servers::udp(|question| {
        let mut error = question[..12].to_vec();
        error[2..4].copy_from_slice(&[0x80, 5]);
        error[4..].fill(0);
        vec![error]
    });
    assert_eq!(ask(addr, "").fails_early().await, Failure::Status);
    ask(addr, ", expect: {rcode: [REFUSED]}").succeeds().await;
}

#[tokio::test]
async fn answers_with_a_wrong_identifier_or_question_are_a_protocol_error_at_the_deadline() {
    let wrong_id = servers::udp(|question| {
        let mut answer = empty_answer(question);
        answer[0] ^= 0xff;
        vec![answer]
    });
    assert_eq!(ask(wrong_id, "").fails_at_the_deadline().await, Failure::Protocol);
    let wrong_question = servers::udp(|question| {
        let mut answer = empty_answer(question);
        answer[13] ^= 0x01;
        vec![answer]
    });
    assert_eq!(ask(wrong_question, "").fails_at_the_deadline().await, Failure::Protocol);
}

#[tokio::test]
async fn the_right_answer_counts_after_spoofed_ones() {
    let addr = servers::udp(|question| {
        let mut forged = empty_answer(question);
        forged[1] ^= 0xff;
        vec![forged.clone(), forged, empty_answer(question)]
    });
    ask(addr, "").succeeds().await;
}

#[tokio::test]
async fn a_flood_with_wrong_identifiers_is_a_protocol_error_before_the_deadline() {
    let wrong_identifier = |question: &[u8]| {
        let mut wrong = empty_answer(question);
        wrong[0] ^= 0xff;
        wrong
    };
    assert_eq!(flooded_with(wrong_identifier).await, Failure::Protocol);
}

#[tokio::test]
async fn a_flood_of_questions_that_repeat_ours_is_a_protocol_error_without_being_parsed() {
    let no_response = |question: &[u8]| {
        let mut wrong = costly_answer(question, 70);
        wrong[2] &= 0x7f;
        wrong
    };
    assert_eq!(flooded_with(no_response).await, Failure::Protocol);
}

async fn flooded_with(message: impl Fn(&[u8]) -> Vec<u8> + Send + 'static) -> Failure {
    let flood = servers::udp(move |question| std::iter::repeat_n(message(question), 20_000).collect());
    ask(flood, "").fails_early().await
}

/// An answer that takes long to parse for its size: each record's name and data are the same longest name.
fn costly_answer(question: &[u8], records: u16) -> Vec<u8> {
    // Without the EDNS record, which is the last 11 bytes of a question of ours.
    let mut answer = empty_answer(&question[..question.len() - 11]);
    answer[6..12].copy_from_slice(&[records.to_be_bytes(), [0; 2], [0; 2]].concat());
    let name = u16::try_from(answer.len()).unwrap() | 0xc000;
    let cname = [&[0, 5, 0, 1, 0, 0, 0, 0][..]].concat();
    answer.extend([1, b'a'].repeat(126));
    answer.push(0);
    answer.extend(&cname);
    answer.extend([0, 2]);
    answer.extend(name.to_be_bytes());
    for _ in 1..records {
        answer.extend(name.to_be_bytes());
        answer.extend(&cname);
        answer.extend([0, 2]);
        answer.extend(name.to_be_bytes());
    }
    answer
}

#[tokio::test]
async fn an_answer_with_thousands_of_records_is_a_protocol_error_without_being_parsed() {
    let peer = |records: u16| {
        servers::tcp(move |mut stream| {
            let mut len = [0; 2];
            let _ = stream.read_exact(&mut len);
            let mut question = vec![0; u16::from_be_bytes(len).into()];
            let _ = stream.read_exact(&mut question);
            let answer = costly_answer(&question, records);
            let len = u16::try_from(answer.len()).unwrap();
            let _ = stream.write_all(&[&len.to_be_bytes()[..], &answer].concat());
        })
    };
    ask(peer(200), ", transport: tcp").succeeds().await;
    let failure = ask(peer(4000), ", transport: tcp").fails_early().await;
    assert_eq!(failure, Failure::Protocol);
}

#[tokio::test]
async fn unrelated_messages_without_end_on_a_connection_are_a_protocol_error_before_the_deadline() {
    let peer = servers::tcp(|mut stream| {
        let mut question = [0; 512];
        let _ = stream.read(&mut question);
        while stream.write_all(&[&[0xff, 0xff][..], &[0; 0xffff]].concat()).is_ok() {}
    });
    let failure = ask(peer, ", transport: tcp").fails_early().await;
    assert_eq!(failure, Failure::Protocol);
}

#[tokio::test]
async fn a_truncated_message_is_a_protocol_error_at_once() {
    let addr = servers::udp(|question| vec![empty_answer(question)[..14].to_vec()]);
    assert_eq!(ask(addr, "").fails().await, Failure::Protocol);
}

#[tokio::test]
async fn a_truncated_answer_is_asked_for_again_over_tcp_where_that_is_wanted() {
    let (udp, tcp) = servers::udp_and_tcp();
    let addr = udp.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((len, from)) = udp.recv_from(&mut buffer) {
            let mut answer = empty_answer(&buffer[..len]);
            answer[2] |= 0x02;
            let _ = udp.send_to(&answer, from);
        }
    });
    std::thread::spawn(move || {
        for mut stream in tcp.incoming().flatten() {
            let mut len = [0; 2];
            let _ = stream.read_exact(&mut len);
            let mut question = vec![0; u16::from_be_bytes(len).into()];
            let _ = stream.read_exact(&mut question);
            let _ = stream.write_all(&[&len[..], &empty_answer(&question)].concat());
        }
    });
    let timings = ask(addr, ", retry_over_tcp: true").succeeds().await;
    assert_eq!(phases(&timings), ["connect", "request"]);
    ask(addr, "").succeeds().await;
    assert_eq!(ask(addr, ", expect: {answers: [192.0.2.1]}").fails().await, Failure::Mismatch);
}

#[tokio::test]
async fn a_server_that_hangs_up_or_stalls_on_a_connection_is_told_apart() {
    let hangs_up = servers::tcp(|mut stream| drop(stream.read(&mut [0; 512])));
    assert_eq!(ask(hangs_up, ", transport: tcp").fails().await, Failure::Protocol);
    let stalls = servers::tcp(|mut stream| {
        let _ = stream.write_all(&[0xff, 0xff, 0]);
        std::thread::sleep(Duration::from_secs(5));
    });
    assert_eq!(ask(stalls, ", transport: tcp").fails_at_the_deadline().await, Failure::Timeout);
}

#[tokio::test]
async fn an_answer_after_the_deadline_is_a_timeout_and_late() {
    let addr = servers::udp(|question| {
        std::thread::sleep(Duration::from_millis(250));
        vec![empty_answer(question)]
    });
    // The first question is answered after 250 ms; those behind it wait for longer and longer.
    let seen = ask(addr, "").timeout(Duration::from_millis(150)).run(6).await;
    assert!(seen.iter().all(|seen| seen.outcome == Err(Failure::Timeout)), "{seen:?}");
    assert!(seen.last().unwrap().late >= 1, "{seen:?}");
}

#[tokio::test]
async fn a_name_is_resolved_outside_the_measured_phases_and_the_lookup_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let resolver = servers::closed();
    let _knot = servers::knot(folder.path(), "web 1 A 127.0.0.1\n", resolver);
    let web = servers::tcp(drop);
    let probe = format!("kind: tcp, port: {}", web.port());
    let timings = probing("web.example.com", probe).resolver(Resolver::new(Some(resolver))).succeeds().await;
    assert_eq!(phases(&timings), ["resolve", "connect"]);
    assert_eq!(timings.total, phase(&timings, Phase::Connect));
}

#[tokio::test]
async fn a_name_that_stops_resolving_fails_its_own_target_alone() {
    let folder = tempfile::tempdir().unwrap();
    let resolver = servers::closed();
    let knot = Arc::new(servers::knot(folder.path(), "web 1 A 127.0.0.1\nother 1 A 127.0.0.1\n", resolver));
    let web = servers::tcp(drop);
    let probe = format!("kind: tcp, port: {}", web.port());
    let watch = |name: &str| probing(name, probe.clone()).resolver(Resolver::new(Some(resolver)));
    let (place, server) = (folder.path().to_owned(), Arc::clone(&knot));
    let remove = move || {
        servers::write_zone(&place, "other 1 A 127.0.0.1\n");
        server.reload();
    };
    let gone = watch("web.example.com").after(3, remove).run(90);
    let (gone, there) = tokio::join!(gone, watch("other.example.com").run(90));
    assert!(gone.first().unwrap().outcome.is_ok(), "{gone:?}");
    assert_eq!(gone.last().unwrap().outcome, Err(Failure::Resolve));
    assert!(there.iter().all(|seen| seen.outcome.is_ok()), "{there:?}");
}

#[tokio::test]
async fn a_resolver_that_dies_fails_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let resolver = servers::closed();
    let knot = servers::knot(folder.path(), "web 1 A 127.0.0.1\n", resolver);
    let web = servers::tcp(drop);
    let probe = format!("kind: tcp, port: {}", web.port());
    let watch = probing("web.example.com", probe).resolver(Resolver::new(Some(resolver)));
    let seen = watch.after(3, || drop(knot)).run(80).await;
    assert!(seen.iter().all(|seen| seen.outcome.is_ok()), "{seen:?}");
}

/// A server at the second of two addresses of a name.
fn second_of_two() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.3:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || listener.incoming().flatten().for_each(drop));
    addr
}

#[tokio::test]
async fn of_several_addresses_one_that_refuses_gives_way_and_all_have_their_turn_where_that_is_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let resolver = servers::closed();
    let _knot = servers::knot(folder.path(), "web 60 A 127.0.0.3\nweb 60 A 127.0.0.2\n", resolver);
    let addr = second_of_two();
    let probe = |keys: &str| {
        probing("web.example.com", format!("kind: tcp, port: {}", addr.port()))
            .with_target(keys)
            .resolver(Resolver::new(Some(resolver)))
    };
    let first = Some("127.0.0.2".parse().unwrap());
    let one = probe("addresses: one").run(4).await;
    assert_eq!((one[0].outcome, one[0].failed.address), (Err(Failure::Refused), first));
    assert!(one[1..].iter().all(|seen| seen.outcome.is_ok()), "{one:?}");

    let all = probe("addresses: all").run(6).await;
    let refused: Vec<_> = all.iter().map(|seen| seen.outcome.is_err()).collect();
    assert_eq!(refused, [true, false, true, false, true, false]);
    assert!(all.iter().step_by(2).all(|seen| seen.failed.address == first), "{all:?}");
}

#[tokio::test]
async fn a_name_can_be_looked_up_at_another_name_server_and_each_has_its_own_answer() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let servers = [servers::closed(), servers::closed()];
    let _here = servers::knot(folders[0].path(), "web 60 A 127.0.0.2\n", servers[0]);
    let _there = servers::knot(folders[1].path(), "web 60 A 127.0.0.3\n", servers[1]);
    let closed = servers::closed().port();
    for (server, address) in [(servers[0], "127.0.0.2"), (servers[1], "127.0.0.3")] {
        let probe = probing("web.example.com", format!("kind: tcp, port: {closed}"));
        let seen = probe.with_target(&format!("name_server: '{server}'")).run(1).await;
        assert_eq!(seen[0].outcome, Err(Failure::Refused));
        assert_eq!(seen[0].failed.address, Some(address.parse().unwrap()));
    }
    // Nothing listens there.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let probe = probing("web.example.com", format!("kind: tcp, port: {closed}"));
    let failure = probe.with_target(&format!("name_server: '{silent}'")).fails().await;
    assert_eq!(failure, Failure::Resolve);
}
