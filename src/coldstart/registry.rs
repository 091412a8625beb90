//! The registry that an image came from, as the Distribution specification of the OCI has it: its manifest and its layers.
//! How fast layers arrive is the bandwidth of this node.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, header, response::Parts};
use http_body_util::Full;
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use super::{
    engine::is_image_name,
    meter::{Flow, Meter},
};
use crate::{
    model::{AddressFamily, HttpUrl},
    net::{
        AGENT, Attempt, BodyUse, HttpClient, HttpResponse, HttpVersion, Measured, Resolver, SocketOptions, TlsContext,
        TlsSpec,
    },
    yaml::addresses,
};

/// Where Docker Hub serves images, and what engines call it.
const DOCKER_HUB: &str = "registry-1.docker.io";
const NAMES_OF_DOCKER_HUB: [&str; 2] = ["docker.io", "index.docker.io"];

/// The manifests that are understood: of an image, and of one for several architectures.
const MANIFESTS: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json, \
                         application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json";

/// The most bytes of a document, and how long it may take.
const MOST: usize = 4 << 20;
const USUAL: Duration = Duration::from_secs(10);

/// How often a request may be sent on.
const REDIRECTS: usize = 3;

/// How long layers are fetched at most.
const FETCHING: Duration = Duration::from_secs(10);

/// An image in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    /// The host, and its port if that is not the usual one.
    pub(super) host: String,
    repository: String,
    digest: String,
}

impl Reference {
    /// Reads what an engine notes of an image that was pulled or pushed, such as `node@sha256:0123`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (name, digest) = text.split_once('@').filter(|_| is_image_name(text))?;
        let (host, repository) = match name.split_once('/') {
            // What Podman calls an image that was built here.
            Some(("localhost", _)) => return None,
            Some((host, rest)) if host.contains(['.', ':']) => (host, rest),
            _ => (NAMES_OF_DOCKER_HUB[0], name),
        };
        let (host, library) = match NAMES_OF_DOCKER_HUB.contains(&host) {
            true => (DOCKER_HUB, if repository.contains('/') { "" } else { "library/" }),
            false => (host, ""),
        };
        let repository = format!("{library}{repository}");
        Some(Self { host: host.to_owned(), repository, digest: digest.to_owned() })
    }

    /// Whether the registry is on this host. Engines speak to it without TLS, and never by a proxy.
    pub(super) fn is_local(&self) -> bool {
        let name = self.host.rsplit_once(':').map_or(&*self.host, |(name, _)| name);
        name == "localhost" || name.parse().is_ok_and(|address: std::net::Ipv4Addr| address.is_loopback())
    }

    pub(super) fn is_of_docker_hub(&self) -> bool {
        self.host == DOCKER_HUB
    }

    fn url(&self, kind: &str, digest: &str) -> String {
        let scheme = if self.is_local() { "http" } else { "https" };
        format!("{scheme}://{}/v2/{}/{kind}/{digest}", self.host, self.repository)
    }
}

/// How fast layers arrived.
#[derive(Debug, Clone, PartialEq)]
pub struct Rate {
    /// Bits in a second.
    pub bits_per_second: f64,
    /// What was fetched.
    pub bytes: u64,
    /// How long it took.
    pub duration: Duration,
    /// From where.
    pub registry: String,
}

/// Why there is no rate.
#[derive(Debug)]
pub(super) enum Unfetched {
    /// The registry has no such image for everybody. So it is for an image that was built here, to which some engines give
    /// a name in a registry.
    Absent(String),
    /// Something else.
    Failed(String),
}

impl From<String> for Unfetched {
    fn from(reason: String) -> Self {
        Self::Failed(reason)
    }
}

/// A manifest of either kind.
#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    layers: Vec<Blob>,
    #[serde(default)]
    manifests: Vec<Variant>,
}

#[derive(Deserialize)]
struct Blob {
    digest: String,
    size: u64,
}

#[derive(Deserialize)]
struct Variant {
    digest: String,
    #[serde(default)]
    platform: Platform,
}

#[derive(Default, Deserialize)]
struct Platform {
    #[serde(default)]
    architecture: String,
}

#[derive(Deserialize)]
struct Token {
    #[serde(alias = "access_token")]
    token: String,
}

/// A client of the registry of one image.
pub(super) struct Registry<'a> {
    reference: &'a Reference,
    resolver: Resolver,
    tls: TlsContext,
    token: Option<HeaderValue>,
}

impl<'a> Registry<'a> {
    pub(super) fn new(reference: &'a Reference) -> Self {
        Self { reference, resolver: Resolver::from_system(), tls: TlsContext::default(), token: None }
    }

