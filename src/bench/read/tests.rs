use std::{
    collections::BTreeSet,
    io::{self, Read},
    time::{Duration, SystemTime},
};

use proptest::prelude::*;

use super::*;
use crate::{
    bench::{
        Outcome, Rules, Sample, Series,
        threshold::Threshold,
        verdict::{Check, Verdict},
    },
    model::Phase,
};

mod large;

const MS: Duration = Duration::from_millis(1);

fn by(region: Option<&str>) -> Grouping {
    Grouping { region_by: region.map(str::to_owned), tags: BTreeSet::new() }
}

/// As [`read`](super::read) does with a file.
fn read_from(input: impl Read, grouping: &Grouping) -> Parsed<Judged> {
    let mut collector = Collector::new(grouping.clone());
    match from(input, &mut collector)? {
        Some(whole) => Ok(whole),
        None => collector.finish("file").map(Judged::Samples),
    }
}

fn samples(text: &str, grouping: &Grouping) -> Results {
    match read_from(text.as_bytes(), grouping) {
        Ok(Judged::Samples(results)) => results,
        Ok(Judged::Summary(summary)) => panic!("{summary:?}"),
        Err(fault) => panic!("{}", fault.in_file("file")),
    }
}

fn error(text: &str) -> String {
    read_from(text.as_bytes(), &by(None)).unwrap_err().in_file("file").to_string()
}

/// Each series: its region, its latencies in milliseconds and the reasons of its failures.
fn told(results: &Results) -> Vec<(String, Vec<u128>, Vec<String>)> {
    let one = |series: &Series| {
        let (mut latencies, mut failures) = (Vec::new(), Vec::new());
        for Sample { outcome, .. } in series.samples() {
            match outcome {
                Outcome::Ok(latency) => latencies.push(latency.as_millis()),
                Outcome::Failed(reason) => failures.push(reason.to_string()),
            }
        }
        (series.region.clone(), latencies, failures)
    };
    results.series.iter().map(one).collect()
}

fn us_and_eu() -> Vec<(String, Vec<u128>, Vec<String>)> {
    let timeout = vec!["timeout".to_owned()];
    vec![("us".to_owned(), vec![354, 197], vec![]), ("eu".to_owned(), vec![24], timeout)]
}

/// The columns of JMeter 5.6.
const CSV: &str = "timeStamp,elapsed,label,responseCode,responseMessage,threadName,dataType,success,failureMessage,bytes,sentBytes,grpThreads,allThreads,URL,Latency,IdleTime,Connect\n\
    1509841690552,354,us,200,OK,a 1-1,text,true,,2781,133,1,1,http://x/?a=1,300,0,100\n\
    1509841691000,24,eu,200,OK,b 1-1,text,true,,2781,133,1,1,\"http://x/?a=1,2\",24,0,0\n\
    1509841690999,197,us,200,\"O\"\"K\",a 1-1,text,true,,2781,133,1,1,http://x/,197,0,0\n\
    1509841692000,30000,eu,Non HTTP response code: java.net.SocketTimeoutException,\"Read\ntimed out\",b 1-1,text,false,,0,0,1,1,http://x/,0,0,0\n";

#[test]
fn csv_of_jmeter_5_is_read() {
    let results = samples(CSV, &by(None));
    assert_eq!(told(&results), us_and_eu());
    assert_eq!(results.began, SystemTime::UNIX_EPOCH + MS * 1_000 * 1_509_841_690 + MS * 552);
    // The last request timed out after 30 s.
    assert_eq!(results.duration, MS * 31_448);
    let us = &results.series[0];
    let phases: Vec<_> = us.phases().into_iter().map(|phase| (phase, us.phase_of(0, phase).unwrap())).collect();
    assert_eq!(phases, [(Phase::Connect, MS * 100), (Phase::Processing, MS * 200), (Phase::Transfer, MS * 54)]);
    assert_eq!(us.samples()[1].at, MS * 447);
    let by_thread = told(&samples(CSV, &by(Some("threadName"))));
    assert_eq!(by_thread.iter().map(|(region, ..)| region.as_str()).collect::<Vec<_>>(), ["a 1-1", "b 1-1"]);
    let no_column = told(&samples(CSV, &by(Some("region"))));
    assert_eq!(no_column[0].0, "(none)");
}

