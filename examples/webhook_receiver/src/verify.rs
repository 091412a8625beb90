//! Whether an order counts: it has not expired, and enough vantages signed it.

use std::{collections::BTreeSet, path::Path};

use regionwatch::{
    model::{Region, Stage, UnixMillis},
    signing::{self, PublicKeys, SignatureList, SignatureResult},
};

use crate::order::{Order, Proof};

/// How far the clocks of a vantage or an Alertmanager may differ from ours, in milliseconds.
const SKEW: u64 = 30_000;

/// How old a signature may be, in milliseconds.
const MAX_AGE: u64 = 60_000;

/// Whose signatures count, and how many an order needs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Verifier {
    /// `None`: signatures are not looked at.
    keys: Option<PublicKeys>,
    min_signatures: usize,
    environment: Option<String>,
}

/// What becomes of a firing order; the first one is the best.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// It counts.
    Valid,
    /// A person must decide.
    NeedsApproval(String),
    /// It does not count; a later one may.
    Retry(String),
    /// It is not for this receiver.
    Skip(String),
}

impl Verifier {
    /// Reads the public keys.
    pub(crate) fn new(keys: Option<&Path>, min_signatures: usize, environment: Option<String>) -> Result<Self, String> {
        let keys = keys.map(|path| {
            let failed = |reason: String| format!("--keys {}: {reason}", path.display());
            let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
            PublicKeys::parse(&text).map_err(failed)
        });
        let keys = keys.transpose()?;
        if let Some(vantages) = keys.as_ref().map(PublicKeys::vantages)
            && !(1..=vantages).contains(&min_signatures)
        {
            return Err(format!(
                "--min-signatures {min_signatures}: --keys has {vantages} vantages; write 1 to {vantages}"
            ));
        }
        Ok(Self { keys, min_signatures, environment })
    }

