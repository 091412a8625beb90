//! The status page: what the probing thread has copied, as HTML that needs no script.

mod assets;
mod chart;
mod configuration;
mod headline;
mod missing;
mod overview;
mod path;
mod peer;
mod words;

use std::time::Duration;

use bytes::Bytes;

pub(super) use self::assets::{Asset, POLICY};
use self::{headline::Headline, words::Span};
use super::html::{Html, put};
use crate::{
    model::Region,
    status::{Overview, PathView},
    window::Record,
};

/// What every page says of the program.
#[derive(Debug, Clone, Copy)]
pub(super) struct About<'a> {
    /// The vantage region.
    pub(super) region: &'a Region,
    /// The version of this program.
    pub(super) version: &'static str,
    /// For how long it has served.
    pub(super) uptime: Duration,
}

/// A page of the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Overview,
    Configuration,
    Elsewhere,
}

/// `/`
pub(super) fn overview(about: About<'_>, overview: &Overview) -> Bytes {
    let headline = Headline::of(overview);
    page(about, overview, Place::Overview, &headline, "", |page| overview::write(page, about, overview, &headline))
}

/// `/peer/REGION`; `None` where there is no such peer.
pub(super) fn peer(about: About<'_>, overview: &Overview, region: &str) -> Option<Bytes> {
    let peer = overview.peer(region)?;
    let headline = Headline::of(overview);
    Some(page(about, overview, Place::Elsewhere, &headline, region, |page| peer::write(page, about, overview, peer)))
}

/// `/path/PEER/TARGET/PROBE`, with its last probes.
pub(super) fn path(about: About<'_>, overview: &Overview, view: &PathView, records: &[Record]) -> Bytes {
    let headline = Headline::of(overview);
    let title = view.path.to_string();
    page(about, overview, Place::Elsewhere, &headline, &title, |page| path::write(page, overview, view, records))
}

/// `/config`
pub(super) fn configuration(about: About<'_>, overview: &Overview) -> Bytes {
    let headline = Headline::of(overview);
    page(about, overview, Place::Configuration, &headline, "configuration", |page| {
        configuration::write(page, overview);
    })
}

/// What stands where nothing is: what sort of thing was asked for, by which name, and what there is instead.
pub(super) fn not_found(about: About<'_>, what: &str, asked: &str, overview: Option<&Overview>) -> Bytes {
    let mut page = Html::default();
    head(&mut page, about, "not found", &Headline::none(), false);
    missing::write(&mut page, what, asked, overview);
    foot(&mut page, about, None);
    page.into_string().into()
}

fn page(
    about: About<'_>,
    overview: &Overview,
    place: Place,
    headline: &Headline,
    title: &str,
    content: impl FnOnce(&mut Html),
) -> Bytes {
    let mut page = Html::default();
    head(&mut page, about, title, headline, place != Place::Configuration);
    navigation(&mut page, about, place);
    put!(page; "<main id=\"main\" tabindex=\"-1\">\n");
    content(&mut page);
    put!(page; "</main>\n");
    foot(&mut page, about, Some(overview));
    page.into_string().into()
}

fn head(page: &mut Html, about: About<'_>, title: &str, headline: &Headline, live: bool) {
    put!(page; "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
        <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
        <meta name=\"color-scheme\" content=\"light dark\">\n<title>");
    if !headline.mark().is_empty() {
        put!(page; (headline.mark()) " \u{b7} ");
    }
    if !title.is_empty() {
        put!(page; (title) " \u{b7} ");
    }
    put!(page; (about.region) " \u{b7} regionwatch</title>\n<link rel=\"icon\" href=\"" (headline.icon().url()) "\">\n\
        <link rel=\"stylesheet\" href=\"" (Asset::Style.url()) "\">\n");
    if live {
        put!(page; "<script src=\"" (Asset::Script.url()) "\" defer></script>\n\
            <noscript><meta http-equiv=\"refresh\" content=\"5\"></noscript>\n");
    }
    put!(page; "</head>\n<body>\n<a class=\"skip\" href=\"#main\">Skip to content</a>\n");
}

fn navigation(page: &mut Html, about: About<'_>, place: Place) {
    put!(page; "<header class=\"top\"><a class=\"brand\" href=\"/\">\
        <svg viewBox=\"0 0 16 16\" aria-hidden=\"true\"><circle cx=\"8\" cy=\"8\" r=\"6.5\"/><circle cx=\"8\" cy=\"8\" \
        r=\"2.5\"/></svg>regionwatch</a>\
        <span class=\"vantage\"><span class=\"dim\">vantage</span> <b>" (about.region) "</b></span>\
        <nav aria-label=\"Pages\">");
    for (this, url, name) in [
        (Place::Overview, "/", "Overview"),
        (Place::Configuration, "/config", "Configuration"),
        (Place::Elsewhere, "/metrics", "Metrics"),
        (Place::Elsewhere, "/api/v1/regions", "Votes (JSON)"),
        (Place::Elsewhere, "/api/v1/probes", "Probes (JSON)"),
    ] {
        put!(page; "<a href=\"" (url) "\"");
        if this == place && place != Place::Elsewhere {
            put!(page; " aria-current=\"page\"");
        }
        put!(page; ">" (name) "</a>");
    }
    put!(page; "</nav><p id=\"live\" class=\"live\" role=\"status\"></p></header>\n");
}

fn foot(page: &mut Html, about: About<'_>, overview: Option<&Overview>) {
    put!(page; "<footer><span>regionwatch " (about.version) "</span><span>vantage " (about.region) "</span>\
        <span id=\"uptime\">up " (Span(about.uptime)) "</span>");
    if let Some(overview) = overview {
        put!(page; "<span id=\"made\">as of <time datetime=\"" (overview.at) "\">" (words::Clock(overview.at)) " UTC</time></span>");
    }
    put!(page; "</footer>\n</body>\n</html>\n");
}

#[cfg(test)]
mod tests;
