//! regionwatch measures continuously how its region reaches each peer region, tells Prometheus, decides with the other
//! vantages which regions are down, and tells Alertmanager which of them to fail over, and where to.
//!
//! ```text
//!                 config (file + env) ──once, and on reload──▶ app: builds everything
//!
//!  schedule ─slot─▶ probe ──Sample──▶ recorder ─▶ window ─▶ ranking ─────────┐
//!                    │                   │                    candidates     ▼
//!                  net                   ├──────▶ vantage: verdict, quorum ─────▶ notify ─▶ Alertmanager ─▶ webhook
//!           (kernel timestamps)          │           ▲ votes: read from the peers' sidecars by the HTTP probe
//!                                        └──▶ metrics ─▶ server ─▶ Prometheus ─▶ alerts/ ─▶ Alertmanager ─▶ webhook
//! ```
//!
//! Left of `Sample` is I/O and time; right of it is synchronous code without clocks or locks, owned by one task
//! and tested by feeding it samples and a `now`. A module imports only from the rows above it; `tests/layers.rs`
//! holds it to that.
//!
//! | row | module | what belongs there |
//! |---|---|---|
//! | 0 | [`model`] | regions, paths, samples, outcomes: the nouns, valid by construction |
//! | 0 | [`geography`] | where regions are, how far apart, how soon light is back |
//! | 1 | [`yaml`] | tree with positions, typed reader that collects every error, units, secrets, writer; knows no key |
//! | 1 | [`net`] | sockets whose answers carry kernel timestamps; resolver, TLS and HTTP client over them |
//! | 2 | [`config`] | YAML file and environment into one valid `Config`, every error at once |
//! | 2 | [`window`] | the samples of one path over a trailing time, and what they say |
//! | 3 | [`probe`] | one file a kind: ICMP, DNS, TCP, HTTP |
//! | 3 | [`schedule`] | the open loop: slots, deadlines, what was missed |
//! | 3 | [`decision`] | pure: evidence, verdict, quality, votes, isolation, incidents, ranking |
//! | 4 | [`metrics`] | names, help, buckets, values, the page |
//! | 4 | [`status`] | what the status page tells, as plain data |
//! | 5 | [`engine`] | sole owner of windows and decision; a sample in, metrics and news out |
//! | 5 | [`alert`] | the push to every Alertmanager |
//! | 5 | [`server`] | the HTTP server with the status page, on a thread of its own |
//! | 6 | [`app`] | wiring, reload, shutdown |
//! | 7 | [`cli`] | the commands |

pub mod alert;
pub mod app;
pub mod cli;
pub mod config;
pub mod decision;
pub mod engine;
pub mod geography;
pub mod metrics;
pub mod model;
pub mod net;
pub mod probe;
pub mod schedule;
pub mod server;
pub mod status;
pub mod window;
pub mod yaml;
