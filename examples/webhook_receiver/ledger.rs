//! The record of orders: what was decided stands on disk before anybody is answered.

use std::{
    collections::{BTreeSet, VecDeque},
    fmt,
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Seek, SeekFrom, Write},
    path::Path,
};

use regionwatch::model::UnixMillis;
use serde::{Deserialize, Serialize};

use crate::order::Order;

/// The most entries that are remembered; older ones stay in the file.
const REMEMBERED: usize = 10_000;

/// The longest line that is read back.
const LONGEST_LINE: u64 = 64 << 10;

/// How far the clocks of the vantages may differ from ours, in milliseconds.
const SKEW: u64 = 30_000;

/// What is never done.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rules {
    /// All regions, of which one must stay in service; no rule where empty.
    pub(crate) regions: BTreeSet<String>,
    /// How long a region is not ordered about again, by stage.
    pub(crate) block_millis: u64,
}

/// What became of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "decision")]
pub(crate) enum Decision {
    /// To be carried out.
    Accepted {
        /// The region that takes over.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        target: Option<String>,
    },
    /// Not carried out; looked at again when it is told again.
    Refused {
        /// Why.
        reason: String,
    },
    /// Nothing is done until a person approves it.
    AwaitsApproval {
        /// Why.
        reason: String,
    },
    /// Not carried out: an order about the same outage was.
    SameOutage {
        /// The key of that order.
        order: String,
    },
    /// It is over; nothing is undone.
    Resolved,
    /// The command has ended.
    Ended {
        /// Whether it succeeded.
        ok: bool,
    },
    /// Somebody says that the region is in service again.
    BackOn,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted { target: Some(target) } => write!(f, "accepted, to {target}"),
            Self::Accepted { target: None } => f.write_str("accepted, without a target"),
            Self::Refused { reason } => write!(f, "refused: {reason}"),
            Self::AwaitsApproval { reason } => write!(f, "waits for the approval of a person: {reason}"),
            Self::SameOutage { order } => write!(f, "is about the outage of {order}, which was carried out"),
            Self::Resolved => f.write_str("over; nothing is undone"),
            Self::Ended { ok: true } => f.write_str("carried out"),
            Self::Ended { ok: false } => f.write_str("failed"),
            Self::BackOn => f.write_str("in service again"),
        }
    }
}

/// A line of the record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Milliseconds since 1970.
    pub(crate) at: u64,
    #[serde(flatten)]
    pub(crate) order: Order,
    #[serde(flatten)]
    pub(crate) decision: Decision,
}

/// The record, and what follows from it.
#[derive(Debug)]
pub(crate) struct Ledger {
    file: File,
    entries: VecDeque<Entry>,
    rules: Rules,
}

impl Ledger {
    /// Opens the record, or begins one.
    pub(crate) fn open(path: &Path, rules: Rules) -> Result<Self, String> {
        let place = path.display();
        let failed = |error: std::io::Error| format!("--record {place}: {error}");
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(failed)?;
        let mut entries = VecDeque::new();
        let mut reader = BufReader::new(&file);
        let mut complete = 0;
        for number in 1.. {
            let mut line = Vec::new();
            let read = std::io::Read::take(&mut reader, LONGEST_LINE).read_until(b'\n', &mut line).map_err(failed)?;
            // A line without its end was never answered for: the receiver ended while it wrote.
            if line.last() != Some(&b'\n') && read < LONGEST_LINE as usize {
                break;
            }
            complete += read as u64;
            let entry = serde_json::from_slice(&line).map_err(|error| {
                format!("--record {place}: line {number} is none of ours ({error}); mend it, or begin a new record")
            })?;
            remember(&mut entries, entry);
        }
        drop(reader);
        file.set_len(complete).map_err(failed)?;
        file.seek(SeekFrom::End(0)).map_err(failed)?;
        Ok(Self { file, entries, rules })
    }

