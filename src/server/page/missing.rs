//! What stands where nothing is.

use super::{Html, put};
use crate::{model::Region, status::Overview};

/// So much of what was asked for is told again.
const SHOWN: usize = 100;

pub(super) fn write(page: &mut Html, what: &str, asked: &str, overview: Option<&Overview>) {
    let asked: String = asked.chars().take(SHOWN).collect();
    put!(page; "<main id=\"main\" tabindex=\"-1\" class=\"missing\"><h1>Not found</h1><p>There is no " (what)
        " \u{201c}" (asked) "\u{201d} here. It may have been removed from the configuration.</p><p>");
    let peers: &[_] = overview.map_or(&[], |overview| &overview.peers);
    for (n, peer) in peers.iter().enumerate() {
        let region: &Region = &peer.region;
        put!(page; (if n == 0 { "The peers are " } else { ", " }) "<a href=\"/peer/" (region) "\">" (region) "</a>");
    }
    put!(page; (if peers.is_empty() { "" } else { "." }) "</p><p><a href=\"/\">To the overview</a></p></main>\n");
}
