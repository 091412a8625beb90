//! What carries a request to an Alertmanager.

use std::time::Duration;

use bytes::Bytes;
use http::Method;

use crate::{
    model::Failure,
    net::{ApiClient, ApiResponse},
};

/// How long one request may take.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(1);

/// A client of one Alertmanager; a trait, so that tests can plan the answers.
pub(super) trait Transport: Send + Sync + 'static {
    /// Sends a request and reads at most `max_body` bytes of the answer, within [`REQUEST_TIMEOUT`].
    fn request(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        max_body: usize,
    ) -> impl Future<Output = Result<ApiResponse, Failure>> + Send;

    /// Returns when the Alertmanager closes the connection between requests.
    fn disconnected(&self) -> impl Future<Output = ()> + Send;
}

impl Transport for ApiClient {
    async fn request(&self, method: Method, path: &str, body: Bytes, max_body: usize) -> Result<ApiResponse, Failure> {
        Self::request(self, method, path, body, REQUEST_TIMEOUT, max_body).await
    }

    async fn disconnected(&self) {
        Self::disconnected(self).await;
    }
}
