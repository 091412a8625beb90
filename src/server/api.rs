//! `/api/v1/probes`: recent probes as JSON.

use std::fmt::Display;

use serde::{Serialize, Serializer, ser::SerializeMap as _};

use super::params::{parameters, quoted};
use crate::{
    model::{FailureContext, Kind, LabelValue, Path, PhaseTimes, Region, TargetName, Utc},
    probe,
    window::{PathHistory, Record},
};

/// The length after which a chunk of JSON is full.
const CHUNK: usize = 24 << 10;

/// Which paths are selected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathFilter {
    /// Only this peer.
    pub peer: Option<Region>,
    /// Only targets of this name.
    pub target: Option<TargetName>,
    /// Only this kind of probe.
    pub kind: Option<Kind>,
    /// At most this many paths; 1 to [`Self::MAX_PATHS`].
    pub paths: usize,
    /// At most this many of the last samples of each path; `None`: all that are kept.
    pub samples: Option<usize>,
}

impl PathFilter {
    /// The number of paths if the request sets none, so that a page stays bounded.
    pub const DEFAULT_PATHS: usize = 100;
    /// The most paths, and the most samples of each.
    pub const MAX_PATHS: usize = 10_000;

    /// Whether the path is selected, apart from the number of paths.
    pub fn matches(&self, path: &Path) -> bool {
        self.peer.as_ref().is_none_or(|peer| *peer == path.peer)
            && self.target.as_ref().is_none_or(|target| *target == path.target)
            && self.kind.is_none_or(|kind| kind == path.kind)
    }

    /// Reads the parameters of a URL.
    ///
    /// # Errors
    /// The first mistake, as a message for the client.
    pub(super) fn parse(query: Option<&str>) -> Result<Self, String> {
        let (mut peer, mut target, mut kind, mut paths, mut samples) = (None, None, None, None, None);
        for (name, value) in parameters(query) {
            match &*name {
                "peer" => once(&mut peer, "peer", parse("peer", &value, Region::new)?)?,
                "target" => once(&mut target, "target", parse("target", &value, TargetName::new)?)?,
                "probe" => once(&mut kind, "probe", parse("probe", &value, parse_kind)?)?,
                "path" => {
                    let path = parse_path(&value)?;
                    once(&mut peer, "peer", path.peer)?;
                    once(&mut target, "target", path.target)?;
                    once(&mut kind, "probe", path.kind)?;
                }
                "paths" => once(&mut paths, "paths", parse("paths", &value, parse_count)?)?,
                "samples" => once(&mut samples, "samples", parse("samples", &value, parse_count)?)?,
                // It was the number of paths, and is easily taken for that of samples.
                "limit" => {
                    return Err(
                        "limit is not a parameter any more; use paths=N for the number of paths, and samples=N \
                                for the last samples of each"
                            .to_owned(),
                    );
                }
                other => {
                    let known = "use peer, target, probe, path, paths or samples";
                    return Err(format!("unknown parameter {}; {known}", quoted(other)));
                }
            }
        }
        Ok(Self { peer, target, kind, paths: paths.unwrap_or(Self::DEFAULT_PATHS), samples })
    }
}

/// Reads `PEER/TARGET/PROBE`.
///
/// # Errors
/// A message for the client.
pub(super) fn parse_path(text: &str) -> Result<Path, String> {
    let [peer, target, kind] = text.split('/').collect::<Vec<_>>()[..] else {
        return Err(format!("path={} does not have the form PEER/TARGET/PROBE", quoted(text)));
    };
    Ok(Path {
        peer: parse("peer", peer, Region::new)?,
        target: parse("target", target, TargetName::new)?,
        kind: parse("probe", kind, parse_kind)?,
    })
}

fn once<T>(slot: &mut Option<T>, name: &str, value: T) -> Result<(), String> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("{name} is given twice")),
    }
}

fn parse<T, E: Display>(name: &str, value: &str, parse: impl Fn(&str) -> Result<T, E>) -> Result<T, String> {
    parse(value).map_err(|error| format!("{name}={} {error}", quoted(value)))
}

fn parse_kind(value: &str) -> Result<Kind, String> {
    probe::kind_named(value)
        .ok_or_else(|| format!("is not a kind of probe; use one of {}", probe::KINDS.map(Kind::as_str).join(", ")))
}

fn parse_count(value: &str) -> Result<usize, String> {
    let count = value.parse().ok().filter(|count| (1..=PathFilter::MAX_PATHS).contains(count));
    count.ok_or_else(|| format!("is not a number from 1 to {}", PathFilter::MAX_PATHS))
}

