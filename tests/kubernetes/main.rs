//! `deploy/kubernetes`, built by kustomize and held against the schemas of Kubernetes and of the Prometheus operator.
//!
//! `tests/run` installs the tools, in the versions that `package.json` and `requirements.txt` beside this file name.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[macro_use]
extern crate testkit;

mod configuration;
mod dashboards;
mod pod;
mod problems;
mod references;
mod schemas;
mod variants;

suite!(Processors);