#[test]
fn csv_of_jmeter_2_has_no_names_and_csv_may_have_another_delimiter_and_a_readable_time() {
    let nameless = "1509841690552,354,us,200,OK,a 1-1,text,true,2781,1,1,300\n1509841690999,197,us,200,OK,a 1-1,text,true,2781,1,1,197\n";
    assert_eq!(told(&samples(nameless, &by(None))), us_and_eu()[..1]);
    let readable = "\u{feff}timeStamp|elapsed|label|success\r\n2017/11/05 00:28:10.552|354|us|true\r\n2017/11/05 00:28:11|197|us|true\r\n";
    let results = samples(readable, &by(None));
    assert_eq!(told(&results), us_and_eu()[..1]);
    assert_eq!(results.began, SystemTime::UNIX_EPOCH + MS * 1_000 * 1_509_841_690 + MS * 552);
}

const XML: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!-- <httpSample> > -->\n<testResults version=\"1.2\">\n\
    <httpSample t=\"354\" lt=\"300\" ct=\"100\" ts=\"1509841690552\" s=\"true\" lb=\"us\" rc=\"200\" rm=\"OK\" tn=\"a 1-1\" dt=\"text\" by=\"2\">\n\
    \x20 <httpSample t=\"1\" lt=\"1\" ts=\"1509841690552\" s=\"true\" lb=\"part\" rc=\"302\"/>\n\
    \x20 <responseData class=\"java.lang.String\"><![CDATA[<a> ]]> &lt;/b></responseData>\n\
    \x20 <assertionResult><name>size > 1</name><failure>false</failure></assertionResult>\n</httpSample>\n\
    <sample t='24' lt='0' ts='1509841691000' s='true' lb='e&#117;' rc='200' rm='a > b'/>\n\
    <httpSample t=\"197\" ts=\"1509841690999\" s=\"true\" lb=\"&#x75;s\" rc=\"200\"/>\n\
    <httpSample t=\"9\" ts=\"1509841692000\" s=\"false\" lb=\"eu\" rc=\"Non HTTP response code: org.apache.http.conn.ConnectTimeoutException\"/>\n</testResults>\n";

#[test]
fn xml_of_jmeter_is_read_and_parts_of_requests_are_not_requests() {
    let results = samples(XML, &by(None));
    assert_eq!(told(&results), us_and_eu());
    assert_eq!(results.series[0].phase_of(0, Phase::Connect), Some(MS * 100));
    assert_eq!(told(&samples(XML, &by(Some("threadName"))))[0].0, "a 1-1");
}

/// By hand, from the documentation of k6's JSON output.
const K6: &str = r#"{"type":"Metric","data":{"name":"http_req_duration","type":"trend","contains":"time","thresholds":["p(95)<500"],"submetrics":null},"metric":"http_req_duration"}
{"metric":"http_req_duration","type":"Point","data":{"time":"2017-11-05T01:28:10.906+01:00","value":354.0,"tags":{"expected_response":"true","group":"","method":"GET","name":"https://us/","region":"us","status":"200"}}}
{"metric":"http_req_failed","type":"Point","data":{"time":"2017-11-05T01:28:10.906+01:00","value":0,"tags":{"region":"us"}}}
{"metric":"http_req_duration","type":"Point","data":{"time":"2017-11-05T00:28:11.024123456Z","value":24,"tags":{"expected_response":"true","method":"POST","name":"https://eu/","region":"eu","status":"200"}}}
{"metric":"vus","type":"Point","data":{"time":"2017-11-05T00:28:11Z","value":5,"tags":null}}
{"metric":"http_req_duration","type":"Point","data":{"time":"2017-11-05T00:28:11.196Z","value":197.4,"tags":{"expected_response":"true","method":"GET","name":"https://us/","region":"us","status":"200"}}}
{"metric":"http_req_duration","type":"Point","data":{"time":"2017-11-05T00:28:12Z","value":0,"tags":{"expected_response":"false","error":"request timeout","error_code":"1050","name":"https://eu/","region":"eu","status":"0"}}}
"#;

