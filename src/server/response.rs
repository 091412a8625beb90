//! Responses and their headers.

use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, VARY},
};
use tokio::sync::Semaphore;

use super::{
    body::{Body, Content},
    encoding::wants_gzip,
};

pub(super) const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
pub(super) const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub(super) const EXPOSITION: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// Why a request is not answered with what it asks for.
#[derive(Debug)]
pub(super) enum Rejection {
    /// The request is malformed: a message for the client.
    BadRequest(String),
    /// The engine is busy, or too many requests are in flight.
    Unavailable(&'static str),
}

impl Rejection {
    /// The engine has not answered in time.
    pub(super) const TIMED_OUT: Self = Self::Unavailable("the engine did not answer in time");

    pub(super) fn response(self) -> Response<Body> {
        match self {
            Self::BadRequest(message) => {
                tracing::debug!(message, "bad request");
                text(StatusCode::BAD_REQUEST, message + "\n")
            }
            Self::Unavailable(message) => {
                let mut response = text(StatusCode::SERVICE_UNAVAILABLE, format!("{message}\n"));
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
                response
            }
        }
    }
}

/// A short text.
pub(super) fn text(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Response<Body> {
    let message = match message.into() {
        Cow::Borrowed(message) => Bytes::from_static(message.as_bytes()),
        Cow::Owned(message) => message.into(),
    };
    short(status, TEXT, message)
}

/// A short response, never compressed.
pub(super) fn short(status: StatusCode, content_type: HeaderValue, content: Bytes) -> Response<Body> {
    let length = HeaderValue::from(content.len());
    let mut response = response(status, content_type, Body::new(Content::Text(content)));
    // Set here because the response to a HEAD request has no body that hyper could measure.
    response.headers_mut().insert(CONTENT_LENGTH, length);
    response
}

fn response(status: StatusCode, content_type: HeaderValue, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// The gzip encoders that may run at the same time.
pub(super) struct Encoders(Arc<Semaphore>);

impl Encoders {
    pub(super) fn new(count: usize) -> Self {
        Self(Arc::new(Semaphore::new(count)))
    }

    /// A long response, in gzip if the client accepts it and an encoder is free.
    pub(super) fn respond(&self, content_type: HeaderValue, body: Body, headers: &HeaderMap) -> Response<Body> {
        // An encoder takes some 300 KiB, so that a crowd of stalled clients gets plain text instead.
        let permit = wants_gzip(headers).then(|| Arc::clone(&self.0).try_acquire_owned().ok()).flatten();
        let gzip = permit.is_some();
        let body = match permit {
            Some(permit) => body.gzip(permit),
            None => body,
        };
        let mut response = response(StatusCode::OK, content_type, body);
        response.headers_mut().insert(VARY, HeaderValue::from_static("Accept-Encoding"));
        if gzip {
            response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }
}
