//! `check`: what a configuration would probe.

use std::{fmt::Write as _, process::ExitCode, time::Duration};

use super::report;
use crate::{
    app::{Tried, descriptors, probe_once},
    config::{Config, Database, Loaded, Voters},
    logging,
    metrics::series_count,
    model::{CertificateDates, Failure, FailureContext, Utc},
};

/// Prints warnings, then the effective configuration or what it would probe.
pub(super) fn print(loaded: &Loaded, effective: bool) -> ExitCode {
    for warning in &loaded.warnings {
        logging::to_stderr(format_args!("warning: {warning}"));
    }
    let text = if effective { loaded.config.to_yaml() } else { summary(&loaded.config) };
    match report::print(&text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report::failed(format_args!("stdout: {error}")),
    }
}

/// Probes each path once, and prints what came back. Exits with 1 if any failed.
pub(super) fn probe(loaded: &Loaded) -> ExitCode {
    for warning in &loaded.warnings {
        logging::to_stderr(format_args!("warning: {warning}"));
    }
    let tried = match probe_once(&loaded.config) {
        Ok(tried) => tried,
        Err(error) => return report::failed(format_args!("{error}")),
    };
    let failed = tried.iter().filter(|tried| tried.outcome.is_err()).count();
    let mut text = String::new();
    let rows: Vec<_> = tried.iter().map(row).collect();
    table(&mut text, &["PEER", "TARGET", "PROBE", "RESULT", "LATENCY", "DETAIL"], &rows);
    let _ = match failed {
        0 => writeln!(text, "\n{} succeeded, and none failed.", counted(tried.len(), "probe")),
        _ => writeln!(text, "\n{failed} of {} failed.", counted(tried.len(), "probe")),
    };
    match report::print(&text) {
        Ok(()) if failed == 0 => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        Err(error) => report::failed(format_args!("stdout: {error}")),
    }
}

/// What one probe found, as a line of the table.
fn row(tried: &Tried) -> [String; 6] {
    let Tried { path, outcome, failed, facts } = tried;
    let micros = |duration: Duration| format!("{:?}", Duration::from_micros(duration.as_micros() as u64));
    let (result, latency, mut detail) = match outcome {
        Ok(timings) => {
            let phases: Vec<_> =
                timings.phases.iter().map(|(phase, duration)| format!("{phase} {}", micros(duration))).collect();
            let http = facts.http.map(|answer| {
                let other = if answer.offers_http3 { "; the server offers HTTP/3, which is not probed" } else { "" };
                format!("; HTTP/{} status {}{other}", answer.protocol.number(), answer.status)
            });
            let warning = failed.detail.map(|detail| format!("; warning: {detail}")).unwrap_or_default();
            ("ok".to_owned(), micros(timings.total), phases.join(", ") + &http.unwrap_or_default() + &warning)
        }
        Err(failure) => (failure.to_string(), "-".to_owned(), reason(*failure, failed)),
    };
    if let Some(CertificateDates { not_after, .. }) = &facts.certificate {
        let nanos = u64::try_from(*not_after).unwrap_or(0).saturating_mul(1_000_000_000);
        let date = Utc(nanos).to_string();
        let _ = write!(detail, "; certificate until {}", date.split('T').next().unwrap_or_default());
    }
    let [peer, target, kind] = [path.peer.to_string(), path.target.to_string(), path.kind.to_string()];
    [peer, target, kind, result, latency, detail]
}

/// Why a probe failed: what is known of it, or else what its result means.
fn reason(failure: Failure, failed: &FailureContext) -> String {
    let meaning = match failure {
        Failure::Timeout => "no answer within the timeout",
        Failure::Refused => "nothing listens there, or the connection was reset",
        Failure::Unreachable => "a router or a firewall reports that it cannot be reached",
        Failure::Resolve => "the name has no address, or no name server answers",
        Failure::Tls => "the TLS handshake failed",
        Failure::Protocol => "the answer breaks the protocol",
        Failure::Status => "the answer is an error",
        Failure::Mismatch => "the answer is not the expected one",
        Failure::Auth => "the credentials were refused",
        Failure::Empty => "the answer has no address",
        Failure::Local => "this host cannot send: no route, no such source, or no permission",
    };
    match (failed.detail, failed.to_string()) {
        (Some(_), known) => known,
        (None, place) if place.is_empty() => meaning.to_owned(),
        (None, place) => format!("{place}: {meaning}"),
    }
}

