//! regionwatch measures continuously how its region reaches each peer region, and tells Prometheus.
//!
//! ```text
//!                 config (file + env) ──once, and on reload──▶ app: builds everything
//!
//!  schedule ─slot─▶ probe ──Sample──▶ recorder ─▶ window
//!                    │                   │
//!                  wire                  └──────▶ metrics
//!           (kernel timestamps)                      │
//!                                                 server ─▶ Prometheus
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
//! | 1 | [`config`] | YAML file and environment into one valid `Config`, every mistake at once |
//! | 1 | [`wire`] | sockets whose answers carry kernel timestamps |
//! | 1 | [`window`] | the samples of one path over a trailing time, and what they say |
//! | 2 | [`probe`] | one file a kind: ICMP, DNS, TCP, HTTP |
//! | 2 | [`quorum`] | what vantages tell each other: votes as bytes, authenticated |
//! | 2 | [`schedule`] | the open loop: slots, deadlines, what was missed |
//! | 2 | [`ranking`] | score, eligibility with reasons, rank with hysteresis; pure |
//! | 3 | [`metrics`] | names, help, buckets, values, the page |
//! | 4 | [`recorder`] | sole owner of the windows; a sample in, metrics out |
//! | 4 | [`notify`] | the push to every Alertmanager |
//! | 4 | [`server`] | the HTTP server, on a thread of its own |
//! | 5 | [`app`] | wiring, reload, shutdown |
//! | 6 | [`cli`] | the commands |

pub mod app;
pub mod cli;
pub mod config;
pub mod geography;
pub mod metrics;
pub mod model;
pub mod notify;
pub mod probe;
pub mod quorum;
pub mod ranking;
pub mod recorder;
pub mod schedule;
pub mod server;
pub mod vantage;
pub mod verdict;
pub mod window;
pub mod wire;
