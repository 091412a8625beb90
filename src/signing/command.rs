//! Commands of operators: what they sign, and how a signed command travels in a header field.

use std::time::Duration;

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

use super::{
    key::{PrivateKey, PublicKey},
    order::{decode_signature, encode_signature},
};
use crate::model::{Region, Signature, UnixMillis, labels};

/// What is signed begins with this, so that a signature of something else by the same key is none of a command.
const DOMAIN: &str = "regionwatch-command-v1\n";

/// The request header field that carries a signed command.
pub const COMMAND_HEADER: &str = "regionwatch-command";

/// What is said of a value that is none.
const MALFORMED: &str = "the header regionwatch-command has no command of this version";

/// The most bytes of a header field that is read.
const MAX_BYTES: usize = 2 << 10;

labels! {
    /// What an operator can command.
    pub enum Action {
        /// A region that was failed over counts as failed over no longer.
        Release = "release",
        /// A region may be failed over, whatever the files say of arming, for a time.
        Arm = "arm",
        /// A region must not be failed over, for a time.
        Disarm = "disarm",
        /// A region must not be failed over, and is no failover target, for a time.
        Maintenance = "maintenance",
        /// A region is to be failed over, without an outage; the order stands for a time.
        Failover = "failover",
    }
}

impl Action {
    /// Whether it states what holds for a time, and is not carried out once.
    pub const fn is_statement(self) -> bool {
        !matches!(self, Self::Release)
    }
}

/// Where a region is to be failed over to, and what that may pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailoverTerms {
    /// The region that takes over.
    pub target: Region,
    /// Whether what would be lost of databases does not matter.
    pub accept_loss: bool,
    /// Why limits and gates do not matter, but for the zone of the target; `None`: they do.
    pub force: Option<String>,
}

impl FailoverTerms {
    /// The longest reason, in bytes.
    pub const MAX_REASON: usize = 200;

    /// The lines that are signed.
    fn lines(&self) -> String {
        let accept_loss = if self.accept_loss { "accept_loss=true\n" } else { "" };
        let force = self.force.as_ref().map(|reason| format!("force={reason}\n")).unwrap_or_default();
        format!("target={}\n{accept_loss}{force}", self.target)
    }
}

/// A command of an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The operator's name.
    pub operator: String,
    /// The environment that it is for; may be empty.
    pub environment: String,
    /// The region that it is about; `None`: all regions.
    pub region: Option<Region>,
    /// What is to be done.
    pub action: Action,
    /// What a failover is ordered with; other actions have none, and nor has what takes a failover back.
    pub failover: Option<FailoverTerms>,
    /// When a statement ends; the time of the command itself takes the one before back. Others have none.
    pub until: Option<UnixMillis>,
    /// When it was signed; each command has a later time than the one before.
    pub at: UnixMillis,
}

/// The JSON.
#[derive(Serialize, Deserialize)]
struct Wire {
    operator: String,
    environment: String,
    region: String,
    action: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    accept_loss: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    force: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<u64>,
    at: u64,
    signature: String,
}

/// What stands for all regions. No region has this name.
const ALL: &str = "*";

impl Command {
    /// The longest time that a statement holds.
    pub const LONGEST: Duration = Duration::from_secs(7 * 86_400);

    /// What it is about, in words.
    pub fn subject(&self) -> &str {
        self.region.as_ref().map_or("every region", Region::as_str)
    }

    /// Whether it takes a statement back.
    pub fn is_off(&self) -> bool {
        self.until == Some(self.at)
    }

    /// Whether it forbids something. What does not may end what does.
    pub fn restricts(&self) -> bool {
        matches!(self.action, Action::Disarm | Action::Maintenance) && !self.is_off()
    }

    fn scope(&self) -> &str {
        self.region.as_ref().map_or(ALL, Region::as_str)
    }

