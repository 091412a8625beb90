//! Who may command the vantages of an environment.

use super::{command::Command, key::PublicKey};

/// The operators, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Operators {
    /// The environment that their commands must be for; may be empty.
    pub environment: String,
    /// The name and the key of each.
    pub keys: Vec<(String, PublicKey)>,
}

impl Operators {
    /// The command in the value of a header field, if one of them signed it for this environment.
    ///
    /// # Errors
    /// Why it is not accepted.
    pub fn verify(&self, value: &[u8]) -> Result<Command, &'static str> {
        if self.keys.is_empty() {
            return Err("no operators are configured here");
        }
        let key_of = |name: &str| self.keys.iter().find(|(known, _)| known == name).map(|(_, key)| *key);
        let command = Command::verify(value, key_of)?;
        if command.environment == self.environment { Ok(command) } else { Err("it is for another environment") }
    }
}
