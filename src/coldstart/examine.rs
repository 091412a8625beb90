//! What is known of an image before it is started.

use super::{
    base::{guessed_base, known_base},
    comparison::{Candidate, Image, Origin},
    engine::{Engine, is_image_name},
    error::ColdstartError,
    facts::ImageFacts,
    findings::{findings, hygiene},
    pull::{BaseImage, Present, Pull},
    readiness::Question,
};

/// Reads what is in an image, as far as it is asked for.
pub(super) async fn examined(
    engine: &Engine,
    candidate: &Candidate,
    reference: &str,
    facts: ImageFacts,
    present: Present,
) -> Result<Image, ColdstartError> {
    let ids = facts.root_fs.layers.unwrap_or_default();
    let mut image = Image {
        name: candidate.name.clone(),
        options: candidate.options.clone(),
        size: facts.size,
        layers: ids.len(),
        hygiene: facts.config.as_ref().map(hygiene).unwrap_or_default(),
        ..Image::default()
    };
    if present == Present::All {
        return Ok(image);
    }
    let anatomy = match engine.anatomy(reference).await {
        Ok(anatomy) => anatomy,
        // Its starts can be compared all the same.
        Err(error @ (ColdstartError::Engine { .. } | ColdstartError::Refused { .. })) => {
            image.unread = Some(error.to_string());
            return Ok(image);
        }
        Err(error) => return Err(error),
    };
    let build = match &candidate.origin {
        Origin::Build(build) => Some(build),
        Origin::Engine(_) => None,
    };
    let known = known_base(engine, build, &ids, &anatomy).await;
    let base = known.unwrap_or_else(|| guessed_base(&anatomy));
    image.pull = Some(Pull::missing(&anatomy, base, present));
    let from = present.layers(anatomy.layers.len(), base);
    image.base = known.map(|base| BaseImage {
        whole: Pull::of(&anatomy.layers[..base]),
        missing: Pull::of(anatomy.layers.get(from..base).unwrap_or_default()),
    });
    image.findings = findings(&anatomy, from, known.unwrap_or_default());
    Ok(image)
}

pub(super) async fn image(engine: &Engine, name: &str) -> Result<ImageFacts, ColdstartError> {
    let facts = if is_image_name(name) { engine.image(name).await? } else { None };
    facts.ok_or_else(|| {
        ColdstartError::Invalid(format!(
            "{name:?} is no image of {}; pull it, or name one of {} images",
            engine.name,
            engine.program()
        ))
    })
}

/// The port that is asked: that of the question, or the only one that the image exposes.
pub(super) fn port(name: &str, facts: &ImageFacts, question: &Question) -> Result<u16, ColdstartError> {
    if let Some(port) = question.port() {
        return Ok(port);
    }
    if !question.needs_port() {
        return Ok(0);
    }
    let exposed = facts.config.as_ref().and_then(|config| config.exposed_ports.as_ref());
    let ports: Vec<u16> =
        exposed.into_iter().flatten().filter_map(|(port, _)| port.strip_suffix("/tcp")?.parse().ok()).collect();
    match ports[..] {
        [port] => Ok(port),
        [] => Err(ColdstartError::Invalid(format!(
            "{name} exposes no port; say which one answers, such as --probe http://:8080/"
        ))),
        _ => Err(ColdstartError::Invalid(format!(
            "{name} exposes several ports ({}); say which one answers, such as --probe http://:{}/",
            ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", "),
            ports[0]
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_the_one_that_is_asked_or_the_only_one_exposed() {
        let facts = |ports: &str| -> ImageFacts {
            serde_json::from_str(&format!(r#"{{"Config":{{"ExposedPorts":{ports}}}}}"#)).unwrap()
        };
        let http = Question::http();
        assert_eq!(port("a", &facts(r#"{"80/tcp":{}}"#), &http).unwrap(), 80);
        assert_eq!(port("a", &facts(r#"{"80/tcp":{},"53/udp":{}}"#), &http).unwrap(), 80);
        let named = Question::parse("http://:81/").unwrap();
        assert_eq!(port("a", &facts("null"), &named).unwrap(), 81);
        let error = |ports| port("a", &facts(ports), &http).unwrap_err().to_string();
        assert_eq!(error("null"), "a exposes no port; say which one answers, such as --probe http://:8080/");
        assert!(error(r#"{"80/tcp":{},"443/tcp":{}}"#).contains("several ports (443, 80)"));
        assert_eq!(port("a", &facts("null"), &Question::parse("icmp://").unwrap()).unwrap(), 0);
    }
}
