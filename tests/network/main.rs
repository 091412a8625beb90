//! What crosses a network: probes between network namespaces, through routers that lose, refuse and cut.
//!
//! Each host is a namespace that a thread keeps ([`testkit::space::Host`]); everything vanishes with its threads. The
//! probes are built and driven as the product does it, from YAML to events ([`measure::Measurement`]).
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[macro_use]
extern crate testkit;

mod bench;
mod echo;
mod families;
mod hung;
mod loss;
mod measure;
mod names;
mod product;
mod responder;
mod routes;
mod servers;
mod stamps;
mod starvation;
mod tcp;

suite!(Processors);
