//! Commands of operators: who may give them, and what is written about them.

use std::{collections::HashMap, time::Duration};

use serde::Serialize;

use crate::{
    config::Config,
    decision::{Restriction, Stated},
    model::{FailoverMode, Region, UnixMillis},
    signing::{Action, Command},
    status::format,
};

/// How old a command may be, by the clock of this vantage.
const VALID_FOR: Duration = Duration::from_secs(60);

/// The commands that were received, by the time of the last one of each operator.
#[derive(Debug, Default)]
pub(super) struct Commands(HashMap<String, UnixMillis>);

impl Commands {
    /// The command in the value of its header field, if it is to be carried out.
    ///
    /// # Errors
    /// Why it is not.
    pub(super) fn accept(&mut self, value: &[u8], config: &Config, now: UnixMillis) -> Result<Command, String> {
        let command = config.operator_keys().verify(value)?;
        self.once(&command, now)?;
        Ok(command)
    }

    fn once(&mut self, command: &Command, now: UnixMillis) -> Result<(), String> {
        let at = command.at;
        if now.0.abs_diff(at.0) > VALID_FOR.as_millis() as u64 {
            return Err(format!("it was signed at {at}, and it is {now} here; correct the clocks, and try again"));
        }
        if self.0.get(&command.operator).is_some_and(|last| at <= *last) {
            return Err("it was received before".to_owned());
        }
        self.0.insert(command.operator.clone(), at);
        Ok(())
    }
}

/// The most lines that an answer has beside the first.
const MAX_LINES: usize = 20;

/// What an operator must know beside that a statement was taken.
#[derive(PartialEq)]
enum Note<'a> {
    /// It has ended this.
    TakenBack(&'a Command),
    /// As long as it holds, this does not count.
    Outweighed(&'a Command),
    /// Something else decides.
    Counts(&'a Command),
    /// What a file says still prevents a failover.
    File(&'a Region, FailoverMode),
}

impl Note<'_> {
    fn line(&self, regions: &str) -> String {
        match self {
            Self::TakenBack(command) => format!("taken back for {regions}: {}", format::statement(command)),
            Self::Outweighed(command) => format!("outweighed for {regions} meanwhile: {}", format::statement(command)),
            Self::Counts(command) => format!("what counts for {regions}: {}", format::statement(command)),
            Self::File(vantage, mode) => format::file(vantage, *mode, regions),
        }
    }
}

/// What is to be noted about one region.
fn notes<'a>(command: &'a Command, before: &'a Stated, after: &'a Stated) -> Vec<Note<'a>> {
    let newest = after.newest.as_ref();
    let old = before.newest.as_ref().filter(|old| newest != Some(old));
    let old = old.map(|old| match old.region == command.region {
        true => Note::TakenBack(old),
        false => Note::Outweighed(old),
    });
    // What forbids a failover of which an operator has commanded is said of that order itself.
    let restrictions = after.restrictions.iter().filter(|_| command.action != Action::Failover);
    let others = restrictions.map(|restriction| match restriction {
        Restriction::Command(other) => Note::Counts(other),
        Restriction::File { vantage, mode } => Note::File(vantage, *mode),
    });
    let mut notes: Vec<_> = old.into_iter().chain(newest.map(Note::Counts)).chain(others).collect();
    notes.retain(|note| *note != Note::Counts(command));
    notes.dedup();
    notes
}

/// What came of a statement, a line each: that it was taken, what it has ended, and what else counts for its regions.
pub(super) fn outcome(command: &Command, before: &[Stated], after: &[Stated]) -> String {
    let mut all: Vec<(Note<'_>, Vec<&str>)> = Vec::new();
    for (before, after) in before.iter().zip(after) {
        for note in notes(command, before, after) {
            match all.iter_mut().find(|(known, _)| *known == note) {
                Some((_, regions)) => regions.push(after.region.as_str()),
                None => all.push((note, vec![after.region.as_str()])),
            }
        }
    }
    let is_about_files = command.action != Action::Failover;
    let is_left_to_files =
        is_about_files && command.is_off() && !all.iter().any(|(note, _)| matches!(note, Note::Counts(_)));
    let taken = match is_left_to_files {
        true => format!("taken: the files decide on {}", command.subject()),
        false => format!("taken: {}", format::statement(command)),
    };
    let lines = all.iter().take(MAX_LINES).map(|(note, regions)| note.line(&regions.join(", ")));
    let more = all.len().saturating_sub(MAX_LINES);
    let more = (more > 0).then(|| format!("and {more} more: see the status page"));
    [taken].into_iter().chain(lines).chain(more).collect::<Vec<_>>().join("\n")
}

/// What a relayed statement has ended, for the audit log; empty if that is nothing.
pub(super) fn taken_back(ended: Option<&Command>) -> String {
    ended.map(|ended| format!("; taken back: {}", format::statement(ended))).unwrap_or_default()
}

/// A line of the audit log.
#[derive(Debug, Serialize)]
pub(super) struct Audit<'a> {
    at: String,
    operator: &'a str,
    action: &'a str,
    region: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    accept_loss: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    force: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    result: &'a str,
}

