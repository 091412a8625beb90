//! The decision about one peer: rules, evidence, votes, and what would change it.

use bytes::Bytes;
use maud::{Markup, html};

use super::{
    document::{About, page},
    parts,
};
use crate::status::{Explained, Overview, Section, Severity};

/// `/explain?region=REGION`
pub(crate) fn explain(about: About<'_>, overview: &Overview, explained: &Explained) -> Bytes {
    let Explained { region, state, since, reason, why, sections } = explained;
    let main = html! {
        nav.crumbs aria-label="Breadcrumbs" {
            a href="/" { "Overview" } " / " (parts::peer_link(region)) " / explanation"
        }
        section class={ "banner l-" (Severity::from(*state).as_str()) } data-peer=(region) data-state=(state) {
            div {
                h1 { "Why " (region) " is " (state) " " span.dim { "as seen from " (about.region) } }
                p.sentence { (parts::state(*state)) " since " (parts::time(*since)) " UTC: " span data-reason=(reason) { (why) } }
            }
            (parts::as_of(overview.at))
        }
        div.cards { @for section in sections { (part(section)) } }
    };
    page(about, overview, &format!("why {region}"), "", true, main)
}

fn part(Section { title, lines }: &Section) -> Markup {
    let id = title.to_lowercase().replace(' ', "-");
    parts::card(&id, &html! { (title) }, &html! { ul.lines { @for line in lines { li { (line) } } } })
}
