//! What an engine says of images and containers, as far as it matters here.

use std::{collections::BTreeMap, net::IpAddr};

use serde::Deserialize;
use serde_json::Value;

/// An image.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ImageFacts {
    pub(super) id: String,
    pub(super) size: u64,
    pub(super) config: Option<ImageConfig>,
    #[serde(rename = "RootFS")]
    pub(super) root_fs: RootFs,
    /// Its names in registries.
    pub(super) repo_digests: Option<Vec<String>>,
}

/// How the engine reaches registries.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Connectivity {
    http_proxy: String,
    https_proxy: String,
    registry_config: Option<RegistryConfig>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RegistryConfig {
    mirrors: Option<Vec<String>>,
}

impl Connectivity {
    /// Whether it asks a proxy.
    pub(super) fn has_proxy(&self) -> bool {
        !self.http_proxy.is_empty() || !self.https_proxy.is_empty()
    }

    /// Whether it asks another registry for the images of Docker Hub.
    pub(super) fn has_mirror(&self) -> bool {
        let mirrors = self.registry_config.as_ref().and_then(|config| config.mirrors.as_ref());
        mirrors.is_some_and(|mirrors| !mirrors.is_empty())
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct RootFs {
    pub(super) layers: Option<Vec<String>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ImageConfig {
    pub(super) exposed_ports: Option<BTreeMap<String, Value>>,
    pub(super) user: String,
    pub(super) entrypoint: Option<Vec<String>>,
    pub(super) cmd: Option<Vec<String>>,
    pub(super) healthcheck: Option<Value>,
}

/// An entry of the history of an image, as its configuration has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct HistoryStep {
    pub(super) created_by: String,
    /// Whether it made no layer. A step that changed no file has made an empty one.
    pub(super) empty_layer: bool,
}

/// A container after its start.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ContainerFacts {
    pub(super) state: State,
    pub(super) network_settings: NetworkSettings,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct State {
    pub(super) running: bool,
    pub(super) exit_code: i64,
    pub(super) started_at: String,
    #[serde(rename = "OOMKilled")]
    pub(super) oom_killed: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct NetworkSettings {
    networks: Option<BTreeMap<String, Endpoint>>,
    ports: Option<BTreeMap<String, Option<Vec<Binding>>>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Endpoint {
    #[serde(rename = "IPAddress")]
    ip_address: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Binding {
    host_port: String,
}

impl ContainerFacts {
    /// Its address in the network that it joined.
    pub(super) fn address(&self) -> Option<IpAddr> {
        let networks = self.network_settings.networks.as_ref()?;
        networks.values().find_map(|endpoint| endpoint.ip_address.parse().ok())
    }

    /// The port of this host that leads to its port.
    pub(super) fn published(&self, port: u16) -> Option<u16> {
        let ports = self.network_settings.ports.as_ref()?;
        ports.get(&format!("{port}/tcp"))?.as_ref()?.iter().find_map(|binding| binding.host_port.parse().ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_or_a_mirror_of_the_engine_is_known() {
        let of = |text: &str| {
            let facts: Connectivity = serde_json::from_str(text).unwrap();
            (facts.has_proxy(), facts.has_mirror())
        };
        assert_eq!(of(r#"{"HttpProxy":"","RegistryConfig":{"Mirrors":null}}"#), (false, false));
        assert_eq!(of(r#"{"HttpsProxy":"http://p","RegistryConfig":{"Mirrors":["https://m/"]}}"#), (true, true));
    }

    #[test]
    fn the_address_is_that_of_the_network_and_the_port_that_of_this_host() {
        let facts: ContainerFacts = serde_json::from_str(
            r#"{"State":{"Running":true,"ExitCode":0,"StartedAt":"2026-01-01T00:00:00Z","OOMKilled":false},
               "NetworkSettings":{"Ports":{"80/tcp":[{"HostIp":"127.0.0.1","HostPort":"32768"}],"443/tcp":null},
               "Networks":{"a":{"IPAddress":"172.18.0.2"}}}}"#,
        )
        .unwrap();
        assert_eq!(facts.address(), "172.18.0.2".parse().ok());
        assert_eq!((facts.published(80), facts.published(443), facts.published(1)), (Some(32768), None, None));
        let empty: ContainerFacts = serde_json::from_str("{}").unwrap();
        assert_eq!((empty.address(), empty.state.running), (None, false));
    }
}