impl<'a> Audit<'a> {
    /// What came of a command.
    pub(super) fn of(command: &'a Command, result: &'a str, now: UnixMillis) -> Self {
        let terms = command.failover.as_ref();
        Self {
            at: now.to_string(),
            operator: &command.operator,
            action: command.action.as_str(),
            region: command.region.as_ref().map_or("*", Region::as_str),
            target: terms.map(|terms| terms.target.as_str()),
            accept_loss: terms.is_some_and(|terms| terms.accept_loss),
            force: terms.and_then(|terms| terms.force.as_deref()),
            until: command.until.map(|until| until.to_string()),
            result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signing::{FailoverTerms, PrivateKey};

    #[test]
    fn a_command_is_valid_for_a_minute_once_and_in_its_environment() {
        let (key, _) = PrivateKey::generate().unwrap();
        let text = format!(
            "region: a\nenvironment: prod\noperators: ['alice={0}']\n\
             peers: [{{region: b, targets: [{{host: b, probes: [{{kind: icmp}}]}}]}}]",
            key.public()
        );
        let config = Config::load(Some(("c.yaml".as_ref(), &text)), []).unwrap().config;
        let now = UnixMillis(1_795_230_245_123);
        let mut commands = Commands::default();
        let mut accepts = |operator: &str, environment: &str, age: i64| {
            let (operator, environment) = (operator.to_owned(), environment.to_owned());
            let (region, at) = (Some(Region::new("b").unwrap()), UnixMillis(now.0.saturating_add_signed(-age)));
            let command =
                Command { operator, environment, region, action: Action::Release, failover: None, until: None, at };
            commands.accept(command.sign(&key).unwrap().as_bytes(), &config, now).is_ok()
        };
        assert!(!accepts("alice", "test", 0) && !accepts("bob", "prod", 0));
        for (age, accepted) in
            [(60_001, false), (-60_001, false), (30_000, true), (30_000, false), (40_000, false), (0, true)]
        {
            assert_eq!(accepts("alice", "prod", age), accepted, "{age}");
        }
        let none = Config { operators: Vec::new(), ..config };
        assert!(Commands::default().accept(b"", &none, now).is_err());
    }

    const AT: UnixMillis = UnixMillis(1_795_230_245_123);

    fn region(name: &str) -> Region {
        Region::new(name).unwrap()
    }

    /// For an hour, or taken back.
    fn command(operator: &str, about: Option<&str>, action: Action, is_off: bool) -> Command {
        let until = Some(UnixMillis(AT.0 + if is_off { 0 } else { 3_600_000 }));
        let (operator, environment) = (operator.to_owned(), String::new());
        Command { operator, environment, region: about.map(region), action, failover: None, until, at: AT }
    }

    fn stated(name: &str, newest: Option<&Command>, restrictions: &[Restriction]) -> Stated {
        Stated { region: region(name), newest: newest.cloned(), restrictions: restrictions.to_vec() }
    }

    #[test]
    fn an_answer_says_what_a_command_takes_back_and_who_had_commanded_it() {
        let bobs = command("bob", Some("b"), Action::Disarm, false);
        let before = [stated("b", Some(&bobs), &[Restriction::Command(bobs.clone())])];
        let taken_back = "taken back for b: bob has disarmed b until 2026-11-21T04:04:05.123Z: no failover is ordered.";
        let arm = command("alice", Some("b"), Action::Arm, false);
        let said = outcome(&arm, &before, &[stated("b", Some(&arm), &[])]);
        assert_eq!(said, format!("taken: alice has armed b until 2026-11-21T04:04:05.123Z.\n{taken_back}"));
        for action in [Action::Arm, Action::Disarm] {
            let off = command("alice", Some("b"), action, true);
            let said = outcome(&off, &before, &[stated("b", None, &[])]);
            assert_eq!(said, format!("taken: the files decide on b\n{taken_back}"));
        }
        let shorter = command("alice", Some("b"), Action::Disarm, false);
        let said = outcome(&shorter, &before, &[stated("b", Some(&shorter), &[Restriction::Command(shorter.clone())])]);
        assert!(said.ends_with(taken_back), "{said}");
        assert_eq!(outcome(&bobs, &before, &before).lines().count(), 1, "nothing else");
    }

    #[test]
    fn an_answer_about_every_region_names_each_one_for_which_something_else_counts() {
        let all = command("alice", None, Action::Arm, false);
        let disarmed = command("bob", Some("b"), Action::Disarm, false);
        let maintained = command("bob", None, Action::Maintenance, false);
        let file = |mode| Restriction::File { vantage: region("d"), mode };
        let before = [stated("a", None, &[]), stated("b", Some(&disarmed), &[]), stated("c", None, &[])];
        let restricted = [Restriction::Command(maintained), file(FailoverMode::Maintenance)];
        let after =
            [stated("a", Some(&all), &[]), stated("b", Some(&all), &restricted), stated("c", Some(&all), &restricted)];
        let until = "until 2026-11-21T04:04:05.123Z";
        let lines = [
            format!("taken: alice has armed every region {until}."),
            format!("outweighed for b meanwhile: bob has disarmed b {until}: no failover is ordered."),
            format!(
                "what counts for b, c: bob has put every region under maintenance {until}: no failover is ordered, neither \
                 from it nor to it."
            ),
            "The file of d keeps b, c under maintenance. No command lifts that: change maintenance there, and reload."
                .to_owned(),
        ];
        assert_eq!(outcome(&all, &before, &after), lines.join("\n"));
        // Back to the files, but not for one region.
        let off = command("alice", None, Action::Disarm, true);
        let said =
            outcome(&off, &after[..1], &[stated("a", Some(&disarmed), &[Restriction::Command(disarmed.clone())])]);
        assert!(
            said.starts_with("taken: alice has taken back what was commanded of every region (disarm).\n"),
            "{said}"
        );
        assert!(said.ends_with(&format!("\nwhat counts for a: bob has disarmed b {until}: no failover is ordered.")));
    }

    #[test]
    fn the_audit_log_says_where_a_region_was_failed_over_to_and_why_by_force() {
        let terms = FailoverTerms { target: region("a"), accept_loss: true, force: Some("the hall floods".to_owned()) };
        let failover = Command { failover: Some(terms), ..command("alice", Some("b"), Action::Failover, false) };
        let line = serde_json::to_string(&Audit::of(&failover, "taken", AT)).unwrap();
        let said =
            r#""action":"failover","region":"b","target":"a","accept_loss":true,"force":"the hall floods","until":"#;
        assert!(line.contains(said), "{line}");
        let disarm = serde_json::to_string(&Audit::of(&command("alice", None, Action::Disarm, false), "taken", AT));
        assert!(disarm.unwrap().contains(r#""action":"disarm","region":"*","until":"#));
        let restricted = [Restriction::Command(command("bob", Some("b"), Action::Disarm, false))];
        let said = outcome(&failover, &[stated("b", None, &[])], &[stated("b", Some(&failover), &restricted)]);
        let until = "until 2026-11-21T04:04:05.123Z";
        let order =
            format!("alice has ordered the failover of b to a {until}, whatever it loses, by force: the hall floods.");
        assert_eq!(said, format!("taken: {order}"), "an older disarm does not count");
        let off = Command { failover: None, ..command("alice", Some("b"), Action::Failover, true) };
        let said = outcome(&off, &[stated("b", Some(&failover), &[])], &[stated("b", None, &[])]);
        let taken = "taken: alice has taken back what was commanded of b (failover).";
        assert_eq!(said, format!("{taken}\ntaken back for b: {order}"));
    }

    #[test]
    fn an_answer_is_bounded() {
        let command = command("alice", None, Action::Disarm, false);
        let files: Vec<_> = (0..100)
            .map(|n| Restriction::File { vantage: region(&format!("r{n}")), mode: FailoverMode::Disarmed })
            .collect();
        let said = outcome(&command, &[stated("a", None, &[])], &[stated("a", Some(&command), &files)]);
        assert_eq!(said.lines().count(), MAX_LINES + 2);
        assert!(said.ends_with("and 80 more: see the status page"), "{said}");
    }
}
