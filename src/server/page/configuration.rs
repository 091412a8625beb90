//! The effective configuration, without its secrets.

use super::{Html, put};
use crate::status::Overview;

pub(super) fn write(page: &mut Html, overview: &Overview) {
    put!(page; "<h1>Configuration</h1><p class=\"dim\">The running configuration with every default, without \
        secrets, as <code>regionwatch check --print</code> prints it.</p>\
        <div class=\"scroll\" id=\"yaml\" tabindex=\"0\" role=\"region\" aria-label=\"Configuration\"><pre><code>");
    put!(page; (overview.config.to_yaml()) "</code></pre></div>\n");
}
