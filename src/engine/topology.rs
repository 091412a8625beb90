//! What is measured, and how that differs from what was measured before. Computed once for a reload, and applied by every
//! owner: schedule, windows, decision, votes, alert pushers, resolver.

use std::{collections::HashMap, sync::Arc, time::Duration};

use crate::{
    config::{Anchor, Config, ProbeConfig},
    model::{Path, PathId, Region, TargetName},
    schedule::{OverdueAfter, SlotPhase},
};

/// When a probe of an anchor is overdue: sooner than a silent peer is suspected.
const ANCHOR_OVERDUE_AFTER: Duration = Duration::from_millis(300);

/// What a reload does to a part of the topology.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Added,
    /// It stays as it is.
    Kept,
    /// It stays as it is, but files that it names have other content: a certificate was renewed behind the same name.
    Renewed,
    /// It stays, and is measured in another way.
    Changed,
}

/// How a path is scheduled.
#[derive(Debug, Clone)]
pub struct Slot {
    /// Its number, which it keeps for as long as it is measured.
    pub id: PathId,
    /// When its probes start; all paths of a target share it, and keep it for as long as there is one.
    pub phase: SlotPhase,
    /// When its probes are overdue; set by the engine, read by the schedule.
    pub overdue_after: OverdueAfter,
    /// What the reload does to it.
    pub change: Change,
    /// How often reloads have changed what is asked there.
    pub question: u32,
}

/// A path to a peer.
#[derive(Debug)]
pub struct PathSetup<'a> {
    /// What it is.
    pub path: Path,
    /// How it is probed.
    pub probe: &'a ProbeConfig,
    /// How it is scheduled.
    pub slot: &'a Slot,
}

/// Everything that is measured under a configuration.
#[derive(Debug)]
pub struct Topology {
    /// The configuration that it is made of.
    pub config: Arc<Config>,
    /// Endpoints outside all regions, in the order of the configuration. Another endpoint is another anchor.
    pub anchors: Vec<(Anchor, Slot)>,
    /// Servers of each database, in the order of the configuration; they stay for the life of the process.
    pub databases: Vec<Vec<Slot>>,
    /// Paths and anchors that are not measured any more.
    pub removed: Vec<PathId>,
    /// Whether the windows have another length, so that what they hold does not count.
    pub window_changed: bool,
    /// Whether alerts go to other Alertmanagers, with other links, or by files with other content.
    pub alerting_changed: bool,
    /// One for each path, in the order of the configuration.
    slots: Vec<Slot>,
    last_id: u32,
    last_phase: SlotPhase,
}

impl Topology {
    /// The first one of a process. The phases of its targets follow the one that is given.
    pub fn first(config: Arc<Config>, phase: SlotPhase) -> Self {
        let nothing = Self {
            config: Arc::clone(&config),
            slots: Vec::new(),
            anchors: Vec::new(),
            databases: Vec::new(),
            removed: Vec::new(),
            window_changed: false,
            alerting_changed: false,
            last_id: 0,
            last_phase: phase,
        };
        nothing.next(config)
    }

    /// The one that follows under another configuration.
    #[must_use]
    pub fn next(&self, config: Arc<Config>) -> Self {
        let (mut last_id, mut last_phase) = (self.last_id, self.last_phase);
        let mut new_id = || {
            last_id += 1;
            PathId(last_id)
        };
        let mut new_phase = || {
            last_phase = last_phase.next();
            last_phase
        };
        let mut anchors_before = self.anchors.clone();
        let anchors = config.anchors.iter().map(|anchor| {
            let known = anchors_before.iter().position(|(known, _)| known == anchor);
            let slot = match known.map(|n| anchors_before.swap_remove(n).1) {
                Some(slot) => Slot { change: Change::Kept, ..slot },
                None => {
                    let overdue_after = OverdueAfter::default();
                    overdue_after.set(ANCHOR_OVERDUE_AFTER);
                    Slot { id: new_id(), phase: new_phase(), overdue_after, change: Change::Added, question: 0 }
                }
            };
            (anchor.clone(), slot)
        });
        let anchors: Vec<_> = anchors.collect();
        let known = self.databases.iter().zip(self.config.databases.iter().zip(&config.databases));
        let mut databases: Vec<Vec<_>> = known
            .map(|(slots, (old, new))| {
                let change = if old.files_differ(new) { Change::Renewed } else { Change::Kept };
                slots.iter().map(|slot| Slot { change, ..slot.clone() }).collect()
            })
            .collect();
        if databases.is_empty() {
            let mut new = || Slot {
                id: new_id(),
                phase: new_phase(),
                overdue_after: OverdueAfter::default(),
                change: Change::Added,
                question: 0,
            };
            let all = config.databases.iter();
            databases = all.map(|database| database.servers.iter().map(|_| new()).collect()).collect();
        }
        let mut phases: HashMap<(Region, TargetName), SlotPhase> =
            self.paths().map(|setup| (target_of(&setup.path), setup.slot.phase)).collect();
        let mut before: HashMap<Path, PathSetup<'_>> = self.paths().map(|setup| (setup.path.clone(), setup)).collect();
        let slots = config.paths().map(|(path, probe)| {
            let phase = *phases.entry(target_of(&path)).or_insert_with(&mut new_phase);
            let Some(known) = before.remove(&path) else {
                let overdue_after = OverdueAfter::default();
                return Slot { id: new_id(), phase, overdue_after, change: Change::Added, question: 0 };
            };
            let change = match known.probe.measures_the_same(probe) {
                true if known.probe.spec.files_differ(&probe.spec) => Change::Renewed,
                true => Change::Kept,
                false => Change::Changed,
            };
            let question = known.slot.question.wrapping_add(u32::from(!known.probe.asks_the_same(probe)));
            Slot { change, question, ..known.slot.clone() }
        });
        let slots = slots.collect();
        let gone = before.values().map(|setup| setup.slot).chain(anchors_before.iter().map(|(_, slot)| slot));
        Self {
            slots,
            anchors,
            databases,
            removed: gone.map(|slot| slot.id).collect(),
            window_changed: config.window != self.config.window,
            alerting_changed: alerting(&config) != alerting(&self.config)
                || config
                    .alertmanagers
                    .iter()
                    .zip(&self.config.alertmanagers)
                    .any(|(to, before)| to.access.tls.files_differ(&before.access.tls)),
            last_id,
            last_phase,
            config,
        }
    }

