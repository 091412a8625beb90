//! regionwatch measures how its region reaches each peer region, exposes that to Prometheus, agrees with the other
//! instances on which regions are down, and alerts Alertmanager: which region to fail over, and where to.
//!
//! ```text
//!                 config (file + env) ──once, and on reload──▶ app: one Topology diff
//!
//!  schedule ─slot─▶ probe ──Sample──▶ engine ──────────────────────────▶ alert ─▶ Alertmanager ─▶ webhook
//!                    │                 │ Input → Effects
//!                   net                │   window · decision (evidence, verdict, votes, isolation, incident, ranking)
//!           (kernel timestamps)        │        ▲ votes: read from the peers' sidecars by the sidecar probe
//!                                      └──▶ metrics ─▶ server ─▶ Prometheus ─▶ alerts/ ─▶ Alertmanager ─▶ webhook
//!                                               └────▶ status page, JSON API
//! ```
//!
//! Left of `Sample` is I/O and time. The engine and all below it is synchronous code without clocks or locks, owned by
//! one task: one input, one output (`handle(Input, Now) -> Effects`), tested and simulated by feeding it inputs and a
//! `now`. A module imports only from rows above its own, and no folder has a cycle; `tests/layers.rs` enforces both.
//!
//! | row | module | what belongs there |
//! |---|---|---|
//! | 0 | [`model`] | regions, paths, samples, outcomes: the nouns, valid by construction |
//! | 0 | [`geography`] | where regions are, how far apart, how soon light is back |
//! | 1 | [`yaml`] | tree with positions, typed reader that collects every error, units, secrets, writer; knows no key |
//! | 1 | [`net`] | sockets whose answers carry kernel timestamps; resolver, TLS and HTTP client over them |
//! | 1 | [`signing`] | Ed25519 keys, and the signatures under orders to fail over |
//! | 1 | [`logging`] | log lines to stderr, dropped where they cannot be written |
//! | 1 | [`window`] | the samples of one path over a trailing time, and their summary; history; trace |
//! | 2 | [`probe`] | one file per kind: specification, reader, printer, prober |
//! | 3 | [`config`] | YAML file and environment into one valid `Config`, every error at once |
//! | 3 | [`schedule`] | the open loop: slots, deadlines, missed slots, start delay |
//! | 3 | [`decision`] | pure, takes policies and knows no configuration: from samples and votes to incidents and their targets |
//! | 3 | [`replication`] | pure: from tokens and readings to the lag of a replica as an interval |
//! | 4 | [`metrics`] | names, help, buckets, values, the page |
//! | 4 | [`status`] | what the status page shows, as plain data |
//! | 5 | [`engine`] | sole owner of windows and decision: one input in, metrics updated, effects out |
//! | 5 | [`alert`] | the push to every Alertmanager |
//! | 5 | [`server`] | the HTTP server with the status page, on a thread of its own |
//! | 6 | [`app`] | a main loop that applies effects; reload, shutdown |
//! | 7 | [`bench`](mod@bench) | a latency benchmark: a run, its statistics, its reports |
//! | 8 | [`coldstart`] | container images, ranked by the time to their first correct answer |
//! | 9 | [`cli`] | the commands |

// They panic if they cannot write; `logging::to_stderr` and `io::Write` do not.
#![cfg_attr(not(test), deny(clippy::print_stderr, clippy::print_stdout))]

pub mod alert;
pub mod app;
pub mod bench;
pub mod cli;
pub mod coldstart;
pub mod config;
pub mod decision;
pub mod engine;
pub mod geography;
pub mod logging;
pub mod metrics;
pub mod model;
pub mod net;
pub mod probe;
pub mod replication;
pub mod schedule;
pub mod server;
pub mod signing;
pub mod status;
pub mod window;
pub mod yaml;
