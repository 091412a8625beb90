//! Whether the vantages of a configuration can ever confirm an outage.

use std::collections::BTreeSet;

use super::{settings::Config, types::ProbeConfig};
use crate::{model::Region, probe::ProbeSpec};

/// The vantages that vote under a configuration.
#[derive(Debug)]
pub struct Voters {
    /// The peers whose votes are read.
    read: BTreeSet<Region>,
    /// Those of them whose votes can be verified, so that they count.
    verified: BTreeSet<Region>,
    allow_single_vantage: bool,
}

impl Voters {
    /// Those of this configuration.
    pub fn of(config: &Config) -> Self {
        let sidecars = || config.paths().filter(|(path, _)| path.kind.carries_votes());
        let verified = sidecars().filter(|(_, probe)| config.votes.is_some() || is_mutual_tls(probe));
        Self {
            read: sidecars().map(|(path, _)| path.peer).collect(),
            verified: verified.map(|(path, _)| path.peer).collect(),
            allow_single_vantage: config.failover.allow_single_vantage,
        }
    }

    /// How many vantages' votes count, with this one's.
    pub fn vantages(&self) -> usize {
        1 + self.verified.len()
    }

    /// How many vantages can vote on a peer, with this one: it does not vote on itself.
    pub(super) fn on(&self, peer: &Region) -> usize {
        self.vantages() - usize::from(self.verified.contains(peer))
    }

    /// Whether an outage of a peer would be confirmed if every vantage that can vote on it did, or by one alone.
    pub fn can_confirm(&self, peer: &Region) -> bool {
        let voters = self.on(peer);
        self.allow_single_vantage || (voters >= 2 && 2 * voters > 1 + self.read.len())
    }
}

pub(super) fn is_mutual_tls(probe: &ProbeConfig) -> bool {
    matches!(&probe.spec, ProbeSpec::Sidecar(spec) if spec.is_mutual_tls())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn possible(peers: &str, failover: &str) -> Vec<(String, usize, bool)> {
        let peers = peers.split(' ').map(|peer| {
            let (name, kind) = peer.split_once('/').unwrap_or((peer, "sidecar"));
            format!(
                "- {{region: {name}, targets: [{{host: 192.0.2.1, probes: [{{kind: {kind}, url: 'http://x'}}]}}]}}\n"
            )
        });
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("votes.key"), "0123456789abcdef").unwrap();
        let text = format!(
            "region: here\nvotes: {{key_file: votes.key}}\nfailover: {{{failover}}}\npeers:\n{}",
            peers.collect::<String>()
        );
        let config = Config::load(Some((&folder.path().join("c.yaml"), &text)), []).unwrap().config;
        let voters = Voters::of(&config);
        config
            .peers
            .iter()
            .map(|peer| (peer.region.to_string(), voters.vantages(), voters.can_confirm(&peer.region)))
            .collect()
    }

    #[test]
    fn a_quorum_needs_two_vantages_beside_the_region_and_more_than_half_of_all() {
        let all = |names: &str, vantages, can: bool| -> Vec<_> {
            names.split(' ').map(|name| (name.to_owned(), vantages, can)).collect()
        };
        assert_eq!(possible("b", ""), all("b", 2, false));
        assert_eq!(possible("b", "allow_single_vantage: true"), all("b", 2, true));
        assert_eq!(possible("b c", ""), all("b c", 3, true));
        assert_eq!(possible("b c d e", ""), all("b c d e", 5, true));
        assert_eq!(possible("b/http c/http", ""), all("b c", 1, false));
        // Only b votes: on c, with this one, but not on itself.
        assert_eq!(possible("b c/http", ""), [("b".to_owned(), 2, false), ("c".to_owned(), 2, true)]);
    }
}
