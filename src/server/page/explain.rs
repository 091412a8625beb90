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
                p.sentence { (parts::state(*state)) " since " (parts::time(*since, overview.at)) " UTC: " span data-reason=(reason) { (why) } }
            }
            (parts::as_of(overview.at))
        }
        div.cards {
            @for column in columns(sections) { div.stack { @for section in column { (part(section)) } } }
        }
    };
    page(about, overview, &format!("why {region}"), "", true, main)
}

/// The sections in two columns that are about as high: each goes below the shorter one.
fn columns(sections: &[Section]) -> [Vec<&Section>; 2] {
    /// What a line takes beside its text, in characters.
    const LINE: usize = 60;
    let (mut columns, mut heights) = ([Vec::new(), Vec::new()], [0, 0]);
    for section in sections {
        let shorter = usize::from(heights[1] < heights[0]);
        columns[shorter].push(section);
        heights[shorter] += section.lines.iter().map(|line| LINE + line.len()).sum::<usize>();
    }
    columns
}

fn part(Section { title, lines }: &Section) -> Markup {
    let id = title.to_lowercase().replace(' ', "-");
    parts::card(&id, &html! { (title) }, &html! { ul.lines { @for line in lines { li { (line) } } } })
}
