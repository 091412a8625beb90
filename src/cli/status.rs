//! `status`: what running instances know of their peers, as a table.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal as _},
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use serde_json::Value;
use tokio::time::sleep;

use super::{
    check::table,
    instance::{Instance, LOCAL},
    report,
};
use crate::{logging, model::UnixMillis, status::format};

/// How often the table is shown again.
const EVERY: Duration = Duration::from_secs(1);

/// What clears a terminal (ECMA-48: ED, CUP).
const CLEAR: &str = "\x1b[2J\x1b[H";

const HEAD: [&str; 9] = ["VANTAGE", "PEER", "STATE", "SINCE", "P50", "FAILED", "DOWN VOTES", "RANK", "REASON"];

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// URLs of running instances.
    #[arg(value_name = "URL", default_value = LOCAL)]
    urls: Vec<String>,
    /// Show the table again every second, until the command is interrupted.
    #[arg(long)]
    watch: bool,
}

/// Prints the table. Exits with 1 if an instance does not answer.
pub(super) fn run(args: &StatusArgs) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report::failed(format_args!("cannot start: {error}")),
    };
    runtime.block_on(async {
        let instances = match args.urls.iter().map(|url| Instance::new(url)).collect::<Result<Vec<_>, _>>() {
            Ok(instances) => instances,
            Err(error) => return report::usage(&error),
        };
        let clear = if args.watch && io::stdout().is_terminal() { CLEAR } else { "" };
        loop {
            let (mut found, mut failed) = (Vec::new(), Vec::new());
            for instance in &instances {
                match instance.get("/api/v1/overview").await {
                    Ok(overview) => found.push(overview),
                    Err(error) => failed.push(error),
                }
            }
            if let Err(error) = report::print(&format!("{clear}{}", text(&found))) {
                return report::failed(format_args!("stdout: {error}"));
            }
            failed.iter().for_each(logging::to_stderr);
            if !args.watch {
                return if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
            }
            sleep(EVERY).await;
        }
    })
}

/// A sentence for each vantage, and one table for all.
fn text(overviews: &[Value]) -> String {
    let mut text = String::new();
    let mut rows = Vec::new();
    for overview in overviews {
        let vantage = word(&overview["vantage_region"]);
        let _ = writeln!(text, "{vantage}: {}", word(&overview["sentence"]));
        for line in list(&overview["lines"]) {
            let _ = writeln!(text, "  {}", word(&line["text"]));
        }
        rows.extend(list(&overview["peers"]).map(|peer| row(vantage, overview, peer)));
    }
    if !rows.is_empty() {
        text.push('\n');
        table(&mut text, &HEAD, &rows);
    }
    text
}

fn row(vantage: &str, overview: &Value, peer: &Value) -> [String; 9] {
    let time = |value: &Value| value.as_str().and_then(UnixMillis::parse);
    let since = time(&peer["since"]).zip(time(&overview["at"])).map(|(since, at)| format::since(since, at));
    let p50 = peer["p50_seconds"].as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let votes = &peer["votes"];
    let ranked = list(&overview["ranking"]).find(|row| row["region"] == peer["region"]);
    let rank = ranked.and_then(|row| row["rank"].as_u64());
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    [
        vantage.to_owned(),
        word(&peer["region"]).to_owned(),
        word(&peer["state"]).to_owned(),
        or_dash(since),
        or_dash(p50.map(format::latency)),
        or_dash(peer["failed_ratio"].as_f64().map(format::percent)),
        format!("{}/{}", votes["down"], votes["voting"]),
        or_dash(rank.map(|rank| rank.to_string())),
        word(&peer["why"]).to_owned(),
    ]
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_peer_of_every_vantage_is_a_row_and_no_data_is_a_dash() {
        let overview = |vantage: &str| {
            json!({
                "vantage_region": vantage, "at": "2026-11-21T03:04:05.123Z", "sentence": "b is down (confirmed 2/2).",
                "lines": [{"text": "b is down since 03:01:00: 2 of 2 vantages vote down, 2 needed.", "link": null}],
                "peers": [{
                    "region": "b", "state": "down", "since": "2026-11-21T03:01:00.000Z", "why": "2 of 2 vantages vote down",
                    "votes": {"down": 2, "voting": 2}, "p50_seconds": null, "failed_ratio": 1.0,
                }],
                "ranking": [{"region": "b", "rank": null}],
            })
        };
        assert_eq!(
            text(&[overview("a"), overview("c")]),
            "a: b is down (confirmed 2/2).\n  b is down since 03:01:00: 2 of 2 vantages vote down, 2 needed.\n\
             c: b is down (confirmed 2/2).\n  b is down since 03:01:00: 2 of 2 vantages vote down, 2 needed.\n\n\
             VANTAGE  PEER  STATE  SINCE      P50  FAILED  DOWN VOTES  RANK  REASON\n\
             a        b     down   3 min 5 s  -    100%    2/2         -     2 of 2 vantages vote down\n\
             c        b     down   3 min 5 s  -    100%    2/2         -     2 of 2 vantages vote down\n"
        );
    }
}
