//! The effective configuration, without its secrets.

use bytes::Bytes;
use maud::html;

use super::document::{About, page};
use crate::status::Overview;

/// `/config`
pub(crate) fn configuration(about: About<'_>, overview: &Overview) -> Bytes {
    let main = html! {
        h1 { "Configuration" }
        p.dim {
            "The running configuration with every default, without secrets, as "
            code { "regionwatch check --print" } " prints it."
        }
        div #yaml .scroll tabindex="0" role="region" aria-label="Configuration" {
            pre { code { (overview.config.to_yaml()) } }
        }
    };
    page(about, overview, "configuration", "/config", false, main)
}