    /// The paths to the peers, in the order of the configuration: those of a peer stand together.
    pub fn paths(&self) -> impl Iterator<Item = PathSetup<'_>> {
        self.config.paths().zip(&self.slots).map(|((path, probe), slot)| PathSetup { path, probe, slot })
    }

    /// How many paths there are.
    pub const fn path_count(&self) -> usize {
        self.slots.len()
    }
}

/// What the alert pushers are made of.
fn alerting(config: &Config) -> impl PartialEq + '_ {
    (&config.alertmanagers, &config.external_url, &config.runbook_url, &config.dashboard_url)
}

fn target_of(path: &Path) -> (Region, TargetName) {
    (path.peer.clone(), path.target.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Arc<Config> {
        let text = format!("region: here\n{text}");
        let loaded = Config::load(Some(("c.yaml".as_ref(), &text)), []);
        Arc::new(loaded.unwrap_or_else(|errors| panic!("{errors}\n{text}")).config)
    }

    fn peers(peers: &[&str]) -> String {
        let peer = |peer: &&str| {
            let (region, targets) = peer.split_once(": ").unwrap();
            format!("- region: {region}\n  targets: [{targets}]\n")
        };
        format!("peers:\n{}", peers.iter().map(peer).collect::<String>())
    }

    const A: &str = "{name: a, host: 192.0.2.1, probes: [{kind: icmp}, {kind: tcp, port: 1}]}";
    const B: &str = "{name: b, host: 192.0.2.2, probes: [{kind: icmp}]}";

    fn changes(topology: &Topology) -> Vec<(String, u32, Change)> {
        topology.paths().map(|setup| (setup.path.to_string(), setup.slot.id.0, setup.slot.change)).collect()
    }

    #[test]
    fn a_reload_adds_keeps_changes_and_removes_paths_and_never_reuses_a_number() {
        use Change::{Added, Changed, Kept};
        let first =
            Topology::first(config(&peers(&[&format!("x: {A}, {B}"), &format!("y: {B}")])), SlotPhase::random());
        let all = |change| {
            ["x/a/icmp", "x/a/tcp", "x/b/icmp", "y/b/icmp"]
                .map(str::to_owned)
                .into_iter()
                .zip(1..)
                .map(move |(path, id)| (path, id, change))
        };
        assert_eq!(changes(&first), all(Added).collect::<Vec<_>>());
        assert_eq!(first.removed, []);
        let same = first.next(Arc::clone(&first.config));
        assert_eq!(changes(&same), all(Kept).collect::<Vec<_>>());
        let other = A.replace("port: 1", "port: 2");
        let next = same.next(config(&peers(&[&format!("z: {B}"), &format!("x: {other}")])));
        let expected = [("z/b/icmp", 5, Added), ("x/a/icmp", 1, Kept), ("x/a/tcp", 2, Changed)];
        assert_eq!(changes(&next), expected.map(|(path, id, change)| (path.to_owned(), id, change)));
        let mut removed = next.removed.to_vec();
        removed.sort_unstable();
        assert_eq!(removed, [PathId(3), PathId(4)]);
        let back = next.next(config(&peers(&[&format!("y: {B}")])));
        assert_eq!(changes(&back), [("y/b/icmp".to_owned(), 6, Added)]);
    }

    #[test]
    fn a_question_is_another_one_with_another_port_but_not_with_another_interval() {
        let question = |topology: &Topology| topology.paths().map(|setup| setup.slot.question).collect::<Vec<_>>();
        let first = Topology::first(config(&peers(&[&format!("x: {A}")])), SlotPhase::random());
        let slower = A.replace("port: 1", "port: 1, interval: 9s, critical: true");
        let next = first.next(config(&peers(&[&format!("x: {slower}")])));
        assert_eq!((next.paths().nth(1).unwrap().slot.change, question(&next)), (Change::Changed, vec![0, 0]));
        let next = next.next(config(&peers(&[&format!("x: {}", A.replace("port: 1", "port: 2"))])));
        assert_eq!(question(&next), [0, 1]);
    }

    #[test]
    fn another_label_of_a_target_changes_nothing_that_is_measured() {
        let first = Topology::first(config(&peers(&[&format!("x: {A}")])), SlotPhase::random());
        let labelled = A.replace("name: a", "name: a, labels: {team: web}");
        let next = first.next(config(&peers(&[&format!("x: {labelled}")])));
        assert!(next.paths().all(|setup| setup.slot.change == Change::Kept && setup.slot.question == 0));
    }

    #[test]
    fn probes_and_pushers_are_built_again_only_if_a_file_of_theirs_has_other_content() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        let certificate = || rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap().cert.pem();
        let tls = format!("tls: {{ca_file: '{}'}}", file.display());
        let a = format!("{{name: a, host: 192.0.2.1, probes: [{{kind: icmp}}, {{kind: tcp, port: 1, {tls}}}]}}");
        let alertmanagers = format!("alertmanagers: [{{url: 'https://192.0.2.3', {tls}}}]\n");
        let load = || config(&format!("{alertmanagers}{}", peers(&[&format!("x: {a}")])));
        std::fs::write(&file, certificate()).unwrap();
        let first = Topology::first(load(), SlotPhase::random());
        let of_all = |topology: &Topology| changes(topology).into_iter().map(|(.., change)| change).collect::<Vec<_>>();
        let same = first.next(load());
        assert_eq!((of_all(&same), same.alerting_changed), (vec![Change::Kept; 2], false));
        std::fs::write(&file, certificate()).unwrap();
        let renewed = same.next(load());
        assert_eq!((of_all(&renewed), renewed.alerting_changed), (vec![Change::Kept, Change::Renewed], true));
        let after = renewed.next(load());
        assert_eq!((of_all(&after), after.alerting_changed), (vec![Change::Kept; 2], false));
    }

    #[test]
    fn a_target_keeps_its_phase_and_a_path_its_overdue_time() {
        let first = Topology::first(config(&peers(&[&format!("x: {A}")])), SlotPhase::random());
        first.paths().next().unwrap().slot.overdue_after.set(Duration::from_millis(7));
        let next =
            first.next(config(&peers(&[&format!("w: {B}"), &format!("x: {}", A.replace("port: 1", "port: 2"))])));
        let phase = |topology: &Topology, n: usize| topology.paths().nth(n).unwrap().slot.phase;
        assert_eq!(phase(&first, 0), phase(&first, 1), "paths of a target share it");
        assert_eq!([phase(&next, 1), phase(&next, 2)], [phase(&first, 0); 2]);
        assert_ne!(phase(&next, 0), phase(&first, 0));
        assert_eq!(next.paths().nth(1).unwrap().slot.overdue_after.get(), Duration::from_millis(7));
    }

    #[test]
    fn anchors_windows_and_alerting_have_changes_of_their_own() {
        let with = |text: &str| config(&format!("{text}\n{}", peers(&[&format!("x: {B}")])));
        let first = Topology::first(with("anchors: ['tcp://192.0.2.8:53', 'tcp://192.0.2.9:53']"), SlotPhase::random());
        let ids = |topology: &Topology| -> Vec<_> {
            topology.anchors.iter().map(|(anchor, slot)| (anchor.to_string(), slot.id.0, slot.change)).collect()
        };
        let (eight, nine) = ("tcp://192.0.2.8:53".to_owned(), "tcp://192.0.2.9:53".to_owned());
        assert_eq!(ids(&first), [(eight, 1, Change::Added), (nine.clone(), 2, Change::Added)]);
        assert!(!first.window_changed && !first.alerting_changed);
        let next =
            first.next(with("anchors: ['tcp://192.0.2.9:53']\nwindow: 1m\nalertmanagers: ['http://192.0.2.3:9093']"));
        assert_eq!((ids(&next), next.removed.clone()), (vec![(nine, 2, Change::Kept)], vec![PathId(1)]));
        assert!(next.window_changed && next.alerting_changed);
        let links = ["external_url: 'http://a/'", "runbook_url: ''", "dashboard_url: 'http://a/'"];
        assert!(links.iter().all(|link| first.next(with(link)).alerting_changed));
    }
}
