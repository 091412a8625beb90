//! What stands where nothing is.

use super::{Html, put};

pub(super) fn write(page: &mut Html, what: &str) {
    put!(page; "<main id=\"main\" tabindex=\"-1\" class=\"missing\"><h1>Not found</h1><p>There is no " (what) " here. \
        It may have left the configuration since.</p><p><a href=\"/\">To the overview</a></p></main>\n");
}
