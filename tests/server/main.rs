//! The HTTP server as clients meet it: a real server on port 0, raw bytes over real sockets.
#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, but does not see that helpers are tests too

mod api;
mod hostile;
mod load;
mod pages;
mod responses;
mod strangers;
mod support;
mod votes;