    /// Fetches the layers of the image for this architecture as an engine does, forgets them, and returns how fast they
    /// arrived.
    pub(super) async fn rate(mut self, architecture: &str) -> Result<Rate, Unfetched> {
        let mut manifest = self.manifest(&self.reference.digest).await?;
        if manifest.layers.is_empty() {
            let variant = manifest.manifests.iter().find(|variant| variant.platform.architecture == architecture);
            let digest = variant.map(|variant| variant.digest.clone());
            manifest = self.manifest(&digest.ok_or_else(|| self.failed("has no image for this architecture"))?).await?;
        }
        let (meter, layers) = (Meter::default(), Mutex::new(VecDeque::from(manifest.layers)));
        let deadline = Instant::now() + FETCHING;
        let worker = async || {
            let next = || layers.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            while let Some(layer) = next() {
                self.layer(&layer, &meter, deadline).await?;
            }
            Ok::<_, Unfetched>(())
        };
        // Engines fetch three layers at a time by default. What is not there at the end of the time is not waited for.
        let fetching = timeout_at(deadline, async { tokio::try_join!(worker(), worker(), worker()) });
        let fetched = fetching.await;
        if let Ok(Err(reason)) = fetched
            && Instant::now() < deadline
        {
            return Err(reason);
        }
        match meter.rate() {
            (bytes, Some((bits_per_second, duration))) => {
                Ok(Rate { bits_per_second, bytes, duration, registry: self.reference.host.clone() })
            }
            (bytes, None) => Err(Unfetched::Failed(format!(
                "{:.1} MB of layers from {} are too little to know a rate",
                bytes as f64 / 1e6,
                self.reference.host
            ))),
        }
    }

    fn failed(&self, what: &str) -> String {
        format!("the registry {} {what}", self.reference.host)
    }

    async fn manifest(&mut self, digest: &str) -> Result<Manifest, Unfetched> {
        let url = self.reference.url("manifests", digest);
        let deadline = Instant::now() + USUAL;
        let mut response = self.get(&url, None, deadline).await?;
        if response.head.status == StatusCode::UNAUTHORIZED && self.token.is_none() {
            self.token = Some(self.anonymous_token(&response.head.headers, deadline).await?);
            response = self.get(&url, None, deadline).await?;
        }
        let body = self.success(response)?.body.unwrap_or_default();
        let manifest = serde_json::from_slice(&body);
        Ok(manifest.map_err(|error| self.failed(&format!("has a manifest that is broken: {error}")))?)
    }

    /// What is asked for where a registry is open to everybody (Distribution specification, token authentication).
    async fn anonymous_token(&self, headers: &HeaderMap, deadline: Instant) -> Result<HeaderValue, Unfetched> {
        let wanted = || self.wants_credentials();
        let challenge = headers.get(header::WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
        let challenge = challenge.and_then(|value| value.strip_prefix("Bearer ")).ok_or_else(wanted)?;
        let of = |key: &str| {
            let start = challenge.find(&format!("{key}=\""))? + key.len() + 2;
            challenge[start..].split('"').next()
        };
        let mut query = form_urlencoded::Serializer::new(String::new());
        for key in ["service", "scope"] {
            if let Some(value) = of(key) {
                query.append_pair(key, value);
            }
        }
        let realm = of("realm").filter(|realm| realm.starts_with("https://") || self.reference.is_local());
        let url = format!("{}?{}", realm.ok_or_else(wanted)?, query.finish());
        let response = self.get(&url, None, deadline).await?;
        if !response.head.status.is_success() {
            return Err(wanted());
        }
        let token = serde_json::from_slice::<Token>(&response.body.unwrap_or_default()).map_err(|_| wanted())?.token;
        let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| wanted())?;
        value.set_sensitive(true);
        Ok(value)
    }

    async fn layer(&self, layer: &Blob, meter: &Meter, deadline: Instant) -> Result<(), Unfetched> {
        if !is_image_name(&layer.digest) {
            return Err(self.failed("has a manifest with a digest that is none").into());
        }
        let response =
            self.get(&self.reference.url("blobs", &layer.digest), Some((meter, layer.size)), deadline).await?;
        self.success(response).map(drop)
    }

    fn wants_credentials(&self) -> Unfetched {
        Unfetched::Absent(self.failed("wants credentials, which are not read here"))
    }