fn summary(config: &Config) -> String {
    let rows: Vec<[String; 6]> = config
        .paths()
        .map(|(path, probe)| {
            [
                path.peer.to_string(),
                path.target.to_string(),
                path.kind.to_string(),
                format!("{:?}", probe.cadence.interval()),
                format!("{:?}", probe.cadence.timeout()),
                probe.spec.destination(&probe.host),
            ]
        })
        .collect();
    let environment = config.environment.as_ref().map(|name| format!(" of environment {name}")).unwrap_or_default();
    let Config { region, listen, .. } = config;
    let role = if config.is_witness() { "Witness" } else { "Region" };
    let mut text =
        format!("The configuration is valid. {role} {region}{environment} serves on {listen} and probes:\n\n");
    table(&mut text, &["PEER", "TARGET", "PROBE", "INTERVAL", "TIMEOUT", "DESTINATION"], &rows);
    let rate: f64 = config.paths().map(|(_, probe)| 1.0 / probe.cadence.interval().as_secs_f64()).sum();
    let targets: usize = config.peers.iter().map(|peer| peer.targets.len()).sum();
    let _ = writeln!(
        text,
        "\n{}, {}, {}: {rate:.1} probes per second, about {} series on /metrics, at most {} open files.",
        counted(config.peers.len(), "peer"),
        counted(targets, "target"),
        counted(rows.len(), "path"),
        series_count(config),
        descriptors(config),
    );
    if !config.witnesses.is_empty() {
        let _ = writeln!(text, "{}", witnesses(config));
    }
    let _ = writeln!(text, "{}", signing(config));
    if !config.operators.is_empty() {
        let _ = writeln!(text, "{}", operators(config));
    }
    for Database { name, login, table, rpo, servers } in &config.databases {
        let servers: Vec<_> =
            servers.iter().map(|server| format!("{} ({}, port {})", server.region, server.host, server.port)).collect();
        let _ = writeln!(
            text,
            "Database {name}: {} writes and reads tokens in the {} {table} at {}; a failover may lose {rpo:?}.",
            login.user(),
            login.store(),
            servers.join(", ")
        );
    }
    text
}

/// Which vantages own no region, and how many vote.
fn witnesses(config: &Config) -> String {
    let names: Vec<_> = config.other_witnesses().map(|witness| witness.name.as_str()).collect();
    let own = config.is_witness().then_some("This vantage is a witness: it votes, and owns no region.");
    let others = match names.len() {
        0 => None,
        1 => Some(format!("Witness: {}, which votes and owns no region.", names[0])),
        _ => Some(format!("Witnesses: {}, which vote and own no region.", names.join(", "))),
    };
    let count = format!("Vantages that vote, this one included: {}.", Voters::of(config).vantages());
    own.map(str::to_owned).into_iter().chain(others).chain([count]).collect::<Vec<_>>().join(" ")
}

/// Which vantages sign orders.
fn signing(config: &Config) -> String {
    let peers = config.peers.iter().map(|peer| (&peer.region, &peer.public_keys));
    let all: Vec<_> = peers.chain(config.other_witnesses().map(|one| (&one.name, &one.public_keys))).collect();
    let without: Vec<_> = all.iter().filter(|(_, keys)| keys.is_empty()).collect();
    let own = match &config.signing {
        Some(signing) => format!("This vantage signs orders with {}.", signing.key.public()),
        None => "This vantage has no key to sign orders; create one with regionwatch keygen.".to_owned(),
    };
    let names: Vec<_> = without.iter().map(|(vantage, _)| vantage.as_str()).collect();
    let peers = match names.len() {
        0 => "Every peer has a public key.".to_owned(),
        count if count == all.len() => "No peer has a public key.".to_owned(),
        _ => format!("Peers without a public key: {}.", names.join(", ")),
    };
    format!("{own} {peers}")
}

