//! Environment variables `REGIONWATCH_*`, read through envy.
//!
//! envy panics on variables that are not UTF-8 if it reads the environment itself, stops at the first error, strips a
//! repeated prefix, and ignores the case of names. So it gets only the variables that are known by their exact name,
//! and all of its values are texts.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
};

use crate::yaml::{Diagnostics, Item, Place, diagnostics::suggestion, secrets::Secrets, tree::Node};

/// What the names of all variables begin with.
const PREFIX: &str = "REGIONWATCH_";

/// The variables that are set, by their names.
pub(super) struct Variables<'a> {
    nodes: BTreeMap<String, Node>,
    diagnostics: &'a Diagnostics,
}

impl<'a> Variables<'a> {
    /// Picks the variables of these names. A value that is not UTF-8 is an error.
    pub(super) fn pick(
        environment: &BTreeMap<OsString, OsString>,
        names: &BTreeSet<String>,
        diagnostics: &'a Diagnostics,
    ) -> Self {
        let known = names.iter().filter_map(|name| {
            let value = environment.get(&OsString::from(name))?;
            if value.to_str().is_none() {
                diagnostics.add(Place::Variable(name.clone()), "", "is not UTF-8; set it to text");
            }
            Some((name.clone(), value.to_str()?.to_owned()))
        });
        // All values are texts, so envy has nothing to reject.
        let texts: BTreeMap<String, String> = envy::prefixed(PREFIX).from_iter(known).unwrap_or_else(|error| {
            let text = format!("the environment cannot be read ({error}); report this as a bug");
            diagnostics.add(Place::Whole, "", text);
            BTreeMap::new()
        });
        let set = texts.iter().map(|(name, text)| (format!("{PREFIX}{}", name.to_uppercase()), text.trim()));
        let nodes = set.filter(|(_, text)| !text.is_empty()).map(|(name, text)| {
            let node = Node::variable(&name, text);
            (name, node)
        });
        Self { nodes: nodes.collect(), diagnostics }
    }

    /// The variable of this name, unless it is unset or empty.
    pub(super) fn get(&self, name: &str) -> Option<Item<'_>> {
        self.nodes.get(name).map(|node| Item::root(node, self.diagnostics))
    }
}

/// A warning for each variable with our prefix and an unknown name. It is no error: Kubernetes and others set such
/// variables.
pub(super) fn unknown(
    environment: &BTreeMap<OsString, OsString>,
    known: &BTreeSet<String>,
    secrets: &Secrets<'_>,
) -> Vec<String> {
    let options: Vec<_> = known.iter().map(String::as_str).collect();
    let names = environment.keys().map(|name| name.to_string_lossy());
    names
        .filter(|name| name.starts_with(PREFIX) && !known.contains(name.as_ref()))
        .filter(|name| !is_service_link(name) && !secrets.used(name))
        .map(|name| {
            let shown = name.escape_debug();
            match suggestion(&name, &options) {
                Some(option) => format!("{shown}: is not a known variable and has no effect; did you mean {option}?"),
                None => format!("{shown}: is not a known variable and has no effect; unset it"),
            }
        })
        .collect()
}

/// Whether Kubernetes sets such a variable for a Service whose name begins with `regionwatch`:
/// `X_SERVICE_HOST`, `X_SERVICE_PORT[_NAME]`, `X_PORT[_9877_TCP[_PROTO|_PORT|_ADDR]]`.
pub(super) fn is_service_link(name: &str) -> bool {
    let Some(at) = name.find("_PORT") else { return name.ends_with("_SERVICE_HOST") };
    let rest = &name[at + "_PORT".len()..];
    let digits = rest.strip_prefix('_').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    rest.is_empty() || digits || name[..at].ends_with("_SERVICE")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_links_are_known() {
        for name in [
            "REGIONWATCH_PORT",
            "REGIONWATCH_SERVICE_HOST",
            "REGIONWATCH_SERVICE_PORT",
            "REGIONWATCH_SERVICE_PORT_HTTP",
            "REGIONWATCH_PORT_9877_TCP",
            "REGIONWATCH_PORT_9877_TCP_ADDR",
            "REGIONWATCH_US_SERVICE_HOST",
        ] {
            assert!(is_service_link(name), "{name}");
        }
        for name in ["REGIONWATCH_PORTS", "REGIONWATCH_SUPPORT"] {
            assert!(!is_service_link(name), "{name}");
        }
    }
}
