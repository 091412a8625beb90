//! The Alertmanagers to push to, each a URL or a mapping with its URL.

use std::iter;

use http::{HeaderName, header};

use super::{
    addresses,
    types::Alertmanager,
    values::{MAX_DISTINCT, ValueType},
};
use crate::{
    probe::HttpAccess,
    yaml::{
        Item,
        secrets::Secrets,
        writer::{Writer, quote},
    },
};

/// Headers that depend on what is pushed.
const RESERVED: [HeaderName; 3] = [header::ACCEPT, header::ACCEPT_ENCODING, header::CONTENT_TYPE];

/// A list of Alertmanagers, with distinct URLs; in a variable URLs with commas between.
pub(super) struct Alertmanagers;

impl ValueType<Vec<Alertmanager>> for Alertmanagers {
    fn read(&self, item: &Item<'_>, secrets: &Secrets<'_>) -> Option<Vec<Alertmanager>> {
        let items = item.list()?;
        if items.len() > MAX_DISTINCT {
            item.wrong(format!("has {} entries; write at most {MAX_DISTINCT}", items.len()));
            return None;
        }
        let mut list: Vec<Alertmanager> = Vec::new();
        for item in items {
            let Some(alertmanager) = alertmanager(&item, secrets) else { continue };
            if list.iter().any(|other| other.url == alertmanager.url) {
                item.wrong_value("is a duplicate; delete it");
            }
            list.push(alertmanager);
        }
        Some(list)
    }

    fn print(&self, list: &Vec<Alertmanager>) -> String {
        let list: Vec<_> = list.iter().map(print).collect();
        format!("[{}]", list.join(", "))
    }
}

fn alertmanager(item: &Item<'_>, secrets: &Secrets<'_>) -> Option<Alertmanager> {
    if !item.is_mapping() {
        return item.read(addresses::alertmanager).map(Alertmanager::from);
    }
    let keys: Vec<_> = iter::once("url").chain(HttpAccess::KEYS).collect();
    let fields = item.fields(&keys)?;
    let url = fields.required("url", "write the base URL such as https://alertmanager:9093");
    let url = url.and_then(|item| item.read(addresses::alertmanager));
    let access = HttpAccess::read(&fields, secrets, url.as_ref(), &RESERVED);
    Some(Alertmanager { url: url?, access })
}

fn print(Alertmanager { url, access }: &Alertmanager) -> String {
    if *access == HttpAccess::default() {
        return quote(&format!("{url:#}"));
    }
    Writer::flow(|page| {
        page.text("url", format!("{url:#}"));
        access.write(page, url);
    })
}