    /// Decides on an order and records that; `None` where nothing new is to be said of it. With a reason why it needs the
    /// approval of a person, it is not carried out.
    ///
    /// # Errors
    /// The record cannot be written: then nothing was decided.
    pub(crate) fn take(
        &mut self,
        order: &Order,
        needs_approval: Option<String>,
        now: UnixMillis,
    ) -> std::io::Result<Option<Decision>> {
        let key = order.key();
        let last = self.of(&key).rfind(|entry| !matches!(entry.decision, Decision::Ended { .. }));
        let accepted = |entry: &Entry| matches!(entry.decision, Decision::Accepted { .. });
        let awaits = |entry: &Entry| matches!(entry.decision, Decision::AwaitsApproval { .. });
        let began = UnixMillis::parse(&order.onset).map_or(0, |onset| onset.0);
        // What comes after the end is new, and what began after the block period, if the end was never received.
        let is_old = |entry: &Entry| began <= entry.at.saturating_add(self.rules.block_millis);
        let known = match order.incident_id {
            Some(_) => self.of(&key).any(accepted),
            None => last.is_some_and(|entry| accepted(entry) && is_old(entry)),
        };
        if known || (needs_approval.is_some() && last.is_some_and(|entry| awaits(entry) && is_old(entry))) {
            return Ok(None);
        }
        let decision = match (self.same_outage(order), needs_approval) {
            (Some(order), _) => Decision::SameOutage { order },
            (None, Some(reason)) => Decision::AwaitsApproval { reason },
            (None, None) => self.decide(order, now),
        };
        if last.is_some_and(|entry| !accepted(entry) && !awaits(entry) && entry.decision == decision) {
            return Ok(None);
        }
        self.append(order.clone(), decision.clone(), now)?;
        Ok(Some(decision))
    }

    /// The key of the order that was carried out about the same outage: that outage had begun when it was carried out. Two
    /// vantages may have named one outage differently.
    fn same_outage(&self, order: &Order) -> Option<String> {
        let onset = UnixMillis::parse(&order.onset)?;
        let about = |entry: &&Entry| entry.order.peer_region == order.peer_region;
        let last = self.entries.iter().rev().filter(about).take_while(|entry| entry.decision != Decision::BackOn);
        let mut carried_out = last.filter(|entry| {
            let Order { stage, dry_run, incident_id, .. } = &entry.order;
            (stage, *dry_run) == (&order.stage, order.dry_run)
                && incident_id.is_some()
                && matches!(entry.decision, Decision::Accepted { .. })
        });
        let entry = carried_out.find(|entry| onset.0 <= entry.at.saturating_add(SKEW))?;
        Some(entry.order.key())
    }

    fn of<'a>(&'a self, key: &'a str) -> impl DoubleEndedIterator<Item = &'a Entry> {
        self.entries.iter().filter(move |entry| entry.order.key() == key)
    }

    fn decide(&self, order: &Order, now: UnixMillis) -> Decision {
        let refused = |reason: String| Decision::Refused { reason };
        let peer = &order.peer_region;
        let same = |entry: &&Entry| {
            entry.order.peer_region == *peer && entry.order.stage == order.stage && entry.order.dry_run == order.dry_run
        };
        let last = self.entries.iter().rev().filter(same);
        let mut recent = last.take_while(|entry| entry.at.saturating_add(self.rules.block_millis) > now.0);
        let back_on = self
            .entries
            .iter()
            .rev()
            .find(|entry| entry.order.peer_region == *peer && matches!(entry.decision, Decision::BackOn));
        let blocking = recent.find(|entry| {
            matches!(entry.decision, Decision::Accepted { .. }) && back_on.is_none_or(|back| back.at < entry.at)
        });
        if let Some(entry) = blocking {
            let again = UnixMillis(entry.at.saturating_add(self.rules.block_millis));
            return refused(format!("{peer} was ordered to {} already; blocked until {again}", order.stage));
        }
        if !order.executes() {
            return Decision::Accepted { target: order.candidates.first().cloned() };
        }
        let off = self.off();
        let regions = &self.rules.regions;
        let serves = |region: &String| {
            region != peer && !off.contains(region.as_str()) && (regions.is_empty() || regions.contains(region))
        };
        if !regions.is_empty() && !regions.contains(peer) {
            return refused(format!("{peer} is not among --regions"));
        }
        if !regions.is_empty() && !regions.iter().any(serves) {
            return refused(format!("without {peer} no region would stay in service"));
        }
        match order.candidates.iter().find(|region| serves(region)) {
            Some(target) => Decision::Accepted { target: Some(target.clone()) },
            None => refused("no region that is in service can take over".to_owned()),
        }
    }

