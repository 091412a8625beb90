//! What a failover depends on: who may take over, what votes are signed with, and what is not going to work.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::{
    types::{Config, Peer, ProbeConfig, ProbeSpec},
    units::Parsed,
};
use crate::model::{Path as ModelPath, ProbeKind};

/// Where a sidecar tells its votes.
const BULLETIN_PATH: &str = "/api/v1/regions";

/// What makes a peer eligible as a failover target, and when a failover is called for.
#[derive(Debug, Clone, PartialEq)]
pub struct Failover {
    /// Residency zones that may take over; empty allows all.
    pub allowed_zones: Vec<Arc<str>>,
    /// The least great-circle distance, in metres; 0 is off.
    pub min_distance_meters: f64,
    /// The replication lag that is tolerated.
    pub rpo: Duration,
    /// How long a region must stay down before the second stage.
    pub execute_after: Duration,
    /// Whether the second stage is called for without votes of other vantages; for two regions.
    pub allow_single_vantage: bool,
    /// The least [`Peer::capacity`](super::Peer::capacity), 0 to 1; 0 is off.
    pub min_capacity: f64,
    /// Whether the first failure is followed by a few probes at once, so that a death is seen sooner.
    pub edge_burst: bool,
}

impl Default for Failover {
    fn default() -> Self {
        Self {
            allowed_zones: Vec::new(),
            min_distance_meters: 0.0,
            rpo: Duration::from_secs(5),
            execute_after: Duration::from_secs(30),
            allow_single_vantage: false,
            min_capacity: 0.0,
            edge_burst: true,
        }
    }
}

/// What votes are signed and verified with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VoteKeys {
    /// The file they were read from.
    pub file: PathBuf,
    /// One or two: the first signs, each verifies. With two, the vantages can change keys one after another.
    pub keys: Vec<Secret>,
}

/// Bytes that are never displayed, debugged or printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<[u8]>);

impl Secret {
    /// Makes a secret of bytes.
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self(bytes.into())
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The keys of a file: one or two lines of 16 to 256 printable characters; blank lines and lines that begin
    /// with `#` do not count. 16 bytes are as many as nobody guesses; HMAC gains nothing from more than 64.
    pub(super) fn list(file: &[u8], path: &Path) -> Parsed<Vec<Self>> {
        let hint = || format!("write one with {}", new_key(path));
        let mut keys: Vec<Self> = Vec::new();
        for (n, line) in (1..).zip(file.split(|byte| *byte == b'\n')) {
            let line = line.trim_ascii();
            match line.len() {
                0 => continue,
                _ if line.starts_with(b"#") => continue,
                _ if !line.iter().all(|byte| matches!(byte, b' '..=b'~')) => {
                    return Err(format!("holds a key on line {n} that is no ASCII text; {}", hint()));
                }
                length @ ..16 => {
                    return Err(format!("holds a key of {length} characters on line {n}; {}", hint()));
                }
                length @ 257.. => {
                    return Err(format!("holds a key of {length} characters on line {n}; write at most 256"));
                }
                _ => {}
            }
            let key = Self::new(line);
            if keys.contains(&key) {
                return Err(format!("holds the same key again on line {n}; delete one"));
            }
            if keys.len() == 2 {
                return Err(format!("holds a third key on line {n}; keep two, the one that signs first"));
            }
            keys.push(key);
        }
        if keys.is_empty() { Err(format!("holds no key; {}", hint())) } else { Ok(keys) }
    }
}

/// What to type for a new key in that file.
pub(super) fn new_key(path: &Path) -> String {
    format!("openssl rand -hex 32 > {}", path.display())
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// A sentence for each thing that is asked for and cannot come about.
pub(super) fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = closed_gates(config);
    warnings.extend(no_bulletin(config));
    if !config.alertmanagers.is_empty() {
        warnings.extend(never_confirmed(config));
    }
    warnings
}

/// Why regions can never take over: what is asked of them is not known.
fn closed_gates(config: &Config) -> Vec<String> {
    let failover = &config.failover;
    let told = |gate: &str, line: &str, own_lacks: bool, lacks: fn(&Peer) -> bool| {
        let own = own_lacks.then_some(&config.region);
        let peers = config.peers.iter().filter(|peer| lacks(peer)).map(|peer| &peer.region);
        let mut regions = own.into_iter().chain(peers);
        let first = regions.next()?;
        let more = and_more(regions.count());
        Some(format!("failover.{gate}: cannot be told of {first}{more}, so that nobody fails over there; write {line}"))
    };
    let mut warnings = Vec::new();
    if !failover.allowed_zones.is_empty() {
        warnings.extend(told("allowed_zones", "zone: NAME", config.zone.is_none(), |peer| peer.zone.is_none()));
    }
    if failover.min_distance_meters > 0.0 {
        let line = "location: {latitude: DEGREES, longitude: DEGREES}";
        warnings.extend(told("min_distance", line, config.location.is_none(), |peer| peer.location.is_none()));
    }
    if failover.min_capacity > 0.0 {
        warnings
            .extend(told("min_capacity", "capacity: 0.5", config.capacity.is_none(), |peer| peer.capacity.is_none()));
    }
    warnings
}

