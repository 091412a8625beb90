//! The calls of Docker's Engine API that a cold start needs. Podman answers the same ones.
//!
//! Paths have no version, so that an engine answers by its own newest: old ones are refused by new engines.

use std::{
    io::{self, ErrorKind},
    path::PathBuf,
    time::Duration,
};

use bytes::Bytes;
use http::{Method, StatusCode};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    anatomy::{Anatomy, ImageReader},
    error::ColdstartError,
    facts::{Connectivity, ContainerFacts, ImageFacts},
    said::{error_line, log, message, version},
    socket::{Answer, Call, Socket, SocketError},
};

/// The label of everything that is created; its value is the run.
pub const LABEL: &str = "io.regionwatch.coldstart";

/// The most bytes of an answer that is a document.
const MOST: usize = 8 << 20;

/// How long a call may take that starts and builds nothing.
const USUAL: Duration = Duration::from_secs(30);

/// How long the export of an image may take, and the most bytes of it.
const EXPORTING: Duration = Duration::from_secs(1800);
const MOST_EXPORTED: usize = 64 << 30;

/// How long to create, start or remove a container may take.
const LONG: Duration = Duration::from_secs(120);

/// From this version on, an address of the link layer belongs to a network and not to a container.
const MAC_OF_ENDPOINT: (u32, u32) = (1, 44);

/// The address of the link layer that all containers of a run get, one after the other. So the neighbor table of this host
/// never has an address of a container that is gone.
const MAC: &str = "02:52:57:00:00:02";

/// An engine that has answered.
#[derive(Debug, Clone)]
pub(super) struct Engine {
    socket: Socket,
    version: (u32, u32),
    /// What it calls itself, such as `Docker 28.2.2`.
    pub(super) name: String,
    /// The architecture of its containers, as Go names it.
    pub(super) architecture: String,
}

/// What a container gets.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ContainerOptions {
    /// CPUs, such as 0.5; no limit where it is `None`.
    pub cpus: Option<f64>,
    /// Bytes of memory; no limit where it is `None`.
    pub memory: Option<u64>,
    /// Variables of its environment: `KEY=VALUE`.
    pub env: Vec<String>,
    /// Reach it by a port of this host instead of its own address.
    pub publish: bool,
}