#[test]
fn samples_of_k6_are_read_and_a_failure_has_no_latency() {
    let results = samples(K6, &by(None));
    assert_eq!(told(&results), us_and_eu());
    assert_eq!(results.began, SystemTime::UNIX_EPOCH + MS * 1_000 * 1_509_841_690 + MS * 552);
    let names = told(&samples(K6, &by(Some("name"))));
    assert_eq!(names[0].0, "https://us/");
    let grouping = Grouping { region_by: None, tags: BTreeSet::from(["method".to_owned()]) };
    let tagged = samples(K6, &grouping);
    let methods: Vec<_> = tagged.series.iter().map(|series| (series.region.as_str(), series.tag("method"))).collect();
    assert_eq!(methods, [("us", Some("GET")), ("eu", Some("POST")), ("eu", None)]);
    let threshold: Threshold = "http_req_duration{method:POST}: max<25".parse().unwrap();
    assert_eq!(threshold.check(&tagged.series, tagged.duration, 0).unwrap().verdict, Verdict::Pass);
}

#[test]
fn a_compressed_file_is_read() {
    use std::io::Write as _;
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut encoder = flate2::write::GzEncoder::new(file.reopen().unwrap(), flate2::Compression::fast());
    encoder.write_all(K6.as_bytes()).unwrap();
    encoder.finish().unwrap();
    let path = file.path().to_owned();
    let Judged::Samples(results) = read(std::slice::from_ref(&path), &by(None)).unwrap() else { panic!("a summary") };
    assert_eq!(told(&results), us_and_eu());
    let Judged::Samples(results) = read(&[path.clone(), path.clone()], &by(None)).unwrap() else { panic!("a summary") };
    let lengths: Vec<_> = results.series.iter().map(|series| series.samples().len()).collect();
    assert_eq!((lengths, results.source), (vec![4, 4], format!("{0}, {0}", path.display())));
    let error = |paths: &[&str]| {
        let paths: Vec<_> = paths.iter().map(PathBuf::from).collect();
        read(&paths, &by(None)).unwrap_err().to_string()
    };
    assert_eq!(error(&["/nonexistent"]), "/nonexistent: does not exist; name a file with results");
    assert_eq!(error(&["/dev/zero"]), "/dev/zero: is not a regular file; save the results in one");
    let summary = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(summary.path(), SUMMARIES[0]).unwrap();
    let alone = error(&[path.to_str().unwrap(), summary.path().to_str().unwrap()]);
    assert!(alone.ends_with(": is a summary, or was written by --save; judge it alone"), "{alone}");
}

#[test]
fn what_was_saved_is_judged_again() {
    let results = samples(CSV, &by(None));
    let again = samples(&saved::saved_text(&results), &by(None));
    assert_eq!(told(&again), told(&results));
}

fn summary_check(text: &str, threshold: &str) -> Option<Result<Check, String>> {
    let Ok(Judged::Summary(summary)) = read_from(text.as_bytes(), &by(None)) else { panic!("{text}") };
    summary.check(&threshold.parse().unwrap())
}

/// By hand: the shapes of `handleSummary()`, `--summary-export` and the machine-readable summary.
const SUMMARIES: [&str; 3] = [
    r#"{"root_group":{"name":""},"state":{"testRunDurationMs":30898.9},"metrics":{"vus":{"type":"gauge","values":{"value":1}},
        "http_reqs":{"type":"counter","values":{"count":40,"rate":19.7}},"http_req_failed":{"type":"rate","values":{"rate":0.05,"passes":2,"fails":38}},
        "http_req_duration{region:us}":{"type":"trend","values":{"avg":268.3,"med":200,"p(95)":400.5,"count":40},"thresholds":{"p(95)<500":{"ok":true}}}}}"#,
    r#"{
    "metrics": {"http_reqs": {"count": 40, "rate": 19.7}, "http_req_failed": {"value": 0.05, "passes": 2, "fails": 38},
        "http_req_duration{region:us}": {"avg": 268.3, "med": 200, "p(95)": 400.5, "count": 40}}}"#,
    r#"{"version":"1.0.0","metadata":{"k6Version":"2.2.0"},"results":{"passed":true,"metrics":[
        {"name":"http_reqs","type":"counter","contains":"default","values":{"count":40}},{"name":"http_req_failed","type":"rate","values":{"rate":0.05,"matches":2,"total":40}},
        {"name":"http_req_duration{region:us}","type":"trend","contains":"time","values":{"avg":268.3,"max":410,"med":200,"min":150,"p(90)":390,"p(95)":400.5}}]}}"#,
];

