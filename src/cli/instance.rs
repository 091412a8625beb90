//! The client of running instances, for the commands that show what they know.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use clap::Args;
use http::{HeaderMap, Method, StatusCode};
use serde_json::Value;

use crate::{
    model::HttpUrl,
    net::{ApiClient, Resolver, TlsContext, TlsSpec},
    yaml::{addresses, file},
};

/// How long an answer is waited for.
const LIMIT: Duration = Duration::from_secs(5);

/// The most bytes of an answer that are read.
const MAX_ANSWER: usize = 16 << 20;

/// Where an instance that runs with the default settings on this host is reached.
pub(super) const LOCAL: &str = "http://127.0.0.1:9877";

/// A running instance.
#[derive(Debug, Clone, Args)]
pub(super) struct InstanceArgs {
    /// URL of a running instance.
    #[arg(value_name = "URL", default_value = LOCAL)]
    pub(super) url: String,
}

/// A client of one instance.
pub(super) struct Instance {
    pub(super) url: String,
    client: ApiClient,
    /// Looks the name of its host up.
    _resolver: Resolver,
}

impl Instance {
    /// A client of the instance with this URL; without a scheme, it is of `http`.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let url = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let parsed: HttpUrl = addresses::url(&url).map_err(|error| format!("{text}: {error}"))?;
        let tls = Arc::<TlsContext>::default();
        if parsed.https {
            let reading = Arc::clone(&tls);
            file::in_time(move || reading.read_public_roots())?.map_err(|error| format!("{text}: {error}"))?;
        }
        let resolver = Resolver::from_system();
        let client = ApiClient::new(&resolver, &parsed, HeaderMap::new(), &TlsSpec::default(), &tls);
        Ok(Self { client: client.map_err(|error| format!("{text}: {error}"))?, url, _resolver: resolver })
    }

    /// The JSON document at this path.
    ///
    /// # Errors
    /// Why there is none, with the URL.
    pub(super) async fn get(&self, path: &str) -> Result<Value, String> {
        let answer = self.client.request(Method::GET, path, Bytes::new(), LIMIT, MAX_ANSWER).await;
        let answer = answer.map_err(|failure| format!("{}: {failure}; is an instance running there?", self.url))?;
        if answer.status != StatusCode::OK {
            let text = String::from_utf8_lossy(&answer.body[..answer.body.len().min(300)]).trim().to_owned();
            return Err(format!("{}{path}: status {}: {text}", self.url.trim_end_matches('/'), answer.status));
        }
        serde_json::from_slice(&answer.body)
            .map_err(|_| format!("{}{path}: the answer is not JSON", self.url.trim_end_matches('/')))
    }
}
