//! The settings `environment` and `labels`.

use std::collections::BTreeMap;

use crate::{
    model::{ENVIRONMENT, LabelError, LabelName, LabelValue, MAX_LABEL},
    yaml::{Item, Parsed},
};

/// The most labels, so that a series stays small.
const MAX_LABELS: usize = 16;

/// The most labels of a target: they are kept for each of its paths.
const MAX_TARGET_LABELS: usize = 8;

/// Names and values.
type Labels = BTreeMap<LabelName, LabelValue>;

/// What sets the labels whose names are taken; every label of a family and of an alert is among them.
const RESERVED: [(&str, &[&str]); 3] = [
    (
        "the metrics",
        &[
            "alertmanager",
            "anchor",
            "bound",
            "cipher",
            "database",
            "fingerprint_sha256",
            "from",
            "issuer",
            "layer",
            "le",
            "peer_region",
            "phase",
            "probe",
            "quantile",
            "query",
            "reason",
            "record",
            "result",
            "revision",
            "source",
            "stage",
            "state",
            "subject",
            "target",
            "to",
            "vantage_region",
            "version",
            "vote",
        ],
    ),
    ("the alerts", &["alertname", "drill", "failover", "severity"]),
    ("Prometheus", &["instance", "job"]),
];

/// A value, without spaces around it.
fn value(text: &str, hint: &str) -> Parsed<LabelValue> {
    if text.trim() != text {
        return Err(format!("has spaces around it; write {:?}", text.trim()));
    }
    LabelValue::new(text).map_err(|error| match error {
        LabelError::Character(_) => format!("{error}; write one line, such as {hint}"),
        _ => format!("{error}; write 1 to {MAX_LABEL} characters, such as {hint}"),
    })
}

/// The value of `environment`. An empty one is none.
pub(super) fn environment(item: &Item<'_>) -> Option<LabelValue> {
    item.read(|text| if text.is_empty() { Ok(None) } else { value(text, "prod").map(Some) }).flatten()
}

fn name(text: &str) -> Parsed<LabelName> {
    let name = LabelName::new(text)
        .map_err(|error| format!("has a name that {error}; write letters, digits and _, such as cost_center"))?;
    if text == ENVIRONMENT {
        return Err(format!("has the name {ENVIRONMENT}; write it as the setting {ENVIRONMENT} instead"));
    }
    if text.starts_with("__") {
        return Err(
            "has a name that begins with __, as those of Prometheus do; write another name, such as team".into()
        );
    }
    match RESERVED.iter().find(|(_, names)| names.contains(&text)) {
        Some((owner, _)) => {
            Err(format!("has the name {text}, a label of {owner}; write another name, such as my_{text}"))
        }
        None => Ok(name),
    }
}

/// The labels of every series, without those that are reported.
pub(super) fn read(item: &Item<'_>) -> Option<Labels> {
    read_some(item, MAX_LABELS, |_| false)
}

/// The labels of the series of one target, beside the labels that every series has.
pub(super) fn read_of_target(item: &Item<'_>, of_all: &Labels) -> Option<Labels> {
    read_some(item, MAX_TARGET_LABELS, |name| of_all.contains_key(name))
}

fn read_some<'a>(item: &Item<'a>, most: usize, is_taken: impl Fn(&LabelName) -> bool) -> Option<Labels> {
    const PAIR: &str = "write NAME=VALUE, such as team=platform";
    let pairs: Vec<(String, String, Item<'a>)> = if item.is_variable() {
        let pair = |item: Item<'a>| {
            let text = item.text()?;
            let Some((name, value)) = text.split_once('=') else {
                item.wrong_value(&format!("has no =; {PAIR}"));
                return None;
            };
            Some((name.trim().to_owned(), value.trim().to_owned(), item))
        };
        item.list()?.into_iter().filter_map(pair).collect()
    } else {
        let entries = item.entries()?.into_iter();
        entries.filter_map(|(name, item)| Some((name.to_owned(), item.text()?.to_owned(), item))).collect()
    };
    if pairs.len() > most {
        item.wrong(format!("has {} labels; write at most {most}", pairs.len()));
        return None;
    }
    let mut labels = BTreeMap::new();
    for (text, value_text, item) in pairs {
        match name(&text).and_then(|name| Ok((name, value(&value_text, "platform")?))) {
            Ok((name, _)) if is_taken(&name) => {
                item.wrong_value(&format!(
                    "has the name {name}, which every series has by the setting labels; delete it"
                ));
            }
            Ok((name, value)) => {
                if labels.insert(name, value).is_some() {
                    item.wrong_value("is a duplicate; delete it");
                }
            }
            Err(reason) => item.wrong_value(&reason),
        }
    }
    Some(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_names_are_label_names_in_order() {
        for (_, names) in RESERVED {
            assert!(names.is_sorted(), "{names:?}");
            assert!(names.iter().all(|name| LabelName::new(name).is_ok()));
        }
    }

    #[test]
    fn a_name_is_refused_with_what_to_write_instead() {
        for (text, fix) in [
            ("job", "such as my_job"),
            ("peer_region", "such as my_peer_region"),
            ("environment", "the setting environment"),
            ("__name__", "another name"),
            ("a-b", "letters, digits and _"),
            ("", "letters, digits and _"),
        ] {
            let error = name(text).unwrap_err();
            assert!(error.contains("; write ") && error.contains(fix), "{error}");
        }
        assert!(name("team").is_ok() && name("my_job").is_ok() && name("_x").is_ok());
    }
}