#[test]
fn every_shape_of_a_summary_of_k6_is_judged_without_an_interval() {
    for text in SUMMARIES {
        for (threshold, verdict) in [
            ("http_req_duration{region:us}: p(95)<500", Verdict::Pass),
            ("probe_duration{region=\"us\"}: med<200", Verdict::Fail),
            ("probe_failed: rate<0.01", Verdict::Fail),
            ("probe_failed: count==2", Verdict::Pass),
            ("probes: count>=40", Verdict::Pass),
        ] {
            let check = summary_check(text, threshold).unwrap().unwrap();
            assert_eq!(check.verdict, verdict, "{check}");
            assert!(check.reason.contains("no interval because a summary has no samples"), "{check}");
        }
        // What is never evaluated would always pass.
        let missing = summary_check(text, "probe_duration{region:us}: p(99)<1").unwrap().unwrap_err();
        assert!(missing.contains("the summary has no p(99); run k6 with --summary-trend-stats="), "{missing}");
        assert_eq!(summary_check(text, "probe_duration: p(95)<1"), None);
    }
}

#[test]
fn an_error_names_the_line_the_reason_and_what_to_do() {
    for (text, expected) in [
        ("", "file: is empty; name a file with results"),
        (
            "a,b\n1,2\n",
            "file:1: has no column timeStamp; name a file with results of JMeter or k6, or save timeStamp, too",
        ),
        ("timeStamp,elapsed,success\n", "file: has no request; name a file with results of JMeter or k6"),
        (
            "timeStamp,elapsed,success\n1,x,true\n",
            "file:2: elapsed \"x\" is not a number of milliseconds; save the results again",
        ),
        (
            "timeStamp,elapsed,success\n1,1,true\n1,1\n",
            "file:3: has 2 of 3 columns; was the file cut off? Delete the last record",
        ),
        (
            "timeStamp,elapsed,success\n\"1,1,true\n",
            "file:2: has a quote that does not end; was the file cut off? Delete the last record",
        ),
        (
            "timeStamp,elapsed,success\nMay 5,1,true\n",
            "file:2: timeStamp \"May 5\" is not understood; run JMeter with -Jjmeter.save.saveservice.timestamp_format=ms",
        ),
        (
            "1509841690552,1,true\n",
            "file:1: has 3 columns without names; run JMeter with -Jjmeter.save.saveservice.print_field_names=true",
        ),
        ("<html>\n", "file:1: begins with <html>; name a JTL file of JMeter, which begins with <testResults>"),
        ("<!DOCTYPE x [<!ENTITY a \"b\">]>\n<testResults/>", "file:1: has a document type; delete it"),
        (
            "<testResults>\n<sample t=\"1\" ts=\"2\" s=\"true\"/>\n",
            "file:3: <testResults> is not closed; was the file cut off? Add </testResults>",
        ),
        (
            "<testResults>\n<sample t=\"1\" ts=\"2",
            "file:2: ends inside of a tag; was the file cut off? Delete the last request, and add </testResults>",
        ),
        // Cut after a bracket: in a value, in a comment and in a section.
        (
            "<testResults>\n<sample lb=\"a>",
            "file:2: ends inside of a tag; was the file cut off? Delete the last request, and add </testResults>",
        ),
        (
            "<testResults>\n<!-- a>",
            "file:2: ends inside of a tag; was the file cut off? Delete the last request, and add </testResults>",
        ),
        (
            "<testResults>\n<a><![CDATA[a>",
            "file:2: ends inside of a tag; was the file cut off? Delete the last request, and add </testResults>",
        ),
        (
            "<testResults>\n<sample t=\"1\" ts=\"2\"/></testResults>",
            "file:2: a request has no s; run JMeter with -Jjmeter.save.saveservice.successful=true",
        ),
        (
            "<testResults>\n<sample t=\"x\" ts=\"2\" s=\"true\"/></testResults>",
            "file:2: t=\"x\" is not a number of milliseconds; save the results again with every field",
        ),
        (
            "<testResults></sample></testResults>",
            "file:1: </sample> closes an element that is not open; save the results again",
        ),
        ("{\"a\":1}", "file: has no metrics; name a summary of k6, or its samples (--out json=FILE)"),
        (
            "{\"metrics\":{\"vus\":{}}}",
            "file: has no http_req_duration, http_req_failed or http_reqs; run k6 with a script that sends requests",
        ),
    ] {
        assert_eq!(error(text), expected, "{text}");
    }
    let cut = &K6[..K6.len() - 20];
    assert!(error(cut).starts_with("file:7: is not a line of k6's JSON: EOF"), "{}", error(cut));
    assert!(error("{\"metrics\":").starts_with("file:1: is not JSON: EOF"), "{}", error("{\"metrics\":"));
    let many =
        (0..2000).fold("timeStamp,elapsed,label,success\n".to_owned(), |text, n| text + &format!("1,1,l{n},true\n"));
    assert!(
        error(&many).starts_with("file:1002: has more than 1000 regions, such as \"l1000\"; choose"),
        "{}",
        error(&many)
    );
    assert!(error(&("timeStamp,elapsed,success\n".to_owned() + &"x".repeat(2 << 20))).contains("is longer than 1 MiB"));
    assert!(error(&format!("<testResults a=\"{}\"", "x".repeat(2 << 20))).contains("has a tag of more than 1 MiB"));
    assert!(
        error(&"<testResults>".repeat(100)).contains("is nested too deeply"),
        "{}",
        error(&"<testResults>".repeat(100))
    );
}