/// What creates a container.
#[derive(Debug)]
pub(super) struct Creation<'a> {
    pub(super) name: &'a str,
    pub(super) image: &'a str,
    pub(super) network: &'a str,
    pub(super) run: &'a str,
    pub(super) options: &'a ContainerOptions,
    /// The port that is published, if one is to be.
    pub(super) port: Option<u16>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Created {
    id: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Version {
    version: String,
    arch: String,
    components: Option<Vec<Component>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Component {
    name: String,
}

impl Engine {
    /// Greets the engine at the first of these sockets where one listens.
    pub(super) async fn connect(sockets: &[PathBuf]) -> Result<Self, ColdstartError> {
        let mut refused = None;
        for path in sockets {
            let socket = Socket::new(path.clone());
            let mut engine = Self { socket, version: (0, 0), name: String::new(), architecture: String::new() };
            match engine.send(Method::GET, "/_ping", None, USUAL).await {
                Ok(ping) => {
                    engine.greet(&ping).await?;
                    return Ok(engine);
                }
                // A socket that is there and may not be used says more than one that is not.
                Err(SocketError::Connect(error)) => {
                    let says_more = |earlier: &io::Error| {
                        earlier.kind() == ErrorKind::NotFound && error.kind() != ErrorKind::NotFound
                    };
                    if refused.as_ref().is_none_or(says_more) {
                        refused = Some(error);
                    }
                }
                Err(other) => return Err(engine.failed("ping", other)),
            }
        }
        let error = refused.unwrap_or_else(|| ErrorKind::NotFound.into());
        Err(ColdstartError::NoEngine { sockets: sockets.to_vec(), error })
    }

    async fn greet(&mut self, ping: &Answer) -> Result<(), ColdstartError> {
        let stated = ping.headers.get("api-version").and_then(|value| value.to_str().ok());
        self.version = stated.and_then(version).unwrap_or_default();
        let facts: Version = self.document("read the version of", Method::GET, "/version", None, USUAL).await?;
        let component = facts.components.iter().flatten().next().map_or("Docker", |component| &component.name);
        let product = if component.starts_with("Podman") { "Podman" } else { "Docker" };
        self.name = format!("{product} {}", facts.version);
        self.architecture = facts.arch;
        Ok(())
    }

    fn failed(&self, action: &'static str, error: SocketError) -> ColdstartError {
        ColdstartError::Engine { action, reason: format!("{}: {error}", self.socket.path().display()) }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<(&'static str, Bytes)>,
        limit: Duration,
    ) -> Result<Answer, SocketError> {
        self.socket.send(Call { method, path, body, limit, most: MOST }).await
    }

    /// Sends a request, and is an error where the engine refuses it.
    async fn call(
        &self,
        action: &'static str,
        method: Method,
        path: &str,
        body: Option<(&'static str, Bytes)>,
        limit: Duration,
    ) -> Result<Answer, ColdstartError> {
        let answer = self.send(method, path, body, limit).await.map_err(|error| self.failed(action, error))?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        Err(ColdstartError::Refused { action, status: answer.status, reason: message(&answer.body) })
    }

    async fn document<T: DeserializeOwned>(
        &self,
        action: &'static str,
        method: Method,
        path: &str,
        body: Option<&Value>,
        limit: Duration,
    ) -> Result<T, ColdstartError> {
        let body = body.map(|body| ("application/json", Bytes::from(body.to_string())));
        let answer = self.call(action, method, path, body, limit).await?;
        serde_json::from_slice(&answer.body).map_err(|error| ColdstartError::Engine {
            action,
            reason: format!("the answer is not what it should be: {error}"),
        })
    }

    /// What is known of an image; `None` if the engine does not have it.
    pub(super) async fn image(&self, name: &str) -> Result<Option<ImageFacts>, ColdstartError> {
        let path = format!("/images/{name}/json");
        match self.document("inspect an image", Method::GET, &path, None, USUAL).await {
            Ok(facts) => Ok(Some(facts)),
            Err(ColdstartError::Refused { status: StatusCode::NOT_FOUND, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// How it reaches registries.
    pub(super) async fn connectivity(&self) -> Result<Connectivity, ColdstartError> {
        self.document("report how it is set up", Method::GET, "/info", None, USUAL).await
    }

    /// Reads what is in an image.
    pub(super) async fn anatomy(&self, name: &str) -> Result<Anatomy, ColdstartError> {
        const ACTION: &str = "export an image";
        let mut reader = ImageReader::new();
        let path = format!("/images/{name}/get");
        let call = Call { method: Method::GET, path: &path, body: None, limit: EXPORTING, most: MOST_EXPORTED };
        let refused = self.socket.stream(call, &mut |bytes| reader.feed(bytes)).await;
        match refused.map_err(|error| self.failed(ACTION, error))? {
            None => reader.finish().map_err(|reason| ColdstartError::Engine { action: ACTION, reason }),
            Some(answer) => {
                let reason = message(&answer.body);
                Err(ColdstartError::Refused { action: ACTION, status: answer.status, reason })
            }
        }
    }

    /// Makes an image of one layer. Its name has no tag, which Podman would ignore.
    pub(super) async fn import(
        &self,
        name: &str,
        run: &str,
        layer: Vec<u8>,
        program: &str,
    ) -> Result<(), ColdstartError> {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("fromSrc", "-")
            .append_pair("repo", name)
            .append_pair("changes", &format!("ENTRYPOINT [{program:?}]"))
            .append_pair("changes", &format!("LABEL {LABEL}={run}"))
            .finish();
        let body = Some(("application/x-tar", Bytes::from(layer)));
        let answer =
            self.call("make the null image", Method::POST, &format!("/images/create?{query}"), body, LONG).await?;
        // Once the status is sent, an engine reports errors among the lines of its answer.
        match error_line(&answer.body) {
            Some(reason) => Err(ColdstartError::Engine { action: "make the null image", reason }),
            None => Ok(()),
        }
    }

    /// Removes an image, and what of it no other one uses. Returns whether it was there.
    pub(super) async fn remove_image(&self, name: &str) -> Result<bool, ColdstartError> {
        was_there(self.call("remove an image", Method::DELETE, &format!("/images/{name}"), None, USUAL).await)
    }

    /// The program that builds images for it.
    pub(super) fn program(&self) -> &'static str {
        if self.is_podman() { "podman" } else { "docker" }
    }

    /// How that program finds the engine.
    pub(super) fn program_arguments(&self) -> [String; 2] {
        let option = if self.is_podman() { "--url" } else { "--host" };
        [option.to_owned(), format!("unix://{}", self.socket.path().display())]
    }

    fn is_podman(&self) -> bool {
        self.name.starts_with("Podman")
    }

    /// Makes a network for the containers of a run, and returns its id.
    pub(super) async fn create_network(&self, name: &str, run: &str) -> Result<String, ColdstartError> {
        let body = json!({ "Name": name, "Driver": "bridge", "Labels": { LABEL: run } });
        let created: Created =
            self.document("create a network", Method::POST, "/networks/create", Some(&body), USUAL).await?;
        Ok(created.id)
    }

    /// Removes a network. Returns whether it was there.
    pub(super) async fn remove_network(&self, name: &str) -> Result<bool, ColdstartError> {
        was_there(self.call("remove a network", Method::DELETE, &format!("/networks/{name}"), None, USUAL).await)
    }

    pub(super) async fn create(&self, creation: &Creation<'_>) -> Result<String, ColdstartError> {
        let path = format!("/containers/create?name={}", creation.name);
        let created: Created =
            self.document("create a container", Method::POST, &path, Some(&self.container(creation)), LONG).await?;
        if created.id.is_empty() || !created.id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            let reason = "the id of the container is none".to_owned();
            return Err(ColdstartError::Engine { action: "create a container", reason });
        }
        Ok(created.id)
    }

    fn container(&self, creation: &Creation<'_>) -> Value {
        let options = creation.options;
        let mut host = json!({
            "NetworkMode": creation.network,
            "NanoCpus": options.cpus.map_or(0, |cpus| (cpus * 1e9) as u64),
            "Memory": options.memory.unwrap_or(0),
            // A limit of memory is one: swapping would be another start.
            "MemorySwap": options.memory.unwrap_or(0),
        });
        let mut body = json!({
            "Image": creation.image,
            "Env": options.env,
            "Labels": { LABEL: creation.run },
        });
        let mut endpoint = json!({});
        if self.version >= MAC_OF_ENDPOINT {
            endpoint["MacAddress"] = MAC.into();
        } else {
            body["MacAddress"] = MAC.into();
        }
        if let Some(port) = creation.port {
            let port = format!("{port}/tcp");
            body["ExposedPorts"] = json!({ &port: {} });
            host["PortBindings"] = json!({ &port: [{ "HostIp": "127.0.0.1", "HostPort": "" }] });
        }
        body["NetworkingConfig"] = json!({ "EndpointsConfig": { creation.network: endpoint } });
        body["HostConfig"] = host;
        body
    }

    pub(super) async fn start(&self, id: &str) -> Result<(), ColdstartError> {
        let path = format!("/containers/{id}/start");
        self.call("start a container", Method::POST, &path, None, LONG).await.map(drop)
    }

    pub(super) async fn container_facts(&self, id: &str) -> Result<ContainerFacts, ColdstartError> {
        self.document("inspect a container", Method::GET, &format!("/containers/{id}/json"), None, USUAL).await
    }

    /// The last lines that a container wrote.
    pub(super) async fn log_tail(&self, id: &str) -> String {
        let path = format!("/containers/{id}/logs?stdout=true&stderr=true&tail=5");
        let answer = self.call("read a log", Method::GET, &path, None, USUAL).await;
        answer.map(|answer| log(&answer.body)).unwrap_or_default()
    }

    /// Removes a container with its anonymous volumes. One that is gone is removed. Returns whether it was there.
    pub(super) async fn remove(&self, id: &str) -> Result<bool, ColdstartError> {
        let path = format!("/containers/{id}?force=true&v=true");
        match self.call("remove a container", Method::DELETE, &path, None, LONG).await {
            // It is being removed already.
            Err(ColdstartError::Refused { status: StatusCode::CONFLICT, .. }) => Ok(true),
            result => was_there(result),
        }
    }
}

/// What is gone is removed.
fn was_there(result: Result<Answer, ColdstartError>) -> Result<bool, ColdstartError> {
    match result {
        Ok(_) => Ok(true),
        Err(ColdstartError::Refused { status: StatusCode::NOT_FOUND, .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether a text can be the name of an image in a path.
pub(super) fn is_image_name(name: &str) -> bool {
    let is_usual = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'/' | b':' | b'@');
    name.len() <= 500
        && name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && name.bytes().all(is_usual)
        && !name.split('/').any(|part| part.is_empty() || part == "." || part == "..")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coldstart::fake;

    #[tokio::test]
    async fn a_socket_that_an_engine_has_left_behind_does_not_hide_another_engine() {
        let folder = tempfile::tempdir().unwrap();
        let (left, used) = (folder.path().join("left"), folder.path().join("used"));
        drop(std::os::unix::net::UnixListener::bind(&left).unwrap());
        fake::engine(&used, |_| ("200 OK", r#"{"Version":"1"}"#.to_owned()));
        let missing = folder.path().join("missing");
        assert_eq!(Engine::connect(&[missing.clone(), left.clone(), used]).await.unwrap().name, "Docker 1");
        let error = Engine::connect(&[missing, left]).await.unwrap_err().to_string();
        assert!(error.contains("refused"), "{error}");
    }

    #[test]
    fn a_name_that_would_be_another_path_is_no_image() {
        for name in ["a", "registry.example:5000/team/app:1.0", "app@sha256:0f", "3a4b"] {
            assert!(is_image_name(name), "{name}");
        }
        for name in ["", "a b", "../containers", "a/../b", "a?b", "a#b", "-a", "a%2f", "a//b"] {
            assert!(!is_image_name(name), "{name}");
        }
    }
}
