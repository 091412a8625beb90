//! How long an image takes to arrive on a node: the bytes of the layers that are not there yet over a bandwidth, and what
//! unpacking them takes.

use std::fmt;

use super::{anatomy::Anatomy, layer::Layer};
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

impl Present {
    /// How many layers of so many a node has.
    pub(super) fn layers(self, count: usize, base: usize) -> usize {
        match self {
            Self::None => 0,
            Self::Base => base.min(count),
            Self::AllButLast => count.saturating_sub(1),
            Self::All => count,
        }
    }
}

/// A bandwidth, in bits per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bandwidth {
    /// One that is assumed.
    Assumed(f64),
    /// That of this node; `None` before it is measured, and where it cannot be.
    Measured(Option<f64>),
}

/// The word for the bandwidth of this node.
const MEASURED: &str = "measured";

impl Bandwidth {
    /// Reads `100mbit`, `1gbit` or `measured`.
    ///
    /// # Errors
    /// What to write instead.
    pub fn parse(text: &str) -> Parsed<Self> {
        if text == MEASURED {
            return Ok(Self::Measured(None));
        }
        let units = [("gbit", 1e9), ("mbit", 1e6)];
        let found = units.iter().find_map(|(unit, bits)| Some((text.strip_suffix(unit)?, bits)));
        let bandwidth = found.and_then(|(number, bits)| Some(decimal(number).ok()? * bits));
        bandwidth
            .filter(|bits| (1e5..=1e13).contains(bits))
            .map(Self::Assumed)
            .ok_or_else(|| "is not a bandwidth; write one such as 100mbit or 1gbit, or measured".to_owned())
    }

    /// How many bits it carries in a second, if that is known.
    pub const fn bits_per_second(self) -> Option<f64> {
        match self {
            Self::Assumed(bits) => Some(bits),
            Self::Measured(bits) => bits,
        }
    }

    /// How long these bytes take, in seconds, if that is known.
    pub fn seconds(self, bytes: u64) -> Option<f64> {
        self.bits_per_second().map(|bits| bytes as f64 * 8.0 / bits)
    }

    /// Its name for programs.
    pub fn key(self) -> String {
        match self {
            Self::Assumed(_) => self.to_string(),
            Self::Measured(_) => MEASURED.to_owned(),
        }
    }
}

impl fmt::Display for Bandwidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Assumed(bits) if bits >= 1e9 => write!(f, "{} Gbit/s", bits / 1e9),
            Self::Assumed(bits) => write!(f, "{} Mbit/s", bits / 1e6),
            Self::Measured(Some(bits)) if bits >= 1e9 => write!(f, "{:.2} Gbit/s, measured", bits / 1e9),
            Self::Measured(Some(bits)) => write!(f, "{:.1} Mbit/s, measured", bits / 1e6),
            Self::Measured(None) => f.write_str("the measured bandwidth"),
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

/// The base image of an image. One that starts from nothing has one without layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BaseImage {
    /// All of it.
    pub whole: Pull,
    /// What of it has to be pulled.
    pub missing: Pull,
}

/// How pulling is modelled.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// The bandwidths; images are ranked by the first one that is known.
    pub bandwidths: Vec<Bandwidth>,
    /// What a node has already.
    pub present: Present,
}

impl Model {
    /// The bandwidth by which images are ranked; none if all that was asked for could not be measured.
    pub fn ranking(&self) -> Option<Bandwidth> {
        self.bandwidths.iter().copied().find(|bandwidth| bandwidth.bits_per_second().is_some())
    }

    /// Whether the bandwidth of this node is to be measured.
    pub(super) fn measures(&self) -> bool {
        let is_measured = |bandwidth: &Bandwidth| matches!(bandwidth, Bandwidth::Measured(_));
        self.present != Present::All && self.bandwidths.iter().any(is_measured)
    }

    /// Puts in what was measured.
    pub(super) fn measured(&mut self, bits_per_second: Option<f64>) {
        for bandwidth in &mut self.bandwidths {
            if let Bandwidth::Measured(measured) = bandwidth {
                *measured = bits_per_second;
            }
        }
    }
}

/// How long it takes to unpack a byte on this host, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Unpacking(pub f64);

impl Pull {
    /// What is missing on a node.
    pub(super) fn missing(anatomy: &Anatomy, base: usize, present: Present) -> Self {
        Self::of(&anatomy.layers[present.layers(anatomy.layers.len(), base)..])
    }

    /// What these layers are.
    pub(super) fn of(layers: &[Layer]) -> Self {
        Self {
            packed: layers.iter().map(|layer| layer.packed).sum(),
            size: layers.iter().map(|layer| layer.size).sum(),
            layers: layers.len(),
        }
    }

    /// How long it takes, in seconds, if that is known: to fetch, and to unpack.
    pub fn seconds(self, bandwidth: Bandwidth, unpacking: Unpacking) -> Option<f64> {
        Some(bandwidth.seconds(self.packed)? + self.size as f64 * unpacking.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bandwidth_has_a_unit() {
        assert_eq!(Bandwidth::parse("1gbit").unwrap().seconds(125_000_000), Some(1.0));
        assert_eq!(Bandwidth::parse("2.5mbit").unwrap().to_string(), "2.5 Mbit/s");
        for text in ["", "1", "gbit", "-1gbit", "0mbit", "1e99gbit", "nangbit"] {
            assert!(Bandwidth::parse(text).unwrap_err().contains("write one such as 100mbit"), "{text}");
        }
    }

    #[test]
    fn only_what_a_node_does_not_have_is_pulled() {
        let layer = |packed| Layer { packed, size: 2 * packed, ..Layer::default() };
        let anatomy = Anatomy { layers: vec![layer(100), layer(10), layer(1)], ..Anatomy::default() };
        let pulled = |present| Pull::missing(&anatomy, 1, present);
        assert_eq!(pulled(Present::None), Pull { packed: 111, size: 222, layers: 3 });
        assert_eq!(pulled(Present::Base), Pull { packed: 11, size: 22, layers: 2 });
        assert_eq!(pulled(Present::AllButLast), Pull { packed: 1, size: 2, layers: 1 });
        assert_eq!(pulled(Present::All), Pull::default());
        let took = pulled(Present::None).seconds(Bandwidth::parse("1mbit").unwrap(), Unpacking(0.001)).unwrap();
        assert!((took - (0.000_888 + 0.222)).abs() < 1e-9, "{took}");
    }

    #[test]
    fn a_bandwidth_that_could_not_be_measured_ranks_nothing() {
        let bandwidths = ["measured", "1gbit"].map(|text| Bandwidth::parse(text).unwrap());
        let mut model = Model { bandwidths: bandwidths.to_vec(), present: Present::None };
        assert!(model.measures() && !Model { present: Present::All, ..model.clone() }.measures());
        assert_eq!(model.ranking(), Some(Bandwidth::Assumed(1e9)));
        assert_eq!(bandwidths[0].seconds(1), None);
        model.measured(Some(2e6));
        assert_eq!(model.ranking().map(|bandwidth| bandwidth.to_string()).as_deref(), Some("2.0 Mbit/s, measured"));
        assert_eq!(model.bandwidths[0].key(), "measured");
        model.bandwidths.truncate(1);
        model.measured(None);
        assert_eq!(model.ranking(), None);
    }
}
