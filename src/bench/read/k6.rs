//! k6's samples: `--out json=FILE` writes one JSON object per line.

use std::{borrow::Cow, collections::HashMap, io::BufRead, time::Duration};

use serde::Deserialize;

use super::{
    collect::{Collector, Request},
    fault::{Fault, Parsed},
    lines::Lines,
    reasons,
};
use crate::model::UnixMillis;

/// What a request took, by protocol.
const HTTP: &str = "http_req_duration";
const GRPC: &str = "grpc_req_duration";

/// Iterations that were due and could not start.
const DROPPED: &str = "dropped_iterations";

#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    metric: Cow<'a, str>,
    #[serde(borrow)]
    data: Data<'a>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow, default)]
    time: Cow<'a, str>,
    #[serde(default)]
    value: f64,
    #[serde(borrow, default)]
    tags: Option<HashMap<Cow<'a, str>, serde_json::Value>>,
}

/// Whether a line is one of k6's; the last one that was read of a file may be cut off.
pub(super) fn is_record(line: &[u8]) -> bool {
    let line = String::from_utf8_lossy(line);
    match serde_json::from_str::<Record<'_>>(&line) {
        Ok(record) => matches!(record.kind.as_ref(), "Metric" | "Point"),
        Err(_) => false,
    }
}

pub(super) fn read(mut lines: Lines<impl BufRead>, collector: &mut Collector) -> Parsed<()> {
    // k6 writes them only if there are some.
    collector.add_dropped(0);
    while let Some(text) = lines.next()? {
        let line = lines.number();
        if text.is_empty() {
            continue;
        }
        let record: Record<'_> = serde_json::from_str(text.trim_start_matches('\u{feff}')).map_err(|error| {
            Fault::new(line, format!("is not a line of k6's JSON: {error}; was the file cut off? Delete the last line"))
        })?;
        if record.kind == "Point" && [HTTP, GRPC].contains(&record.metric.as_ref()) {
            add(&record.data, record.metric == GRPC, line, collector)?;
        } else if record.kind == "Point" && record.metric == DROPPED {
            collector.add_dropped(record.data.value as u64);
        }
    }
    Ok(())
}

fn add(data: &Data<'_>, is_grpc: bool, line: u64, collector: &mut Collector) -> Parsed<()> {
    let at = UnixMillis::parse(&data.time)
        .map(|at| Duration::from_millis(at.0))
        .ok_or_else(|| Fault::new(line, format!("time {:?} is not a time; run k6 with --out json=FILE", data.time)))?;
    let latency = Duration::try_from_secs_f64(data.value / 1e3).map_err(|_| {
        Fault::new(line, format!("value {} is not a number of milliseconds; run k6 with --out json=FILE", data.value))
    })?;
    let tag = |name: &str| match data.tags.as_ref()?.get(name)? {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Null => None,
        other => Some(other.to_string()),
    };
    let outcome = if is_grpc {
        // It has no other tag that tells a failure.
        let status = tag("status").and_then(|status| status.parse().ok()).ok_or_else(|| {
            Fault::new(line, "a call of gRPC has no number as tag status; run k6 with status among its systemTags")
        })?;
        reasons::of_grpc(status).map_or(Ok(latency), Err)
    } else {
        let error_code = tag("error_code").filter(|code| !code.is_empty());
        let is_ok = match tag("expected_response") {
            Some(expected) => expected == "true",
            None => error_code.is_none(),
        };
        let failure = || reasons::of_k6(error_code.as_deref(), tag("status").as_deref());
        if is_ok { Ok(latency) } else { Err(failure()) }
    };
    let request = Request {
        // k6 writes when a request ended.
        at: at.saturating_sub(latency),
        outcome,
        took: latency,
        tag: &tag,
        region: &|| tag("region").or_else(|| tag("name")),
        phases: &[],
    };
    collector.add(&request, line)
}
