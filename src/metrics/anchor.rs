//! The series of one anchor.

use super::{
    samples::{InstanceLabels, Series},
    value::Gauge,
};

/// Whether one anchor answers.
#[derive(Debug)]
pub struct AnchorSeries {
    labels: Box<str>,
    pub(super) success: Gauge,
}

impl Series for AnchorSeries {
    fn labels(&self) -> &str {
        &self.labels
    }
}

impl AnchorSeries {
    /// The series of an anchor that was not probed yet; `name` is as configured, a URL without secrets.
    pub(super) fn new(instance: &InstanceLabels, name: &str) -> Self {
        let labels = format!("{instance},anchor=\"{name}\"").into();
        Self { labels, success: Gauge::default() }
    }

    /// Sets whether it answers; `None` if it never did.
    pub fn set_success(&self, answers: Option<bool>) {
        self.success.set(f64::from(u8::from(answers == Some(true))));
    }
}
