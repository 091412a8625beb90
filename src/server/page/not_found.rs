//! The 404 page.

use bytes::Bytes;
use maud::html;

use super::document::{About, bare};
use crate::status::Overview;

/// The name that was not found is shown up to this length, in characters.
const MAX_NAME: usize = 100;

/// Shows what kind of thing was not found, and which peers there are.
pub(crate) fn not_found(about: About<'_>, what: &str, name: &str, overview: Option<&Overview>) -> Bytes {
    let name: String = name.chars().take(MAX_NAME).collect();
    let peers: &[_] = overview.map_or(&[], |overview| &overview.peers);
    let main = html! {
        main #main .missing tabindex="-1" {
            h1 { "Not found" }
            p { "There is no " (what) " \u{201c}" (name) "\u{201d} here. It may have been removed from the configuration." }
            p {
                @for (n, peer) in peers.iter().enumerate() {
                    (if n == 0 { "Peers: " } else { ", " })
                    a href={ "/peer/" (peer.region) } { (peer.region) }
                }
            }
            p { a href="/" { "Back to the overview" } }
        }
    };
    bare(about, "not found", &main)
}