/// Who may command what, and what is missing for it.
fn operators(config: &Config) -> String {
    let names: Vec<_> = config.operators.iter().map(|operator| operator.name.as_str()).collect();
    let mut text =
        format!("Operators, who may arm, disarm, maintain, release and fail over regions: {}.", names.join(", "));
    if config.alertmanagers.is_empty() {
        text += " Without alertmanagers, this vantage sends no order of theirs.";
    }
    if config.state_dir.is_none() {
        text += " Without state_dir, it keeps no audit log, and a restart of all vantages forgets what they commanded.";
    }
    text
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Appends a table whose columns are as wide as their longest cell, without spaces at the end of a line.
pub(super) fn table<const N: usize>(text: &mut String, head: &[&str; N], rows: &[[String; N]]) {
    let mut widths = head.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut line = |cells: [&str; N]| {
        let mut row = String::new();
        for (cell, width) in cells.iter().zip(widths) {
            let _ = write!(row, "{cell:width$}  ");
        }
        let _ = writeln!(text, "{}", row.trim_end());
    };
    line(*head);
    for row in rows {
        line(std::array::from_fn(|n| row[n].as_str()));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_environment_is_named_if_there_is_one() {
        let first = |setting: &str| {
            let text =
                format!("region: a\n{setting}peers: [{{region: b, targets: [{{host: h, probes: [{{kind: icmp}}]}}]}}]");
            let config = Config::load(Some((Path::new("x.yaml"), &text)), []).unwrap().config;
            summary(&config).lines().next().unwrap().to_owned()
        };
        assert_eq!(first(""), "The configuration is valid. Region a serves on 0.0.0.0:9877 and probes:");
        assert!(first("environment: prod\n").contains(" Region a of environment prod serves on "));
    }

    #[test]
    fn a_witness_is_named_and_counted() {
        let of = |region: &str| {
            let peer = |name: &str| format!("{{region: {name}, targets: [{{host: h, probes: [{{kind: icmp}}]}}]}}");
            let witness = "witnesses: [{name: w, url: 'http://w:9877'}]\nanchors: ['tcp://192.0.2.1:1']\n";
            let text = format!("region: {region}\n{witness}peers: [{}, {}]", peer("a"), peer("b"));
            summary(&Config::load(Some((Path::new("x.yaml"), &text)), []).unwrap().config)
        };
        let region = of("a");
        assert!(region.contains(" Region a serves on ") && region.contains("\nw     w       sidecar "), "{region}");
        let said = "\nWitness: w, which votes and owns no region. Vantages that vote, this one included: 1.\n";
        assert!(region.contains(said), "{region}");
        let witness = of("w");
        assert!(witness.contains(" Witness w serves on ") && !witness.contains("sidecar"), "{witness}");
        assert!(witness.contains("\nThis vantage is a witness: it votes, and owns no region. Vantages "), "{witness}");
    }

    #[test]
    fn operators_are_named_with_what_their_orders_need() {
        let of = |settings: &str| {
            let key = crate::signing::PrivateKey::generate().unwrap().0.public();
            let text = format!(
                "region: a\noperators: ['alice={key}']\n{settings}\
                 peers: [{{region: b, targets: [{{host: h, probes: [{{kind: icmp}}]}}]}}]"
            );
            summary(&Config::load(Some((Path::new("x.yaml"), &text)), []).unwrap().config)
        };
        let bare = of("");
        let said = "fail over regions: alice. Without alertmanagers, this vantage sends no order of theirs. Without state_dir,";
        assert!(bare.contains(said), "{bare}");
        let whole = of("alertmanagers: ['http://a.example:9093']\nstate_dir: state\n");
        assert!(whole.contains("fail over regions: alice.\n"), "{whole}");
    }

    #[test]
    fn an_ipv6_address_has_brackets_before_a_port() {
        let text = "region: a\nlisten: '[::1]:1'\npeers: [{region: b, targets: [{probes: [{kind: http, url: \
                    'http://[2001:db8::1]:8080/x'}]}]}]";
        let config = Config::load(Some((Path::new("x.yaml"), text)), []).unwrap().config;
        let text = summary(&config);
        assert!(text.contains("GET http://[2001:db8::1]:8080/x\n") && text.contains(" [::1]:1 "), "{text}");
    }
}
