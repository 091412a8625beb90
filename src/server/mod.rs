//! The HTTP server: `/metrics`, status page, JSON API, health, reload.
//!
//! It runs on a thread and a runtime of its own, so that a scrape never delays a probe. It is safe to expose: the number
//! of connections, the size of requests and the time for each of them are limited (see [`Limits`]), and a crowd of idle
//! clients does not delay a scrape.
//!
//! | file | what belongs there |
//! |---|---|
//! | `state` | what the server shares with the engine: metrics, and a channel for a [`Query`] |
//! | `serve` | the server's thread and accept loop |
//! | `connections`, `conn_state`, `limits` | connection table, progress of each connection, limits and eviction |
//! | `client` | whose connections come first |
//! | `share`, `quota` | what all others may take of the CPU |
//! | `routes` | which response belongs to which path |
//! | `body`, `encoding` | response bodies, compressed if the client accepts that |
//! | `api` | `/api/v1/probes` |
//! | `documents` | the other JSON documents |
//! | `page` | the status page |
//! | `health` | the client of `/-/healthy` |

mod api;
mod body;
mod client;
mod conn_state;
mod connections;
mod documents;
mod encoding;
mod engine_client;
mod health;
mod held;
mod limits;
mod origin;
mod page;
mod params;
mod quota;
mod response;
mod routes;
mod serve;
mod share;
mod state;

pub use self::{
    api::PathFilter,
    client::KnownVantages,
    connections::ServerStats,
    health::probe_health,
    limits::Limits,
    quota::cpu_quota,
    serve::{Server, spawn},
    state::{EncodedVotes, Histories, Query, ServerState},
};
