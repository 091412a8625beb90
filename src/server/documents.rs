//! What the API returns about decisions, as JSON.

use bytes::Bytes;
use serde::Serialize;

use crate::status::Explained;

#[derive(Serialize)]
struct ExplainedDocument<'a> {
    region: &'a str,
    state: &'static str,
    since: String,
    reason: &'static str,
    why: &'a str,
    sections: Vec<SectionDocument<'a>>,
}

#[derive(Serialize)]
struct SectionDocument<'a> {
    title: &'static str,
    lines: &'a [String],
}

/// `/api/v1/explain`
pub(super) fn explained_json(explained: &Explained) -> Bytes {
    let Explained { region, state, since, reason, why, sections } = explained;
    encoded(&ExplainedDocument {
        region: region.as_str(),
        state: state.as_str(),
        since: since.to_string(),
        reason: reason.as_str(),
        why,
        sections: sections.iter().map(|it| SectionDocument { title: it.title, lines: &it.lines }).collect(),
    })
}

/// The document on one line.
fn encoded(document: &impl Serialize) -> Bytes {
    let mut text = serde_json::to_vec(document).expect("every key is a string");
    text.push(b'\n');
    text.into()
}
