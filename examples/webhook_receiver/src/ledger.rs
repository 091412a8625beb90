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

/// The most entries that are remembered, besides those that are never forgotten; older ones stay in the file.
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

impl Decision {
    fn not_ours(region: &str) -> Self {
        Self::Refused { reason: format!("{region} is not among --regions") }
    }
}

/// What became of a word that a region is in service again.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Release {
    /// It is noted.
    Done,
    /// The region was not failed over.
    NotOff,
    /// The region was failed over in these environments.
    Ambiguous(Vec<String>),
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
        let last = self.of(order).rfind(|entry| !matches!(entry.decision, Decision::Ended { .. }));
        let accepted = |entry: &Entry| matches!(entry.decision, Decision::Accepted { .. });
        let awaits = |entry: &Entry| matches!(entry.decision, Decision::AwaitsApproval { .. });
        // Nothing has begun later than now.
        let began = UnixMillis::parse(&order.onset).map_or(0, |onset| onset.0.min(now.0));
        // What comes after the end is new, and what began after the block period, if the end was never received.
        let is_old = |entry: &Entry| began <= entry.at.saturating_add(self.rules.block_millis);
        let known = match order.incident_id {
            Some(_) => self.of(order).any(accepted),
            None => last.is_some_and(|entry| accepted(entry) && is_old(entry)),
        };
        if known || (needs_approval.is_some() && last.is_some_and(|entry| awaits(entry) && is_old(entry))) {
            return Ok(None);
        }
        let decision = match (self.same_outage(order), needs_approval) {
            (Some(order), _) => Decision::SameOutage { order },
            (None, Some(reason)) if self.is_ours(&order.peer_region) => Decision::AwaitsApproval { reason },
            (None, Some(_)) => Decision::not_ours(&order.peer_region),
            (None, None) => self.decide(order, now),
        };
        if last.is_some_and(|entry| !accepted(entry) && !awaits(entry) && entry.decision == decision) {
            return Ok(None);
        }
        self.append(order.clone(), decision.clone(), now)?;
        Ok(Some(decision))
    }

    /// The key of the order that was carried out about the same outage: that outage had begun when it was carried out, or
    /// when the region was said to be back. Two vantages may have named one outage differently.
    fn same_outage(&self, order: &Order) -> Option<String> {
        let onset = UnixMillis::parse(&order.onset)?;
        let about = |entry: &&Entry| entry.order.peer_region == order.peer_region && entry.order.is_in(order);
        let mut is_over = false;
        for entry in self.entries.iter().rev().filter(about) {
            match entry.decision {
                // What began later is new, also to what was carried out earlier.
                Decision::BackOn if onset.0 > entry.at => return None,
                Decision::BackOn => is_over = true,
                Decision::Accepted { .. } if entry.order.is_alike(order) => {
                    // Of two without a name, `take` says whether they are the same.
                    let is_named = entry.order.incident_id.is_some() || order.incident_id.is_some();
                    if is_over || is_named && onset.0 <= entry.at.saturating_add(SKEW) {
                        return Some(entry.order.key());
                    }
                }
                _ => {}
            }
        }
        None
    }

    fn of<'a>(&'a self, order: &'a Order) -> impl DoubleEndedIterator<Item = &'a Entry> {
        self.entries.iter().filter(move |entry| entry.order.is(order))
    }

    /// Whether the region is among `--regions`.
    fn is_ours(&self, region: &String) -> bool {
        self.rules.regions.is_empty() || self.rules.regions.contains(region)
    }

    fn decide(&self, order: &Order, now: UnixMillis) -> Decision {
        let refused = |reason: String| Decision::Refused { reason };
        let peer = &order.peer_region;
        let same = |entry: &&Entry| {
            entry.order.peer_region == *peer && entry.order.is_in(order) && entry.order.is_alike(order)
        };
        let last = self.entries.iter().rev().filter(same);
        let mut recent = last.take_while(|entry| entry.at.saturating_add(self.rules.block_millis) > now.0);
        let is_back = |entry: &&Entry| {
            entry.order.peer_region == *peer && entry.order.is_in(order) && entry.decision == Decision::BackOn
        };
        let back_on = self.entries.iter().rev().find(is_back);
        let blocking = recent.find(|entry| {
            matches!(entry.decision, Decision::Accepted { .. }) && back_on.is_none_or(|back| back.at < entry.at)
        });
        if let Some(entry) = blocking {
            let again = UnixMillis(entry.at.saturating_add(self.rules.block_millis));
            return refused(format!("{peer} was ordered to {} already; blocked until {again}", order.stage));
        }
        if !self.is_ours(peer) {
            return Decision::not_ours(peer);
        }
        if !order.executes() {
            return Decision::Accepted { target: order.candidates.first().cloned() };
        }
        let off = self.off();
        let regions = &self.rules.regions;
        let is_off = |region: &String| off.iter().any(|one| one.peer_region == *region && one.is_in(order));
        let serves = |region: &String| region != peer && !is_off(region) && self.is_ours(region);
        if !regions.is_empty() && !regions.iter().any(serves) {
            return refused(format!("without {peer} no region would stay in service"));
        }
        match order.candidates.iter().find(|region| serves(region)) {
            Some(target) => Decision::Accepted { target: Some(target.clone()) },
            None => refused("no region that is in service can take over".to_owned()),
        }
    }

    /// The orders by which regions were failed over for real that are not said to be back.
    fn off(&self) -> Vec<&Order> {
        let mut off: Vec<&Order> = Vec::new();
        for Entry { order, decision, .. } in &self.entries {
            match decision {
                Decision::Accepted { .. } if order.executes() && !order.dry_run => off.push(order),
                Decision::BackOn => off.retain(|one| one.peer_region != order.peer_region || !one.is_in(order)),
                _ => {}
            }
        }
        off
    }

    /// Notes that an order is over; nothing follows from it.
    pub(crate) fn resolve(&mut self, order: &Order, now: UnixMillis) -> std::io::Result<()> {
        let open = self.of(order).next_back().is_some_and(|entry| entry.decision != Decision::Resolved);
        if open { self.append(order.clone(), Decision::Resolved, now) } else { Ok(()) }
    }

    /// Notes how a command ended.
    pub(crate) fn end(&mut self, order: &Order, ok: bool, now: UnixMillis) -> std::io::Result<()> {
        self.append(order.clone(), Decision::Ended { ok }, now)
    }

    /// Notes that a region is in service again, in this environment; without one, in the only one in which it is off.
    pub(crate) fn back_on(
        &mut self,
        region: &str,
        environment: Option<&str>,
        now: UnixMillis,
    ) -> std::io::Result<Release> {
        let is_it = |order: &&Order| {
            order.peer_region == region
                && environment.is_none_or(|one| order.environment.is_none() || order.environment() == one)
        };
        let off: BTreeSet<_> =
            self.off().into_iter().filter(is_it).map(|order| order.environment.as_deref().or(environment)).collect();
        let environment = match (off.first(), off.len()) {
            (None, _) => return Ok(Release::NotOff),
            (Some(one), 1) => one.map(ToOwned::to_owned),
            _ => return Ok(Release::Ambiguous(off.into_iter().flatten().map(ToOwned::to_owned).collect())),
        };
        let order = Order {
            environment,
            peer_region: region.to_owned(),
            stage: "execute".to_owned(),
            incident_id: None,
            candidates: Vec::new(),
            onset: String::new(),
            dry_run: false,
        };
        self.append(order, Decision::BackOn, now)?;
        Ok(Release::Done)
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
        let ended =
            |entry: &&Entry| self.of(&entry.order).any(|other| matches!(other.decision, Decision::Ended { .. }));
        let accepted = self.entries.iter().filter(|entry| matches!(entry.decision, Decision::Accepted { .. }));
        accepted.filter(|entry| entry.order.executes() && !ended(entry)).map(|entry| &entry.order).collect()
    }
}

fn remember(entries: &mut VecDeque<Entry>, entry: Entry) {
    // Planted alerts without a signature must not evict executed orders, which would then be executed again.
    let is_lasting = |entry: &Entry| match entry.decision {
        Decision::Accepted { .. } | Decision::Ended { .. } => entry.order.executes() && !entry.order.dry_run,
        Decision::BackOn => true,
        _ => false,
    };
    if entries.len() >= REMEMBERED
        && let Some(oldest) = entries.iter().position(|entry| !is_lasting(entry))
    {
        entries.remove(oldest);
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
mod tests;