/// A file of this many records, made while it is read.
struct Endless {
    head: Option<String>,
    left: u32,
    record: fn(u32) -> String,
    buffer: Vec<u8>,
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.buffer.is_empty() {
            if let Some(head) = self.head.take() {
                self.buffer.extend(head.bytes());
            } else if self.left > 0 {
                self.left -= 1;
                self.buffer.extend((self.record)(self.left).bytes());
            }
        }
        let count = buffer.len().min(self.buffer.len());
        buffer[..count].copy_from_slice(&self.buffer[..count]);
        self.buffer.drain(..count);
        Ok(count)
    }
}

#[test]
fn a_call_of_grpc_failed_unless_its_status_is_0() {
    let line = |tags: &str| {
        format!(
            r#"{{"metric":"grpc_req_duration","type":"Point","data":{{"time":"2017-11-05T00:28:11Z","value":3,"tags":{{"region":"us",{tags}}}}}}}"#
        )
    };
    let lines = ["0", "4", "14", "7", "16", "13"].map(|status| line(&format!(r#""status":"{status}""#)));
    let results = samples(&lines.join("\n"), &by(None));
    let reasons = ["timeout", "refused", "auth", "auth", "status"].map(str::to_owned);
    assert_eq!(told(&results), [("us".to_owned(), vec![3], reasons.into())]);
    assert!(error(&line(r#""method":"x""#)).contains("systemTags"));
}

#[test]
fn a_phase_of_less_than_a_millisecond_is_one_and_no_connection_is_none() {
    let header = "timeStamp,elapsed,label,success,Latency,Connect\n";
    let results = samples(&format!("{header}1509841690552,3,us,true,3,3\n1509841690553,3,us,true,3,0\n"), &by(None));
    let of = |phase| results.series[0].phase(phase).collect::<Vec<_>>();
    assert_eq!(of(Phase::Connect), [Some(MS * 3), None]);
    assert_eq!(of(Phase::Processing), [Some(Duration::ZERO), Some(MS * 3)]);
    assert_eq!(of(Phase::Transfer), [Some(Duration::ZERO); 2]);
    // A sampler that measures none of them.
    assert_eq!(samples(&format!("{header}1509841690552,3,us,true,0,0\n"), &by(None)).series[0].phases(), []);
}

#[test]
fn a_record_that_never_ends_is_an_error_and_not_memory() {
    let quoted = Endless {
        head: Some("timeStamp,elapsed,success\n1,1,\"".to_owned()),
        left: 1_000_000,
        record: |_| "no quote\n".to_owned(),
        buffer: Vec::new(),
    };
    let fault = read_from(quoted, &by(None)).unwrap_err();
    assert!(fault.reason.contains("a record of more than 1 MiB"), "{}", fault.reason);
}

fn seeds() -> impl Strategy<Value = String> {
    let whole = prop::sample::select(vec![CSV, XML, K6, SUMMARIES[0], SUMMARIES[2]]);
    (whole, any::<prop::sample::Index>(), any::<prop::sample::Index>(), ".{0,6}").prop_map(
        |(text, from, to, insert)| {
            let place = |index: prop::sample::Index| text.floor_char_boundary(index.index(text.len()));
            let (from, to) = (place(from), place(to));
            format!("{}{insert}{}", &text[..from], &text[to..])
        },
    )
}

proptest! {
    #[test]
    fn no_file_makes_a_reader_panic(text in seeds(), bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        fuzz(text.as_bytes());
        fuzz(&bytes);
        fuzz(&[b"<testResults>", &bytes[..]].concat());
        fuzz(&[b"timeStamp,elapsed,success\n", &bytes[..]].concat());
    }
}

#[test]
fn requests_that_k6_dropped_are_counted_and_those_of_jmeter_are_unknown() {
    let point = |metric: &str, tags: &str| {
        format!(
            "{{\"metric\":\"{metric}\",\"type\":\"Point\",\"data\":{{\"time\":\"2017-11-05T00:28:11Z\",\"value\":50,\"tags\":{{{tags}}}}}}}\n"
        )
    };
    let sent = point("http_req_duration", "\"region\":\"us\",\"expected_response\":\"true\"");
    let gate = |text: &str, threshold: &str| {
        let rules = Rules { thresholds: vec![threshold.parse().unwrap()], ..Rules::default() };
        rules.gate(&samples(text, &by(None))).map(|gate| gate.checks[0].verdict)
    };
    let dropped = format!("{sent}{}", point("dropped_iterations", "\"scenario\":\"default\"").repeat(4));
    assert_eq!(gate(&dropped, "dropped_iterations: count<200"), Ok(Verdict::Fail));
    assert_eq!(gate(&dropped, "dropped_iterations: count==200"), Ok(Verdict::Pass));
    assert_eq!(gate(&sent, "dropped_iterations: count<1"), Ok(Verdict::Pass), "k6 writes none if there are none");
    let tagged = gate(&dropped, "dropped_iterations{region:us}: count<1").unwrap_err();
    assert!(tagged.contains("write probe_slots_missed without tags"), "{tagged}");
    let unknown = gate(CSV, "dropped_iterations: count<1").unwrap_err();
    assert!(unknown.contains("these results do not count what was not sent"), "{unknown}");
}

#[test]
fn a_failure_took_at_least_as_long_as_the_shortest_one_of_its_region() {
    let line = |ms: u32, ok: bool| {
        format!("1509841690552,{ms},us,{},OK,a,text,{ok},,1,1,1,1,http://x/,{ms},0,1\n", if ok { 200 } else { 504 })
    };
    let text: String = (0..200).map(|n| line(if n % 2 == 0 { 5 } else { 21_000 }, n % 2 == 0)).collect();
    let results = samples(&text, &by(None));
    let check =
        "probe_duration: avg<200".parse::<Threshold>().unwrap().check(&results.series, results.duration, 0).unwrap();
    assert_eq!(check.verdict, Verdict::Fail, "{check}");
}

#[test]
fn results_of_jmeter_5_without_names_are_read() {
    let text = "1509841690552,354,us,200,OK,a 1-1,text,true,,2781,133,1,1,http://x/,300,0,100\n";
    assert_eq!(
        told(&samples(text, &by(None))),
        told(&samples(
            &format!(
                "timeStamp,elapsed,label,responseCode,responseMessage,threadName,dataType,success,failureMessage,bytes,sentBytes,grpThreads,allThreads,URL,Latency,IdleTime,Connect\n{text}"
            ),
            &by(None)
        ))
    );
}
