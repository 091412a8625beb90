//! Names of regions and targets.

use std::{fmt, sync::Arc};

/// Why a name was refused; see [`Region::new`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name has no character.
    #[error("is empty")]
    Empty,
    /// The name has more than [`MAX_NAME`] characters.
    #[error("is longer than {MAX_NAME} characters")]
    TooLong,
    /// The character cannot stand in a name.
    #[error("contains {0:?}; allowed are letters, digits, '-', '_' and '.'")]
    Character(char),
}

/// The longest region or target name, the limit of a DNS label.
pub const MAX_NAME: usize = 63;

fn checked_name(name: &str) -> Result<Arc<str>, NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if let Some(c) = name.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))) {
        return Err(NameError::Character(c));
    }
    if name.len() > MAX_NAME {
        return Err(NameError::TooLong);
    }
    Ok(Arc::from(name))
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and takes a name of 1 to [`MAX_NAME`] letters, digits, `-`, `_` or `.`, so that it
            /// needs no escaping in a label, a URL or HTML.
            ///
            /// # Errors
            /// Says which rule the name breaks.
            pub fn new(name: &str) -> Result<Self, NameError> {
                checked_name(name).map(Self)
            }

            /// The name as it stands in labels.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type! {
    /// The name of a region, such as `eu-west-1`: a vantage or a peer.
    Region
}
name_type! {
    /// The name of one independent target inside a peer region, such as `edge-a`.
    TargetName
}