    /// The regions that were failed over for real and are not said to be back.
    fn off(&self) -> BTreeSet<&str> {
        let mut off = BTreeSet::new();
        for Entry { order, decision, .. } in &self.entries {
            match decision {
                Decision::Accepted { .. } if order.executes() && !order.dry_run => off.insert(&*order.peer_region),
                Decision::BackOn => off.remove(&*order.peer_region),
                _ => false,
            };
        }
        off
    }

    /// Notes that an order is over; nothing follows from it.
    pub(crate) fn resolve(&mut self, order: &Order, now: UnixMillis) -> std::io::Result<()> {
        let key = order.key();
        let open = self.of(&key).next_back().is_some_and(|entry| entry.decision != Decision::Resolved);
        if open { self.append(order.clone(), Decision::Resolved, now) } else { Ok(()) }
    }

    /// Notes how a command ended.
    pub(crate) fn end(&mut self, order: &Order, ok: bool, now: UnixMillis) -> std::io::Result<()> {
        self.append(order.clone(), Decision::Ended { ok }, now)
    }

    /// Notes that a region is in service again; `false` where it was not off.
    pub(crate) fn back_on(&mut self, region: &str, now: UnixMillis) -> std::io::Result<bool> {
        if !self.off().contains(region) {
            return Ok(false);
        }
        let order = Order {
            peer_region: region.to_owned(),
            stage: "execute".to_owned(),
            incident_id: None,
            candidates: Vec::new(),
            onset: String::new(),
            dry_run: false,
        };
        self.append(order, Decision::BackOn, now)?;
        Ok(true)
    }

    fn append(&mut self, order: Order, decision: Decision, now: UnixMillis) -> std::io::Result<()> {
        let entry = Entry { at: now.0, order, decision };
        let mut line = serde_json::to_vec(&entry)?;
        line.push(b'\n');
        let before = self.file.metadata()?.len();
        let written = self.file.write_all(&line).and_then(|()| self.file.sync_data());
        if written.is_err() {
            // Half a line would make the record unreadable.
            let _ = self.file.set_len(before);
        }
        written?;
        remember(&mut self.entries, entry);
        Ok(())
    }

    /// The newest entries, the newest last.
    pub(crate) fn newest(&self, most: usize) -> Vec<&Entry> {
        self.entries.iter().skip(self.entries.len().saturating_sub(most)).collect()
    }

    /// Orders to execute without a word of how their command ended.
    pub(crate) fn unfinished(&self) -> Vec<&Order> {
        let ended = |entry: &&Entry| {
            let key = entry.order.key();
            self.of(&key).any(|other| matches!(other.decision, Decision::Ended { .. }))
        };
        let accepted = self.entries.iter().filter(|entry| matches!(entry.decision, Decision::Accepted { .. }));
        accepted.filter(|entry| entry.order.executes() && !ended(entry)).map(|entry| &entry.order).collect()
    }
}

fn remember(entries: &mut VecDeque<Entry>, entry: Entry) {
    if entries.len() == REMEMBERED {
        entries.pop_front();
    }
    entries.push_back(entry);
}