    /// Whether it has what its action needs, and nothing else.
    fn is_whole(&self) -> bool {
        let longest = Self::LONGEST.as_millis() as u64;
        let has_terms = match (self.action, &self.failover) {
            (Action::Failover, Some(FailoverTerms { target, force, .. })) => {
                let is_reason = |reason: &String| {
                    (1..=FailoverTerms::MAX_REASON).contains(&reason.len()) && reason.trim() == reason
                };
                !self.is_off()
                    && self.region.as_ref().is_some_and(|region| region != target)
                    && force.as_ref().is_none_or(is_reason)
            }
            (Action::Failover, None) => self.is_off() && self.region.is_some(),
            (_, terms) => terms.is_none(),
        };
        if !has_terms {
            return false;
        }
        match (self.action.is_statement(), self.until) {
            (true, Some(until)) => until >= self.at && until.0 - self.at.0 <= longest,
            (false, None) => self.region.is_some(),
            _ => false,
        }
    }

    /// The bytes that are signed: one line for each value. `None` for a value with control characters.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        let Self { operator, environment, action, failover, until, at, .. } = self;
        let (region, at) = (self.scope(), at.0);
        let terms = failover.as_ref().map(FailoverTerms::lines).unwrap_or_default();
        let until = until.map(|until| format!("until={}\n", until.0)).unwrap_or_default();
        let text = format!(
            "{DOMAIN}operator={operator}\nenvironment={environment}\nregion={region}\naction={action}\n{terms}{until}at={at}\n"
        );
        let reason = failover.as_ref().and_then(|terms| terms.force.as_deref()).unwrap_or_default();
        let is_one_line = |text: &str| !text.contains(char::is_control);
        [operator, environment, reason].into_iter().all(is_one_line).then(|| text.into_bytes())
    }

    /// The value of [`COMMAND_HEADER`] with the signature of the operator; `None` for a value with control characters.
    pub fn sign(&self, key: &PrivateKey) -> Option<String> {
        Some(self.text(&key.sign(&self.bytes()?)))
    }

    fn text(&self, signature: &Signature) -> String {
        let Self { operator, environment, action, failover, until, at, .. } = self.clone();
        let (region, action) = (self.scope().to_owned(), action.to_string());
        let target = failover.as_ref().map(|terms| terms.target.to_string());
        let (accept_loss, force) = failover.map_or((false, None), |terms| (terms.accept_loss, terms.force));
        let (until, at, signature) = (until.map(|until| until.0), at.0, encode_signature(signature));
        let wire = Wire { operator, environment, region, action, target, accept_loss, force, until, at, signature };
        // Only strings and numbers: serialization cannot fail.
        BASE64.encode(&serde_json::to_vec(&wire).unwrap_or_default())
    }

    /// The command in the value of the header field, if the key that `key_of` has for its operator signed it.
    ///
    /// # Errors
    /// Why it is not accepted. Nothing of an unsigned command is repeated.
    pub fn verify(value: &[u8], mut key_of: impl FnMut(&str) -> Option<PublicKey>) -> Result<Self, &'static str> {
        let (command, signature) = Self::unverified(value)?;
        let key = key_of(&command.operator).ok_or("no operator of this name is configured here")?;
        let bytes = command.bytes().ok_or(MALFORMED)?;
        if key.verify(&bytes, &signature) { Ok(command) } else { Err("the signature is not that of the operator") }
    }

    /// The command that somebody has written into the value, and its signature.
    ///
    /// # Errors
    /// It is none.
    pub fn unverified(value: &[u8]) -> Result<(Self, Signature), &'static str> {
        let bytes = Some(value).filter(|value| value.len() <= MAX_BYTES).and_then(|value| BASE64.decode(value).ok());
        let wire: Wire = serde_json::from_slice(&bytes.ok_or(MALFORMED)?).map_err(|_| MALFORMED)?;
        let signature = decode_signature(&wire.signature).ok_or(MALFORMED)?;
        let region = (wire.region != ALL).then(|| Region::new(&wire.region));
        let target = wire.target.map(|target| Region::new(&target)).transpose().map_err(|_| MALFORMED)?;
        let (accept_loss, force) = (wire.accept_loss, wire.force);
        let command = Self {
            region: region.transpose().map_err(|_| MALFORMED)?,
            action: Action::parse(&wire.action).ok_or(MALFORMED)?,
            failover: target.map(|target| FailoverTerms { target, accept_loss, force }),
            until: wire.until.map(UnixMillis),
            at: UnixMillis(wire.at),
            operator: wire.operator,
            environment: wire.environment,
        };
        // In one form only: a vantage that relays a command must not make another one of it.
        if !command.is_whole() || command.text(&signature).as_bytes() != value {
            return Err(MALFORMED);
        }
        Ok((command, signature))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> Command {
        Command {
            operator: "alice".to_owned(),
            environment: "prod".to_owned(),
            region: Some(Region::new("us-east-1").unwrap()),
            action: Action::Release,
            failover: None,
            until: None,
            at: UnixMillis(1_795_230_245_123),
        }
    }

    fn disarm() -> Command {
        let until = Some(UnixMillis(command().at.0 + 3_600_000));
        Command { action: Action::Disarm, until, ..command() }
    }

    fn failover() -> Command {
        let terms = FailoverTerms {
            target: Region::new("eu-west-1").unwrap(),
            accept_loss: true,
            force: Some("the \"old\" hall floods".to_owned()),
        };
        Command { action: Action::Failover, failover: Some(terms), ..disarm() }
    }

    #[test]
    fn a_command_is_accepted_only_from_its_operator_and_as_it_was_signed() {
        let ((key, _), (other, _)) = (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap());
        let of_alice = |name: &str| (name == "alice").then(|| key.public());
        let text = command().sign(&key).unwrap();
        assert_eq!(Command::verify(text.as_bytes(), of_alice), Ok(command()));
        assert!(Command::verify(command().sign(&other).unwrap().as_bytes(), of_alice).is_err());
        assert!(Command::verify(text.as_bytes(), |_| None).is_err());
        let json = String::from_utf8(BASE64.decode(text.as_bytes()).unwrap()).unwrap();
        for (from, to) in [("us-east-1", "us-east-2"), ("prod", "test"), ("5123", "5124"), ("release", "obey")] {
            let changed = json.replacen(from, to, 1);
            assert_ne!(changed, json);
            assert!(Command::verify(BASE64.encode(changed.as_bytes()).as_bytes(), of_alice).is_err(), "{to}");
        }
        for garbage in [&b""[..], b"e30=", b"\xff", &[b'A'; MAX_BYTES + 4]] {
            assert!(Command::verify(garbage, of_alice).is_err());
        }
    }

    /// What is taken is relayed and kept: each other text of one command would be news.
    #[test]
    fn a_command_has_one_text() {
        let (key, _) = PrivateKey::generate().unwrap();
        for command in [command(), disarm(), failover()] {
            let json = String::from_utf8(BASE64.decode(command.sign(&key).unwrap().as_bytes()).unwrap()).unwrap();
            let (first, rest) = json.strip_prefix('{').unwrap().split_once(',').unwrap();
            for other in [
                json.replacen('{', "{\"added\":1,", 1),
                json.replacen(':', ": ", 1),
                format!("{json} "),
                format!("{{{},{first}}}", rest.strip_suffix('}').unwrap()),
                json.replacen("alice", "\\u0061lice", 1),
            ] {
                assert_ne!(other, json);
                let verified = Command::verify(BASE64.encode(other.as_bytes()).as_bytes(), |_| Some(key.public()));
                assert!(verified.is_err(), "{other}");
            }
        }
    }

    #[test]
    fn a_statement_holds_for_seven_days_at_most_and_a_release_for_one_region_and_no_time() {
        let (key, _) = PrivateKey::generate().unwrap();
        let is_accepted = |command: Command| {
            let verified = Command::verify(command.sign(&key).unwrap().as_bytes(), |_| Some(key.public()));
            verified.as_ref() == Ok(&command)
        };
        let until = |millis: i64| Some(UnixMillis(command().at.0.saturating_add_signed(millis)));
        let longest = Command::LONGEST.as_millis() as i64;
        assert!(is_accepted(disarm()) && is_accepted(Command { region: None, ..disarm() }));
        for (until, accepted) in
            [(until(longest), true), (until(longest + 1), false), (until(0), true), (until(-1), false), (None, false)]
        {
            assert_eq!(is_accepted(Command { until, ..disarm() }), accepted, "{until:?}");
        }
        assert!(!is_accepted(Command { region: None, ..command() }), "a release of every region");
        assert!(!is_accepted(Command { until: until(1), ..command() }), "a release for a time");
    }

    #[test]
    fn the_end_and_the_scope_of_a_statement_are_signed() {
        let (key, _) = PrivateKey::generate().unwrap();
        let json = String::from_utf8(BASE64.decode(disarm().sign(&key).unwrap().as_bytes()).unwrap()).unwrap();
        let until = disarm().until.unwrap().0.to_string();
        let later = (disarm().until.unwrap().0 + 1).to_string();
        for (from, to) in [(&*until, &*later), ("us-east-1", "*"), ("disarm", "arm")] {
            let changed = json.replacen(from, to, 1);
            assert_ne!(changed, json);
            let changed = BASE64.encode(changed.as_bytes());
            assert!(Command::verify(changed.as_bytes(), |_| Some(key.public())).is_err(), "{to}");
        }
    }

    #[test]
    fn a_failover_is_of_one_region_to_another_one_and_its_terms_are_signed() {
        let (key, _) = PrivateKey::generate().unwrap();
        let is_accepted = |command: Command| {
            let text = command.sign(&key).unwrap_or_default();
            Command::verify(text.as_bytes(), |_| Some(key.public())).as_ref() == Ok(&command)
        };
        let with = |change: &dyn Fn(&mut FailoverTerms)| {
            let mut command = failover();
            change(command.failover.as_mut().unwrap());
            command
        };
        let off = Command { failover: None, until: Some(failover().at), ..failover() };
        let plain = with(&|terms| (terms.accept_loss, terms.force) = (false, None));
        for good in [failover(), off.clone(), plain] {
            assert!(is_accepted(good.clone()), "{good:?}");
        }
        let long = "x".repeat(FailoverTerms::MAX_REASON + 1);
        for bad in [
            with(&|terms| terms.target = command().region.unwrap()),
            with(&|terms| terms.force = Some(String::new())),
            with(&|terms| terms.force = Some(long.clone())),
            with(&|terms| terms.force = Some("two\nlines".to_owned())),
            Command { failover: None, ..failover() },
            Command { region: None, ..failover() },
            Command { region: None, ..off },
            Command { until: None, ..failover() },
            Command { until: Some(failover().at), ..failover() },
            Command { failover: failover().failover, ..disarm() },
            Command { failover: failover().failover, ..command() },
        ] {
            assert!(!is_accepted(bad.clone()), "{bad:?}");
        }
        let json = String::from_utf8(BASE64.decode(failover().sign(&key).unwrap().as_bytes()).unwrap()).unwrap();
        for (from, to) in
            [("\"target\":\"eu-west-1\"", "\"target\":\"eu-west-2\""), ("\"accept_loss\":true,", ""), ("hall", "mill")]
        {
            let changed = json.replacen(from, to, 1);
            assert_ne!(changed, json);
            let changed = BASE64.encode(changed.as_bytes());
            assert!(Command::verify(changed.as_bytes(), |_| Some(key.public())).is_err(), "{to}");
        }
    }

    #[test]
    fn a_value_of_two_lines_is_not_signed() {
        let (key, _) = PrivateKey::generate().unwrap();
        assert_eq!(Command { environment: "a\nregion=b".to_owned(), ..command() }.sign(&key), None);
    }
}
