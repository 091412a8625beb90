//! Labels that every series and every pushed alert of an instance has besides its own.

use std::{collections::BTreeMap, fmt, sync::Arc};

/// The label that separates environments such as `prod` and `staging`.
pub const ENVIRONMENT: &str = "environment";

/// Why a text is no [`LabelName`] or [`LabelValue`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// The text has no character.
    #[error("is empty")]
    Empty,
    /// The text has more than [`MAX_LABEL`] characters.
    #[error("is longer than {MAX_LABEL} characters")]
    TooLong,
    /// The character cannot stand in it.
    #[error("contains {0:?}")]
    Character(char),
    /// A name that does not begin with a letter or `_`.
    #[error("begins with {0:?}")]
    Start(char),
}

/// The longest name and value of a constant label, in characters.
pub const MAX_LABEL: usize = 64;

/// The name of a constant label, as Prometheus allows it: letters, digits and `_`, without a digit at the start.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LabelName(Arc<str>);

impl LabelName {
    /// Checks and takes a name.
    ///
    /// # Errors
    /// Says which rule the name breaks.
    pub fn new(name: &str) -> Result<Self, LabelError> {
        if let Some(c) = name.chars().find(|c| !(c.is_ascii_alphanumeric() || *c == '_')) {
            return Err(LabelError::Character(c));
        }
        match name.chars().next() {
            None => Err(LabelError::Empty),
            Some(c) if c.is_ascii_digit() => Err(LabelError::Start(c)),
            Some(_) if name.len() > MAX_LABEL => Err(LabelError::TooLong),
            Some(_) => Ok(Self(Arc::from(name))),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LabelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The value of a constant label: 1 to [`MAX_LABEL`] characters, none of them a control character.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LabelValue(Arc<str>);

impl LabelValue {
    /// Checks and takes a value.
    ///
    /// # Errors
    /// Says which rule the value breaks.
    pub fn new(value: &str) -> Result<Self, LabelError> {
        if value.is_empty() {
            return Err(LabelError::Empty);
        }
        if value.chars().count() > MAX_LABEL {
            return Err(LabelError::TooLong);
        }
        match value.chars().find(|c| c.is_control()) {
            Some(c) => Err(LabelError::Character(c)),
            None => Ok(Self(Arc::from(value))),
        }
    }

    /// The value.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LabelValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The constant labels of an instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConstantLabels {
    /// The environment, if it has a name; an alert or a vote of another one does not count here.
    pub environment: Option<LabelValue>,
    /// Labels without a meaning here.
    pub others: BTreeMap<LabelName, LabelValue>,
}

impl ConstantLabels {
    /// Each label with its name, [`ENVIRONMENT`] first.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let environment = self.environment.iter().map(|value| (ENVIRONMENT, value.as_str()));
        environment.chain(self.others.iter().map(|(name, value)| (name.as_str(), value.as_str())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_name_is_one_that_prometheus_allows() {
        for name in ["a", "_a", "team_2", &"x".repeat(MAX_LABEL)] {
            assert!(LabelName::new(name).is_ok(), "{name}");
        }
        for name in ["", "2a", "a-b", "a.b", "a b", "\u{e9}", "a:b", &"x".repeat(MAX_LABEL + 1)] {
            assert!(LabelName::new(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_label_value_is_a_short_text_on_one_line() {
        for value in ["prod", "Prod EU", "\"\\", "\u{e9}".repeat(MAX_LABEL).as_str()] {
            assert_eq!(LabelValue::new(value).map(|value| value.to_string()).as_deref(), Ok(value));
        }
        for value in ["", "a\nb", "\0", &"\u{e9}".repeat(MAX_LABEL + 1)] {
            assert!(LabelValue::new(value).is_err(), "{value:?}");
        }
    }
}
