//! Who logs in, and with what.

use std::sync::{Arc, Mutex, PoisonError};

use super::scram::{Challenge, Salted};
use crate::yaml::Secret;

/// What a login consists of.
#[derive(Debug)]
pub(super) struct Credentials<'a> {
    pub(super) user: &'a str,
    pub(super) database: &'a str,
    pub(super) password: Option<Arc<Passphrase>>,
    /// Whether the password may be sent as it is.
    pub(super) cleartext: bool,
}

/// A password, and the last thing that was derived from it.
#[derive(Debug)]
pub(crate) struct Passphrase {
    secret: Secret,
    salted: Mutex<Option<Arc<Salted>>>,
}

impl std::fmt::Debug for Salted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Salted").finish_non_exhaustive()
    }
}

impl From<Secret> for Passphrase {
    fn from(secret: Secret) -> Self {
        Self { secret, salted: Mutex::default() }
    }
}

impl Passphrase {
    /// The password as it is.
    pub(super) fn cleartext(&self) -> &[u8] {
        self.secret.as_bytes()
    }

    /// What stands for it by the method `md5`: a hash of the salt, and of a hash with the user.
    pub(super) fn md5(&self, user: &str, salt: [u8; 4]) -> String {
        let inner = format!("{:x}", md5::compute([self.secret.as_bytes(), user.as_bytes()].concat()));
        format!("md5{:x}", md5::compute([inner.as_bytes(), &salt].concat()))
    }

    /// What stands for it in SCRAM. A server has one salt for each role, so it is derived once.
    pub(super) async fn salted(&self, challenge: &Challenge) -> Arc<Salted> {
        let kept = || self.salted.lock().unwrap_or_else(PoisonError::into_inner);
        let known = kept().clone();
        if let Some(salted) = known.filter(|salted| salted.fits(challenge)) {
            return salted;
        }
        let salted = Arc::new(Salted::derive(self.secret.as_bytes(), challenge).await);
        *kept() = Some(Arc::clone(&salted));
        salted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn md5_is_what_postgresql_computes() {
        // SELECT 'md5' || md5(md5('secret' || 'alice') || 'abcd')
        let password = Passphrase::from(Secret::new(*b"secret"));
        assert_eq!(password.md5("alice", *b"abcd"), "md5c90bcafc0a2b54511742383e34d5dc9d");
    }

    #[test]
    fn no_password_is_debugged() {
        let password = Passphrase::from(Secret::new(*b"hunter2"));
        assert!(!format!("{password:?}").contains("hunter2"));
    }
}
