//! What a smaller base image saves, where the comparison has one.

use super::content::shown;
use crate::{
    bench::printable,
    coldstart::{
        comparison::{Comparison, Image},
        findings::LEAST,
        pull::{Present, Pull},
    },
};

/// Another image of the comparison, with less to pull than the base image of this one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Smaller<'a> {
    /// The other image.
    pub(super) image: &'a Image,
    /// Whether it has no base image: all of it is less.
    pub(super) is_whole: bool,
    /// How much less it takes, in seconds.
    pub(super) saves: f64,
}

/// The one that takes the least. Images that were never ready, or of which a node has something, show nothing.
pub(super) fn smaller<'a>(comparison: &'a Comparison, image: &Image) -> Option<Smaller<'a>> {
    let model = &comparison.model;
    if model.present != Present::None {
        return None;
    }
    let bandwidth = model.ranking()?;
    let seconds = |pull: Pull| pull.seconds(bandwidth, comparison.unpacking);
    let own = image.base?.whole;
    let others = comparison.images.iter().filter(|other| other.ready().next().is_some()).filter_map(|other| {
        let base = other.base?.whole;
        // Without a base image, its own layers bring what a program needs: all of them count.
        let is_whole = base.layers == 0;
        let instead = if is_whole { other.pull? } else { base };
        let saves = seconds(own)? - seconds(instead)?;
        (saves > 0.0 && instead.packed + LEAST <= own.packed).then_some(Smaller { image: other, is_whole, saves })
    });
    others.max_by(|one, other| one.saves.total_cmp(&other.saves))
}

impl Smaller<'_> {
    /// As the end of a sentence about the base image.
    pub(super) fn text(&self) -> String {
        let (name, saves) = (printable(&self.image.name), shown(self.saves));
        match self.is_whole {
            true => format!("; all of {name}, which has no base image, takes {saves} ms less"),
            false => format!("; that of {name} takes {saves} ms less"),
        }
    }
}