#[cfg(test)]
impl Ledger {
    pub(crate) fn on_a_full_disk() -> Self {
        let file = OpenOptions::new().write(true).open("/dev/full").unwrap();
        Self { file, entries: VecDeque::new(), rules: Rules::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::tests::order;

    const HOUR: u64 = 3_600_000;

    fn ledger(folder: &tempfile::TempDir, regions: &[&str]) -> Ledger {
        let regions = regions.iter().map(|name| (*name).to_owned()).collect();
        Ledger::open(&folder.path().join("record"), Rules { regions, block_millis: HOUR }).unwrap()
    }

    fn take(ledger: &mut Ledger, order: &Order, at: u64) -> String {
        match ledger.take(order, None, UnixMillis(at)).unwrap() {
            None => "known".to_owned(),
            Some(Decision::Accepted { target }) => format!("to {}", target.unwrap_or_default()),
            Some(Decision::Refused { reason }) => reason,
            Some(Decision::SameOutage { order }) => format!("as {order}"),
            Some(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_order_is_accepted_once_even_across_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let execute = order("a", "execute", "1");
        assert_eq!(take(&mut ledger(&folder, &[]), &execute, 5), "to b");
        assert_eq!(take(&mut ledger(&folder, &[]), &execute, 6), "known");
        ledger(&folder, &[]).resolve(&execute, UnixMillis(7)).unwrap();
        assert_eq!(take(&mut ledger(&folder, &[]), &execute, 9 * HOUR), "known");
        let prepare = order("a", "prepare", "1");
        assert_eq!(take(&mut ledger(&folder, &[]), &prepare, 8), "to b");
    }

    #[test]
    fn a_region_is_failed_over_once_per_block_period() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = ledger(&folder, &[]);
        assert_eq!(take(&mut ledger, &order("a", "execute", "1"), 0), "to b");
        let again = order("a", "execute", "2");
        assert_eq!(
            take(&mut ledger, &again, 1),
            "a was ordered to execute already; blocked until 1970-01-01T01:00:00.000Z"
        );
        assert_eq!(take(&mut ledger, &again, 2), "known");
        assert_eq!(take(&mut ledger, &order("c", "execute", "3"), 3), "to b");
        assert_eq!(take(&mut ledger, &again, HOUR), "to b");
    }

    #[test]
    fn by_rules_alone_a_second_incident_is_an_order_although_the_end_of_the_first_was_never_received() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = ledger(&folder, &[]);
        let from = |starts_at: u64| {
            let mut order = order("a", "execute", "");
            (order.incident_id, order.onset) = (None, UnixMillis(starts_at).to_string());
            order
        };
        assert_eq!(take(&mut ledger, &from(0), 1), "to b");
        // The same one, later, and as another vantage reports it.
        assert_eq!(take(&mut ledger, &from(0), 3 * HOUR), "known");
        assert_eq!(take(&mut ledger, &from(9_000), 3 * HOUR), "known");
        assert_eq!(take(&mut ledger, &from(2 * HOUR), 3 * HOUR), "to b");
    }

    #[test]
    fn at_least_one_region_stays_in_service() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = ledger(&folder, &["a", "b", "c"]);
        assert_eq!(take(&mut ledger, &order("x", "execute", "0"), 0), "x is not among --regions");
        let mut elsewhere = order("a", "execute", "0");
        elsewhere.candidates = vec!["y".into(), "a".into()];
        assert_eq!(take(&mut ledger, &elsewhere, 0), "no region that is in service can take over");
        assert_eq!(take(&mut ledger, &order("a", "execute", "1"), 1), "to b");
        // The best candidate is off itself.
        assert_eq!(take(&mut ledger, &order("b", "execute", "2"), 2), "to c");
        let last = order("c", "execute", "3");
        assert_eq!(take(&mut ledger, &last, 3), "without c no region would stay in service");
        assert_eq!(take(&mut ledger, &order("c", "prepare", "3"), 3), "to b");
        assert!(ledger.back_on("b", UnixMillis(4)).unwrap());
        assert!(!ledger.back_on("b", UnixMillis(4)).unwrap());
        assert_eq!(take(&mut ledger, &last, 5), "to b");
    }

    #[test]
    fn one_outage_with_two_names_is_carried_out_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = ledger(&folder, &[]);
        let onset = UnixMillis::parse("2026-11-21T03:04:05.123Z").unwrap().0;
        let of = |id: &str, onset: u64| Order { onset: UnixMillis(onset).to_string(), ..order("a", "execute", id) };
        assert_eq!(take(&mut ledger, &of("1", onset), onset + 31_000), "to b");
        // Named by a vantage that saw it begin later, and long after the block period.
        assert_eq!(take(&mut ledger, &of("2", onset + 9_000), onset + 5 * HOUR), "as 1 execute");
        assert_eq!(take(&mut ledger, &of("2", onset + 9_000), onset + 5 * HOUR), "known");
        // A region that was switched back can fail again, and an outage that began later is another one.
        assert_eq!(take(&mut ledger, &of("3", onset + 4 * HOUR), onset + 5 * HOUR), "to b");
        assert!(ledger.back_on("a", UnixMillis(onset + 6 * HOUR)).unwrap());
        assert_eq!(take(&mut ledger, &of("4", onset + 5 * HOUR), onset + 7 * HOUR), "to b");
    }