    fn success(&self, response: HttpResponse) -> Result<HttpResponse, Unfetched> {
        let answers = |status: StatusCode| self.failed(&format!("answers {status}"));
        match response.head.status {
            status if status.is_success() => Ok(response),
            StatusCode::UNAUTHORIZED => Err(self.wants_credentials()),
            status @ (StatusCode::NOT_FOUND | StatusCode::FORBIDDEN) => Err(Unfetched::Absent(answers(status))),
            status => Err(answers(status).into()),
        }
    }

    /// Gets what is at a URL, or where it leads to. A body that is metered is forgotten.
    async fn get(&self, url: &str, metered: Option<(&Meter, u64)>, deadline: Instant) -> Result<HttpResponse, String> {
        let mut next = url.to_owned();
        for _ in 0..=REDIRECTS {
            let response = self.get_once(&next, metered, deadline).await?;
            if !response.head.status.is_redirection() {
                return Ok(response);
            }
            let to = response.head.headers.get(header::LOCATION).and_then(|to| to.to_str().ok()).unwrap_or_default();
            let origin = next.match_indices('/').nth(2).map_or(&*next, |(at, _)| &next[..at]);
            let to = if to.starts_with('/') { format!("{origin}{to}") } else { to.to_owned() };
            if next.starts_with("https://") && !to.starts_with("https://") {
                return Err(self.failed("leads from https to http"));
            }
            next = to;
        }
        Err(self.failed("leads from one address to another without an end"))
    }

    async fn get_once(
        &self,
        url: &str,
        metered: Option<(&Meter, u64)>,
        deadline: Instant,
    ) -> Result<HttpResponse, String> {
        let broken = |reason: String| self.failed(&format!("leads to a URL that {reason}"));
        let target: HttpUrl = addresses::url(url).map_err(broken)?;
        let version = HttpVersion::Http1;
        let client = HttpClient::new(&target, version, SocketOptions::default(), &TlsSpec::default(), &self.tls)
            .map_err(|error| self.failed(&error.to_string()))?;
        let mut request = Request::new(Full::new(Bytes::new()));
        *request.uri_mut() = client.uri().clone();
        let headers = request.headers_mut();
        headers.insert(header::USER_AGENT, HeaderValue::from_static(AGENT));
        headers.insert(header::ACCEPT, HeaderValue::from_static(if metered.is_some() { "*/*" } else { MANIFESTS }));
        // The token is for the registry alone, and not for where its layers are.
        let is_registry = url.split('/').nth(2) == Some(&*self.reference.host);
        if let Some(token) = self.token.as_ref().filter(|_| is_registry) {
            headers.insert(header::AUTHORIZATION, token.clone());
        }
        let attempt = Attempt::new(deadline);
        let resolved = self.resolver.lookup(&target.host, AddressFamily::Any);
        let mut flow = metered.map(|(meter, _)| Flow::new(meter));
        let mut count = |head: &Parts, bytes: &[u8]| match &mut flow {
            Some(flow) if head.status.is_success() => flow.add(bytes.len()),
            _ => {}
        };
        let body = match metered {
            Some((_, size)) => {
                let limit = usize::try_from(size).unwrap_or(usize::MAX);
                BodyUse { limit, keep: false, inspect: Some(&mut count) }
            }
            None => BodyUse { limit: MOST, keep: true, inspect: None },
        };
        let exchange = async {
            let server = (resolved.address(&attempt).await?, target.port).into();
            client.send(server, request, body, &mut Measured::default(), &attempt).await
        };
        let answered = timeout_at(deadline, exchange).await.unwrap_or_else(|_| Err(attempt.timeout_reason()));
        answered.map_err(|failure| self.failed(&format!("cannot be reached: {failure}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_at_the_registry_that_its_name_says() {
        for (text, url, is_local) in [
            ("node@sha256:0f", "https://registry-1.docker.io/v2/library/node/manifests/sha256:0f", false),
            ("docker.io/team/app@sha256:0f", "https://registry-1.docker.io/v2/team/app/manifests/sha256:0f", false),
            ("registry.example/a/b@sha256:0f", "https://registry.example/v2/a/b/manifests/sha256:0f", false),
            ("localhost:5000/a@sha256:0f", "http://localhost:5000/v2/a/manifests/sha256:0f", true),
            ("127.0.0.1:5000/a@sha256:0f", "http://127.0.0.1:5000/v2/a/manifests/sha256:0f", true),
        ] {
            let reference = Reference::parse(text).unwrap();
            assert_eq!(
                (&*reference.url("manifests", &reference.digest), reference.is_local()),
                (url, is_local),
                "{text}"
            );
        }
        for text in ["node", "node:20", "../a@sha256:0f", "a b@sha256:0f", "localhost/a@sha256:0f"] {
            assert_eq!(Reference::parse(text), None, "{text}");
        }
    }
}