/// A part of the JSON text.
enum Part {
    Text(&'static str),
    Environment(LabelValue),
    Path(Path),
    Sample(Record),
}

/// The JSON text, written piece by piece; the samples of a path are freed when they have been written.
pub(super) struct ProbesJson(Box<dyn Iterator<Item = Part> + Send>);

impl ProbesJson {
    pub(super) fn new(environment: Option<LabelValue>, paths: Vec<PathHistory>) -> Self {
        let comma = |n: usize| (n > 0).then_some(Part::Text(","));
        let paths = paths.into_iter().enumerate().flat_map(move |(n, PathHistory { path, samples })| {
            let samples = samples.into_iter().enumerate();
            let samples = samples.flat_map(move |(n, record)| comma(n).into_iter().chain([Part::Sample(record)]));
            comma(n).into_iter().chain([Part::Path(path)]).chain(samples).chain([Part::Text("]}")])
        });
        let head =
            [Part::Text("{")].into_iter().chain(environment.map(Part::Environment)).chain([Part::Text("\"probes\":[")]);
        Self(Box::new(head.chain(paths).chain([Part::Text("]}\n")])))
    }

    /// Appends about 24 KiB of JSON and returns whether more follows.
    pub(super) fn next(&mut self, out: &mut Vec<u8>) -> bool {
        while out.len() < CHUNK {
            match self.0.next() {
                Some(Part::Text(text)) => out.extend_from_slice(text.as_bytes()),
                Some(Part::Environment(environment)) => {
                    out.extend_from_slice(b"\"environment\":");
                    json(out, environment.as_str());
                    out.push(b',');
                }
                Some(Part::Path(path)) => {
                    json(out, &PathLabels::of(&path));
                    out.pop(); // the object stays open for the samples
                    out.extend_from_slice(b",\"samples\":[");
                }
                Some(Part::Sample(record)) => json(out, &Sample(record)),
                None => return false,
            }
        }
        true
    }
}

fn json(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    serde_json::to_writer(out, value).expect("a Vec takes every write, and every key is a string");
}

#[derive(Serialize)]
struct PathLabels<'a> {
    peer_region: &'a str,
    target: &'a str,
    probe: &'a str,
}

impl<'a> PathLabels<'a> {
    fn of(Path { peer, target, kind }: &'a Path) -> Self {
        Self { peer_region: peer.as_str(), target: target.as_str(), probe: kind.as_str() }
    }
}

/// One probe, or consecutive ones with the same failure. A failure has no duration: it is never a number.
struct Sample(Record);

impl Serialize for Sample {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("sent_at", &format_args!("{}", Utc(self.0.sent_at)))?;
        match &self.0.outcome {
            Ok(timings) => {
                map.serialize_entry("result", "ok")?;
                map.serialize_entry("duration_seconds", &timings.total.as_secs_f64())?;
                map.serialize_entry("phases", &Phases(&timings.phases))?;
                map.serialize_entry("clock", timings.source.as_str())?;
                if let Some(detail) = self.0.failed.detail {
                    map.serialize_entry("detail", &format_args!("{detail}"))?;
                }
            }
            Err(failure) => {
                map.serialize_entry("result", failure.as_str())?;
                let FailureContext { phase, address, detail } = self.0.failed;
                if let Some(phase) = phase {
                    map.serialize_entry("failed_in", phase.as_str())?;
                }
                if let Some(address) = address {
                    map.serialize_entry("address", &address)?;
                }
                if let Some(detail) = detail {
                    map.serialize_entry("detail", &format_args!("{detail}"))?;
                }
                if self.0.times > 1 {
                    map.serialize_entry("times", &self.0.times)?;
                    map.serialize_entry("last_sent_at", &format_args!("{}", Utc(self.0.last_sent_at)))?;
                }
            }
        }
        map.end()
    }
}

struct Phases<'a>(&'a PhaseTimes);

