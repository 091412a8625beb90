//! The status page: the engine's state as HTML that needs no script.

mod assets;
mod chart;
mod configuration;
mod document;
mod explain;
mod headline;
mod not_found;
mod overview;
mod parts;
mod path;
mod peer;

pub(super) use self::{
    assets::{ASSETS, Asset, POLICY},
    configuration::configuration,
    document::About,
    explain::explain,
    headline::{Line, lines, sentence},
    not_found::not_found,
    overview::overview,
    path::path,
    peer::peer,
};

#[cfg(test)]
mod tests;
