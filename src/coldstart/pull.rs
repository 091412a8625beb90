//! How long an image takes to arrive on a node: the bytes of the layers that are not there yet over a bandwidth, and what
//! unpacking them takes.

use std::fmt;

use super::{anatomy::Anatomy, engine::HistoryStep};
use crate::{
    model::labels,
    yaml::{Parsed, units::decimal},
};

labels! {
    /// What a node has of an image before it pulls it.
    pub enum Present {
        /// Nothing: an empty node.
        None = "none",
        /// The layers of the base image.
        Base = "base",
        /// All layers but the last one, as after a change of the program.
        AllButLast = "all-but-last",
        /// Everything: nothing is pulled.
        All = "all",
    }
}

/// A bandwidth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bandwidth {
    bits_per_second: f64,
}

impl Bandwidth {
    /// Reads `100mbit` or `1gbit`.
    ///
    /// # Errors
    /// What to write instead.
    pub fn parse(text: &str) -> Parsed<Self> {
        let units = [("gbit", 1e9), ("mbit", 1e6)];
        let found = units.iter().find_map(|(unit, bits)| Some((text.strip_suffix(unit)?, bits)));
        let bandwidth = found.and_then(|(number, bits)| Some(decimal(number).ok()? * bits));
        bandwidth
            .filter(|bits| (1e5..=1e13).contains(bits))
            .map(|bits_per_second| Self { bits_per_second })
            .ok_or_else(|| "is not a bandwidth; write one such as 100mbit or 1gbit".to_owned())
    }

    /// How long these bytes take, in seconds.
    pub fn seconds(self, bytes: u64) -> f64 {
        bytes as f64 * 8.0 / self.bits_per_second
    }
}

impl fmt::Display for Bandwidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bits_per_second {
            bits if bits >= 1e9 => write!(f, "{} Gbit/s", bits / 1e9),
            bits => write!(f, "{} Mbit/s", bits / 1e6),
        }
    }
}

/// What has to be pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pull {
    /// The bytes on the wire.
    pub packed: u64,
    /// The bytes that they become.
    pub size: u64,
    /// The layers.
    pub layers: usize,
}

/// How pulling is modelled.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// The bandwidths; images are ranked by the first one.
    pub bandwidths: Vec<Bandwidth>,
    /// What a node has already.
    pub present: Present,
}

/// How long it takes to unpack a byte on this host, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Unpacking(pub f64);

impl Pull {
    /// What is missing on a node.
    pub(super) fn missing(anatomy: &Anatomy, base: usize, present: Present) -> Self {
        let count = anatomy.layers.len();
        let from = match present {
            Present::None => 0,
            Present::Base => base.min(count),
            Present::AllButLast => count.saturating_sub(1),
            Present::All => count,
        };
        let missing = &anatomy.layers[from..];
        Self {
            packed: missing.iter().map(|layer| layer.packed).sum(),
            size: missing.iter().map(|layer| layer.size).sum(),
            layers: missing.len(),
        }
    }

    /// How long it takes, in seconds: to fetch, and to unpack.
    pub fn seconds(self, bandwidth: Bandwidth, unpacking: Unpacking) -> f64 {
        bandwidth.seconds(self.packed) + self.size as f64 * unpacking.0
    }
}

/// How many of the layers belong to the base image. An engine does not say it. A base image usually ends with its command,
/// and what follows in the history of the image was built on it.
pub(super) fn base_layers(history: &[HistoryStep]) -> usize {
    // The first entry is the newest.
    let oldest_first: Vec<_> = history.iter().rev().collect();
    let is_command = |step: &HistoryStep| {
        let text = step.created_by.trim_start_matches("/bin/sh -c #(nop)").trim_start();
        step.size == 0 && (text.starts_with("CMD") || text.starts_with("ENTRYPOINT"))
    };
    let has_layers_after = |at: usize| oldest_first[at + 1..].iter().any(|step| step.size > 0);
    let mut ends = (0..oldest_first.len()).filter(|at| is_command(oldest_first[*at]) && has_layers_after(*at));
    match ends.next_back() {
        Some(end) => oldest_first[..end].iter().filter(|step| step.size > 0).count(),
        // Built on a base without a command, or on nothing.
        None => usize::from(oldest_first.iter().filter(|step| step.size > 0).count() > 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coldstart::anatomy::Layer;

    #[test]
    fn a_bandwidth_has_a_unit() {
        assert_eq!(Bandwidth::parse("1gbit").unwrap().seconds(125_000_000), 1.0);
        assert_eq!(Bandwidth::parse("2.5mbit").unwrap().to_string(), "2.5 Mbit/s");
        for text in ["", "1", "gbit", "-1gbit", "0mbit", "1e99gbit", "nangbit"] {
            assert!(Bandwidth::parse(text).unwrap_err().contains("write one such as 100mbit"), "{text}");
        }
    }

    #[test]
    fn only_what_a_node_does_not_have_is_pulled() {
        let layer = |packed| Layer { packed, size: 2 * packed, ..Layer::default() };
        let anatomy = Anatomy { layers: vec![layer(100), layer(10), layer(1)] };
        let pulled = |present| Pull::missing(&anatomy, 1, present);
        assert_eq!(pulled(Present::None), Pull { packed: 111, size: 222, layers: 3 });
        assert_eq!(pulled(Present::Base), Pull { packed: 11, size: 22, layers: 2 });
        assert_eq!(pulled(Present::AllButLast), Pull { packed: 1, size: 2, layers: 1 });
        assert_eq!(pulled(Present::All), Pull::default());
        let took = pulled(Present::None).seconds(Bandwidth::parse("1mbit").unwrap(), Unpacking(0.001));
        assert!((took - (0.000_888 + 0.222)).abs() < 1e-9, "{took}");
    }

    #[test]
    fn a_base_image_ends_with_its_command() {
        let step = |created_by: &str, size| HistoryStep { created_by: created_by.to_owned(), size };
        let mut history = vec![
            step("ADD file:1 in /", 100),
            step("RUN apt-get update", 50),
            step("/bin/sh -c #(nop)  CMD [\"node\"]", 0),
            step("COPY . .", 5),
            step("RUN npm ci", 70),
            step("CMD [\"node\" \"server.js\"]", 0),
        ];
        history.reverse();
        assert_eq!(base_layers(&history), 2);
        assert_eq!(base_layers(&[step("COPY a", 1)]), 0);
        assert_eq!(base_layers(&[step("COPY b", 1), step("COPY a", 1)]), 1);
        assert_eq!(base_layers(&[]), 0);
    }
}