    /// What becomes of a firing order.
    pub(crate) fn judge(&self, order: &Order, proof: &Proof, now: UnixMillis) -> Verdict {
        if let Some(environment) = self.environment.as_ref().filter(|own| *own != order.environment()) {
            return Verdict::Skip(format!("it is of the environment {:?}, not {environment:?}", order.environment()));
        }
        let has_expired = |at: &UnixMillis| now.0 > at.0.saturating_add(SKEW);
        if let Some(at) = proof.expires_at.filter(has_expired) {
            return Verdict::Retry(format!("it has expired at {at}"));
        }
        // The first stage switches nothing, and is not signed.
        let Some(keys) = self.keys.as_ref().filter(|_| order.executes()) else { return Verdict::Valid };
        if proof.source == "rules" && proof.signatures.is_empty() {
            return Verdict::NeedsApproval("it comes from rules, which cannot sign".to_owned());
        }
        let Ok(region) = Region::new(&order.peer_region) else {
            return Verdict::Skip("its region is no name".to_owned());
        };
        let statement = signing::Order {
            environment: order.environment(),
            region: &region,
            stage: Stage::Execute,
            drill: order.dry_run,
        };
        let is_fresh =
            |at: UnixMillis| now.0.saturating_sub(at.0) <= MAX_AGE + SKEW && at.0.saturating_sub(now.0) <= SKEW;
        let signatures = SignatureList::decode(&proof.signatures);
        let valid: Vec<_> =
            signatures.iter().filter(|signed| keys.verify(&statement, signed) == SignatureResult::Valid).collect();
        let fresh: BTreeSet<_> =
            valid.iter().filter(|signed| is_fresh(signed.at)).map(|signed| signed.vantage.as_str()).collect();
        if fresh.len() >= self.min_signatures {
            return Verdict::Valid;
        }
        Verdict::Retry(format!(
            "it has fresh valid signatures of {} vantages ({}), {} are needed; {} of its {} signatures are valid",
            fresh.len(),
            fresh.into_iter().collect::<Vec<_>>().join(", "),
            self.min_signatures,
            valid.len(),
            signatures.len(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use regionwatch::{model::OrderSignature, signing::PrivateKey};
    use serde_json::{Value, json};

    use super::*;
    use crate::order::tests::{alert, webhook};

    pub(super) const NOW: UnixMillis = UnixMillis(1_795_230_245_123);

    struct Fixture {
        verifier: Verifier,
        keys: Vec<(Region, PrivateKey)>,
    }

    fn fixture(min: usize) -> Fixture {
        let keys: Vec<_> =
            ["x", "y", "z"].map(|name| (Region::new(name).unwrap(), PrivateKey::generate().unwrap().0)).into();
        let text: String = keys.iter().map(|(name, key)| format!("{name} {}\n", key.public())).collect();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Fixture { verifier: Verifier::new(Some(file.path()), min, None).unwrap(), keys }
    }

    /// An order about `a` with the signatures of these vantages, each this many milliseconds old.
    fn signed(fixture: &Fixture, by: &[(usize, i64)]) -> Value {
        let a = Region::new("a").unwrap();
        let order = signing::Order { environment: "", region: &a, stage: Stage::Execute, drill: false };
        let sign = |&(n, age): &(usize, i64)| -> OrderSignature {
            let (name, key) = &fixture.keys[n];
            order.sign(name, key, UnixMillis(NOW.0.saturating_add_signed(-age))).unwrap()
        };
        let signatures: Vec<_> = by.iter().map(sign).collect();
        let mut alert = alert("a", "execute", "1");
        alert["annotations"]["signatures"] = json!(SignatureList::encode(&signatures));
        alert["annotations"]["expires_at"] = json!(UnixMillis(NOW.0 + 60_000).to_string());
        alert
    }

    fn judge(fixture: &Fixture, alert: Value) -> Verdict {
        let (received, _) = webhook(&[alert]).orders();
        fixture.verifier.judge(&received[0].0, &received[0].1, NOW)
    }

    fn retries(verdict: Verdict, part: &str) {
        assert!(matches!(&verdict, Verdict::Retry(reason) if reason.contains(part)), "{part} in {verdict:?}");
    }

    #[test]
    fn an_order_needs_the_fresh_signatures_of_two_vantages() {
        let fixture = fixture(2);
        assert_eq!(judge(&fixture, signed(&fixture, &[(0, 0), (1, 60_000)])), Verdict::Valid);
        assert_eq!(judge(&fixture, signed(&fixture, &[(0, -30_000), (2, 90_000)])), Verdict::Valid);
        for (by, part) in [
            (&[][..], "0 vantages (), 2 are needed"),
            (&[(0, 0)], "1 vantages (x), 2 are needed; 1 of its 1"),
            // One stolen key, however often it signs.
            (&[(0, 0), (0, 1), (0, 2)], "1 vantages (x)"),
            (&[(0, 0), (1, 90_001)], "1 vantages (x), 2 are needed; 2 of its 2"),
            (&[(0, 0), (1, -30_001)], "1 vantages (x)"),
        ] {
            retries(judge(&fixture, signed(&fixture, by)), part);
        }
    }

    #[test]
    fn a_signature_of_another_order_or_vantage_does_not_count() {
        let fixture = fixture(2);
        let change = |change: &dyn Fn(&mut Value)| {
            let mut alert = signed(&fixture, &[(0, 0), (1, 0)]);
            change(&mut alert);
            judge(&fixture, alert)
        };
        assert_eq!(change(&|_| {}), Verdict::Valid);
        retries(change(&|alert| alert["labels"]["peer_region"] = json!("b")), "0 of its 2 signatures are valid");
        retries(change(&|alert| alert["labels"]["environment"] = json!("staging")), "0 of its 2");
        retries(change(&|alert| alert["labels"]["drill"] = json!("true")), "0 of its 2");
        let renamed = |from: &str, to: &str| {
            change(&|alert| {
                let text = alert["annotations"]["signatures"].as_str().unwrap().replace(from, to);
                alert["annotations"]["signatures"] = json!(text);
            })
        };
        retries(renamed("\"y\"", "\"z\""), "1 of its 2");
        retries(renamed("\"y\"", "\"stranger\""), "1 of its 2");
        retries(change(&|alert| alert["annotations"]["signatures"] = json!("[[[")), "0 of its 0");
        retries(change(&|alert| alert["labels"]["environment"] = json!("\nregion=a")), "0 of its 2");
    }

    /// A replay can change them while the signatures are fresh. What limits that is the ledger.
    #[test]
    fn the_target_and_the_incident_of_an_order_are_not_signed() {
        let fixture = fixture(2);
        for (name, value) in [("failover_target", "c"), ("incident_id", "2"), ("onset", "2026-11-21T03:04:00.000Z")] {
            let mut alert = signed(&fixture, &[(0, 0), (1, 0)]);
            alert["annotations"][name] = json!(value);
            assert_eq!(judge(&fixture, alert), Verdict::Valid, "{name}");
        }
    }

    #[test]
    fn an_expired_order_is_retried_with_and_without_keys() {
        let fixture = fixture(2);
        let expires = |verifier: &Verifier, at: u64| {
            let mut alert = signed(&fixture, &[(0, 0), (1, 0)]);
            alert["annotations"]["expires_at"] = json!(UnixMillis(at).to_string());
            let (received, _) = webhook(&[alert]).orders();
            verifier.judge(&received[0].0, &received[0].1, NOW)
        };
        for verifier in [&fixture.verifier, &Verifier::default()] {
            assert_eq!(expires(verifier, NOW.0 - 30_000), Verdict::Valid);
            retries(expires(verifier, NOW.0 - 30_001), "it has expired at 2026-11-21T03:03:35.122Z");
        }
    }

    #[test]
    fn rules_and_the_first_stage_carry_no_signature() {
        let fixture = fixture(1);
        let mut rules = alert("a", "execute", "1");
        rules["labels"]["source"] = json!("rules");
        assert!(matches!(judge(&fixture, rules.clone()), Verdict::NeedsApproval(_)));
        assert_eq!(judge(&fixture, alert("a", "prepare", "1")), Verdict::Valid);
        retries(judge(&fixture, alert("a", "execute", "1")), "1 are needed");
        let open = Fixture { verifier: Verifier::default(), keys: Vec::new() };
        assert_eq!(judge(&open, rules), Verdict::Valid);
        assert_eq!(judge(&open, alert("a", "execute", "1")), Verdict::Valid);
    }

    #[test]
    fn an_order_of_another_environment_is_skipped() {
        let verifier = Verifier { environment: Some("prod".to_owned()), ..Verifier::default() };
        let of = |environment: &str| {
            let mut alert = alert("a", "execute", "1");
            alert["labels"]["environment"] = json!(environment);
            let (received, _) = webhook(&[alert]).orders();
            verifier.judge(&received[0].0, &received[0].1, NOW)
        };
        assert_eq!(of("prod"), Verdict::Valid);
        assert!(matches!(of("staging"), Verdict::Skip(_)) && matches!(of(""), Verdict::Skip(_)));
    }

    #[test]
    fn more_signatures_than_vantages_cannot_be_asked_for() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), format!("x {}\n", PrivateKey::generate().unwrap().0.public())).unwrap();
        for min in [0, 2] {
            let error = Verifier::new(Some(file.path()), min, None).unwrap_err();
            assert!(error.contains("--keys has 1 vantages; write 1 to 1"), "{error}");
        }
        assert!(Verifier::new(Some(file.path()), 1, None).is_ok());
        assert!(
            Verifier::new(Some(Path::new("/nonexistent")), 2, None).unwrap_err().starts_with("--keys /nonexistent: ")
        );
    }
}
