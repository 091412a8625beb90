//! `explain`: why an instance considers a region to be in its state.

use std::{fmt::Write as _, process::ExitCode};

use clap::Args;
use serde_json::Value;

use super::{
    instance::{Instance, InstanceArgs},
    report,
};

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// The peer region.
    region: String,
    #[command(flatten)]
    instance: InstanceArgs,
}

/// Prints the decision. Exits with 1 if there is none.
pub(super) fn run(args: &ExplainArgs) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report::failed(format_args!("cannot start: {error}")),
    };
    let query: String = form_urlencoded::byte_serialize(args.region.as_bytes()).collect();
    let found = runtime.block_on(async {
        let instance = Instance::new(&args.instance.url)?;
        instance.get(&format!("/api/v1/explain?region={query}")).await
    });
    let printed = found.and_then(|found| report::print(&text(&found)).map_err(|error| format!("stdout: {error}")));
    match printed {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report::failed(error),
    }
}

fn text(explained: &Value) -> String {
    let word = |key: &str| explained[key].as_str().unwrap_or("unknown");
    let mut text = format!("{} is {} since {}: {}.\n", word("region"), word("state"), word("since"), word("why"));
    for section in explained["sections"].as_array().into_iter().flatten() {
        let _ = writeln!(text, "\n{}", section["title"].as_str().unwrap_or_default());
        for line in section["lines"].as_array().into_iter().flatten() {
            let _ = writeln!(text, "  {}", line.as_str().unwrap_or_default());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_decision_is_printed_as_a_sentence_and_its_sections() {
        let explained = json!({
            "region": "b", "state": "down", "since": "2026-11-21T03:04:05.123Z", "reason": "quorum",
            "why": "2 of 2 vantages vote down, 2 needed",
            "sections": [{"title": "Votes", "lines": ["a: down.", "c: down, 0.4 s ago."]}, {"title": "Failover", "lines": []}],
        });
        assert_eq!(
            text(&explained),
            "b is down since 2026-11-21T03:04:05.123Z: 2 of 2 vantages vote down, 2 needed.\n\n\
             Votes\n  a: down.\n  c: down, 0.4 s ago.\n\nFailover\n"
        );
    }
}