/// The first of several, and how many more there are.
fn and_more(more: usize) -> String {
    if more == 0 { String::new() } else { format!(" and {more} more") }
}

/// Which sidecar probes do not ask for votes. Before the path may be a reverse proxy's prefix.
fn no_bulletin(config: &Config) -> Option<String> {
    let sidecar = |(path, probe): (ModelPath, &ProbeConfig)| match &probe.spec {
        ProbeSpec::Http(spec) if path.kind == ProbeKind::Sidecar => Some((path.peer, Arc::clone(&spec.url.path))),
        _ => None,
    };
    let is_votes = |path: &str| path.split('?').next().is_some_and(|path| path.ends_with(BULLETIN_PATH));
    let mut wrong = config.paths().filter_map(sidecar).filter(|(_, path)| !is_votes(path));
    let (peer, path) = wrong.next()?;
    let more = and_more(wrong.count());
    Some(format!(
        "peers: the sidecar probe of {peer}{more} asks for {path}, where no votes are; write url: \
         \"http://HOST:9877{BULLETIN_PATH}\""
    ))
}

/// Why a failover that is to be told to Alertmanager would never be confirmed.
fn never_confirmed(config: &Config) -> Vec<String> {
    let sidecars: Vec<_> = config.paths().filter(|(path, _)| path.kind == ProbeKind::Sidecar).collect();
    let unsigned = sidecars.iter().find(|(_, probe)| !has_identity(probe));
    let mut warnings = Vec::new();
    match (&config.votes, unsigned) {
        (None, Some((path, _))) => warnings.push(format!(
            "votes: is missing, so that votes of {} are ignored; write votes: {{key_file: votes.key}} on every \
             vantage, or tls: {{cert_file: ..., key_file: ...}} at the sidecar probes",
            path.peer
        )),
        _ if sidecars.is_empty() && config.peers.len() >= 2 => warnings.push(
            "peers: have no sidecar probe, so that no failover is ever confirmed; write {kind: http, url: \
             \"http://HOST:9877/api/v1/regions\", sidecar: true} at a target of each peer"
                .to_owned(),
        ),
        _ => {}
    }
    if config.peers.len() == 1 && config.anchors.len() < 2 {
        warnings.push(
            "anchors: are fewer than two, so that the death of the only peer cannot be told from this region's \
             own isolation; write two outside both regions, such as anchors: [tcp://192.0.2.1:443, \
             tcp://198.51.100.1:443]"
                .to_owned(),
        );
    }
    warnings
}

fn has_identity(probe: &ProbeConfig) -> bool {
    matches!(&probe.spec, ProbeSpec::Http(spec) if spec.url.https && spec.tls.identity.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_or_two_keys_are_read_without_what_is_around_them() {
        let read = |text: &str| {
            let keys = Secret::list(text.as_bytes(), Path::new("votes.key"))?;
            Ok::<Vec<_>, String>(keys.iter().map(|key| String::from_utf8(key.as_bytes().to_vec()).unwrap()).collect())
        };
        let (a, b, c) = ("a".repeat(16), "b".repeat(256), "c".repeat(40));
        assert_eq!(read(&a), Ok(vec![a.clone()]));
        assert_eq!(read(&format!("# new\r\n \t{a}\r\n\r\n# old\n{b}")), Ok(vec![a.clone(), b.clone()]));
        for text in [
            String::new(),
            "\n# only this\n".to_owned(),
            a[1..].to_owned(),
            format!("{b}b"),
            format!("{a}\n{a}"),
            format!("{a}\n{b}\n{c}"),
            format!("\u{feff}{a}"),
            format!("{a}\n{}é", &b[..100]),
            format!("{a}\0{a}"),
        ] {
            let told = read(&text).unwrap_err();
            assert!(told.contains("; ") && !told.contains(&a), "{told}");
        }
    }

    #[test]
    fn a_secret_is_not_debugged() {
        let key = Secret::new(*b"hunter2");
        assert_eq!((format!("{key:?}"), format!("{key:#?}")), ("<secret>".to_owned(), "<secret>".to_owned()));
    }
}