    #[test]
    fn an_order_that_waits_for_approval_is_recorded_once_and_hides_no_signed_one() {
        let folder = tempfile::tempdir().unwrap();
        let mut rules = order("a", "execute", "1");
        (rules.incident_id, rules.onset) = (None, String::new());
        let ask = |ledger: &mut Ledger, at| ledger.take(&rules, Some("unsigned".to_owned()), UnixMillis(at)).unwrap();
        let waits = Decision::AwaitsApproval { reason: "unsigned".to_owned() };
        assert_eq!(ask(&mut ledger(&folder, &[]), 0), Some(waits.clone()));
        assert_eq!(ask(&mut ledger(&folder, &[]), 1), None);
        assert_eq!(take(&mut ledger(&folder, &[]), &order("a", "execute", "1"), 2), "to b");
        assert!(ledger(&folder, &[]).unfinished().iter().all(|order| order.incident_id.is_some()));
        ledger(&folder, &[]).resolve(&rules, UnixMillis(3)).unwrap();
        assert_eq!(ask(&mut ledger(&folder, &[]), 4), Some(waits), "another outage");
    }

    #[test]
    fn a_dry_run_takes_no_region_out_of_service() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = ledger(&folder, &["a", "b"]);
        let mut drill = order("b", "execute", "1");
        drill.dry_run = true;
        drill.candidates = vec!["a".into()];
        assert_eq!(take(&mut ledger, &drill, 0), "to a");
        assert_eq!(take(&mut ledger, &order("a", "execute", "2"), 1), "to b");
    }

    #[test]
    fn an_incomplete_last_line_of_the_record_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record");
        take(&mut ledger(&folder, &[]), &order("a", "execute", "1"), 0);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, [&whole[..], &whole[..20]].concat()).unwrap();
        assert_eq!(take(&mut ledger(&folder, &[]), &order("c", "execute", "2"), 1), "to b");
        assert_eq!(ledger(&folder, &[]).entries.len(), 2);
        std::fs::write(&path, [b"{}\n", &whole[..]].concat()).unwrap();
        let error = Ledger::open(&path, Rules::default()).unwrap_err();
        assert!(error.contains("line 1 is none of ours"), "{error}");
    }

    #[test]
    fn an_order_that_cannot_be_recorded_is_not_accepted() {
        let order = order("a", "execute", "1");
        let mut full = Ledger::on_a_full_disk();
        assert!(full.take(&order, None, UnixMillis(0)).is_err());
        assert!(full.entries.is_empty());
    }

    #[test]
    fn an_unfinished_command_is_found_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = ledger(&folder, &[]);
        let (done, lost) = (order("a", "execute", "1"), order("c", "execute", "2"));
        take(&mut first, &done, 0);
        first.end(&done, true, UnixMillis(1)).unwrap();
        take(&mut first, &lost, 2);
        assert_eq!(ledger(&folder, &[]).unfinished(), [&lost]);
    }
}
