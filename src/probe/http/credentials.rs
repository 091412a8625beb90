//! Credentials in a file, which is read again: tokens are renewed behind the same name.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use data_encoding::BASE64;
use http::{HeaderMap, HeaderValue, header};
use tokio::{task::spawn_blocking, time::Instant};
use tracing::{debug, warn};

use crate::yaml::{Secret, secrets};

/// How often the file is read. Tokens of Kubernetes are renewed minutes before they expire.
const INTERVAL: Duration = Duration::from_secs(30);

/// A file that holds a token, or the password of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialsFile {
    path: PathBuf,
    user: Option<Secret>,
}

impl CredentialsFile {
    /// A file with a bearer token (RFC 6750).
    pub(super) const fn token(path: PathBuf) -> Self {
        Self { path, user: None }
    }

    /// A file with the password of this user (RFC 7617).
    pub(super) fn password(path: PathBuf, user: &str) -> Self {
        Self { path, user: Some(Secret::new(user.as_bytes())) }
    }

    /// What is sent; `None` if a header cannot carry it.
    fn value(&self, secret: &str) -> Option<HeaderValue> {
        let text = match &self.user {
            Some(user) => {
                let pair = [user.as_bytes(), b":", secret.as_bytes()].concat();
                format!("Basic {}", BASE64.encode(&pair))
            }
            None => format!("Bearer {secret}"),
        };
        let mut value = HeaderValue::from_str(&text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    fn read(&self) -> Result<HeaderValue, String> {
        let secret = secrets::read_line(&self.path)?;
        self.value(&secret).ok_or_else(|| "has a character that no header may have".to_owned())
    }
}

/// The credentials of a prober, as they are now. Without a file they are those of its header fields.
#[derive(Debug)]
pub(crate) struct Authorization {
    file: Option<CredentialsFile>,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    /// What the file held when it was last read; none before the first time.
    value: Mutex<Option<HeaderValue>>,
    read_at: Mutex<Instant>,
    is_reading: AtomicBool,
    has_warned: AtomicBool,
}

impl Authorization {
    /// The file was just read for the header fields.
    pub(crate) fn new(file: Option<CredentialsFile>) -> Self {
        let state = State {
            value: Mutex::default(),
            read_at: Mutex::new(Instant::now()),
            is_reading: AtomicBool::default(),
            has_warned: AtomicBool::default(),
        };
        Self { file, state: Arc::new(state) }
    }

    /// Puts what the file held last into the fields of a request, and reads the file again when it is time.
    pub(crate) fn apply(&self, headers: &mut HeaderMap) {
        let Some(file) = &self.file else { return };
        if self.state.read_at().elapsed() >= INTERVAL {
            self.read_again(file);
        }
        if let Some(value) = &*self.state.value() {
            headers.insert(header::AUTHORIZATION, value.clone());
        }
    }

    /// Reads the file at once, because what it held before was refused.
    pub(crate) fn refused(&self) {
        if let Some(file) = &self.file {
            self.read_again(file);
        }
    }

    /// On another thread: a file system may not answer.
    fn read_again(&self, file: &CredentialsFile) {
        if self.state.is_reading.swap(true, Ordering::Relaxed) {
            return;
        }
        *self.state.read_at() = Instant::now();
        let (file, state) = (file.clone(), Arc::clone(&self.state));
        spawn_blocking(move || {
            let path = file.path.display();
            match file.read() {
                Ok(value) => {
                    debug!("the credentials in {path} were read again");
                    *state.value() = Some(value);
                    state.has_warned.store(false, Ordering::Relaxed);
                }
                Err(_) if state.has_warned.swap(true, Ordering::Relaxed) => {}
                Err(reason) => warn!("the file of credentials {path} {reason}; those from before are sent"),
            }
            state.is_reading.store(false, Ordering::Relaxed);
        });
    }
}

impl State {
    fn value(&self) -> MutexGuard<'_, Option<HeaderValue>> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read_at(&self) -> MutexGuard<'_, Instant> {
        self.read_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is sent once the file was read again.
    async fn sent(authorization: &Authorization) -> Option<String> {
        let mut headers = HeaderMap::new();
        authorization.apply(&mut headers);
        while authorization.state.is_reading.load(Ordering::Relaxed) {
            tokio::task::yield_now().await;
        }
        authorization.apply(&mut headers);
        Some(headers.get(header::AUTHORIZATION)?.to_str().unwrap().to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_is_read_again_after_a_while_and_once_what_it_held_was_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "one\n").unwrap();
        let token = Authorization::new(Some(CredentialsFile::token(path.clone())));
        assert_eq!(sent(&token).await, None, "the header fields have it");
        tokio::time::advance(INTERVAL).await;
        assert_eq!(sent(&token).await.as_deref(), Some("Bearer one"));
        std::fs::write(&path, "two").unwrap();
        assert_eq!(sent(&token).await.as_deref(), Some("Bearer one"));
        token.refused();
        assert_eq!(sent(&token).await.as_deref(), Some("Bearer two"));
        // What cannot be read or sent leaves what was known.
        std::fs::write(&path, "a\u{7}b").unwrap();
        tokio::time::advance(INTERVAL).await;
        assert_eq!(sent(&token).await.as_deref(), Some("Bearer two"));
        std::fs::remove_file(&path).unwrap();
        tokio::time::advance(INTERVAL).await;
        assert_eq!(sent(&token).await.as_deref(), Some("Bearer two"));

        std::fs::write(&path, "pass:word").unwrap();
        let password = Authorization::new(Some(CredentialsFile::password(path, "user")));
        password.refused();
        assert_eq!(sent(&password).await.as_deref(), Some("Basic dXNlcjpwYXNzOndvcmQ="));
        let debug = format!("{password:?}");
        assert!(!debug.contains("dXNl") && !debug.contains("word"), "{debug}");
    }
}