impl Serialize for Phases<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(phase, time)| (phase.as_str(), time.as_secs_f64())))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::{CertificateFault, Failure, FailureDetail, Phase, StampSource, Timings};

    fn history(samples: Vec<Record>) -> PathHistory {
        let path = Path { peer: Region::new("r").unwrap(), target: TargetName::new("t").unwrap(), kind: probe::TCP };
        PathHistory { path, samples }
    }

    fn ok(micros: u64) -> Record {
        let timings = Timings::single(Phase::Connect, Duration::from_micros(micros), StampSource::Kernel);
        Record::one(1_795_230_245_123_456_789, Ok(timings), None)
    }

    fn page(paths: Vec<PathHistory>) -> (String, usize) {
        let (mut histories, mut all, mut longest) = (ProbesJson::new(None, paths), Vec::new(), 0);
        loop {
            let mut out = Vec::new();
            let more = histories.next(&mut out);
            longest = longest.max(out.len());
            all.append(&mut out);
            if !more {
                return (String::from_utf8(all).unwrap(), longest);
            }
        }
    }

    #[test]
    fn a_failure_has_no_duration() {
        let lost = Record::one(0, Err(Failure::Timeout), Some(Phase::Tls));
        let outage = Record { times: 3, last_sent_at: 2_000_000_000, ..lost };
        let expected = concat!(
            r#"{"probes":[{"peer_region":"r","target":"t","probe":"tcp","samples":["#,
            r#"{"sent_at":"2026-11-21T03:04:05.123456Z","result":"ok","duration_seconds":0.080012,"#,
            r#""phases":{"connect":0.080012},"clock":"kernel"},"#,
            r#"{"sent_at":"1970-01-01T00:00:00.000000Z","result":"timeout","failed_in":"tls"},"#,
            r#"{"sent_at":"1970-01-01T00:00:00.000000Z","result":"timeout","failed_in":"tls","#,
            r#""times":3,"last_sent_at":"1970-01-01T00:00:02.000000Z"}]}]}"#,
            "\n"
        );
        assert_eq!(page(vec![history(vec![ok(80_012), lost, outage])]).0, expected);
    }

    #[test]
    fn a_failure_names_the_address_and_what_was_wrong() {
        let failed = FailureContext {
            phase: Some(Phase::Tls),
            address: Some("192.0.2.1".parse().unwrap()),
            detail: Some(FailureDetail::Certificate(CertificateFault::Expired)),
        };
        let text = page(vec![history(vec![Record::one(0, Err(Failure::Tls), failed)])]).0;
        let expected =
            r#""result":"tls","failed_in":"tls","address":"192.0.2.1","detail":"the certificate has expired"}"#;
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn no_path_and_no_sample_are_valid_too() {
        assert_eq!(page(vec![]).0, "{\"probes\":[]}\n");
        let empty = r#"{"peer_region":"r","target":"t","probe":"tcp","samples":[]}"#;
        assert_eq!(page(vec![history(vec![]), history(vec![])]).0, format!("{{\"probes\":[{empty},{empty}]}}\n"));
    }

    #[test]
    fn the_environment_is_named_if_there_is_one() {
        let (mut json, mut text) = (ProbesJson::new(Some(LabelValue::new("\"prod\"").unwrap()), vec![]), Vec::new());
        while json.next(&mut text) {}
        assert_eq!(String::from_utf8(text).unwrap(), "{\"environment\":\"\\\"prod\\\"\",\"probes\":[]}\n");
    }

    #[test]
    fn a_chunk_stays_small_however_long_a_history_is() {
        let (text, longest) = page(vec![history((0..20_000).map(ok).collect()), history(vec![ok(1)])]);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["probes"][0]["samples"].as_array().unwrap().len(), 20_000);
        assert!(longest < CHUNK + 1_000);
    }

    #[test]
    fn a_filter_is_parsed_completely_or_rejected_with_a_reason() {
        let filter = PathFilter::parse(Some("path=r%2Ft/tcp&paths=7&samples=3")).unwrap();
        assert!(filter.matches(&history(vec![]).path));
        assert_eq!((filter.paths, filter.samples), (7, Some(3)));
        assert!(!PathFilter::parse(Some("peer=other")).unwrap().matches(&history(vec![]).path));
        let all = PathFilter::parse(None).unwrap();
        assert_eq!((all.paths, all.samples), (PathFilter::DEFAULT_PATHS, None));
        let kinds = probe::KINDS.map(Kind::as_str).join(", ");
        for (query, reason) in [
            ("peer=a%20b", "contains ' '"),
            ("target=", "is empty"),
            ("probe=ping", &*kinds),
            ("path=a/b", "PEER/TARGET/PROBE"),
            ("path=a/b/tcp/d", "PEER/TARGET/PROBE"),
            ("path=a/b/tcp&peer=a", "given twice"),
            ("paths=0", "1 to 10000"),
            ("samples=10001", "1 to 10000"),
            ("limit=5", "use paths=N for the number of paths, and samples=N"),
            ("pear=a", "unknown parameter \"pear\""),
        ] {
            let error = PathFilter::parse(Some(query)).unwrap_err();
            assert!(error.contains(reason), "{query}: {error}");
        }
    }
}
