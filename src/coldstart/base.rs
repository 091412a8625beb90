//! The base image of an image: how many of its layers it was built on. Engines do not record that. The Dockerfile says it, if
//! the engine has the image that it names; otherwise the history of the image mostly does.

use super::{
    anatomy::Anatomy,
    build::Build,
    engine::{Engine, is_image_name},
    facts::HistoryStep,
    stages::Source,
};

/// How many of the layers belong to the base image, if that is known. `ids` names the layers.
pub(super) async fn known_base(
    engine: &Engine,
    build: Option<&Build>,
    ids: &[String],
    anatomy: &Anatomy,
) -> Option<usize> {
    let stated = match build.and_then(Build::source) {
        Some(Source::Scratch) => Some(0),
        Some(Source::Image(name)) => shared(engine, &name, ids).await,
        None => None,
    };
    stated.filter(|base| *base <= anatomy.layers.len()).or_else(|| told_base(anatomy))
}

/// How many layers an image has of another one, if it begins with all of that.
async fn shared(engine: &Engine, name: &str, ids: &[String]) -> Option<usize> {
    // An engine that fails here fails again where it matters.
    let other = if is_image_name(name) { engine.image(name).await.ok()? } else { None };
    let others = other?.root_fs.layers?;
    ids.starts_with(&others).then_some(others.len())
}

/// How many of the layers belong to the base image, if the history shows it. A base image usually ends with its command, and what
/// follows in the history of the image was built on it.
pub(super) fn told_base(anatomy: &Anatomy) -> Option<usize> {
    let makes_layer = |step: &&HistoryStep| !step.empty_layer;
    let count = anatomy.layers.len();
    if anatomy.history.iter().filter(makes_layer).count() != count {
        return None;
    }
    let mut above = 0;
    for step in anatomy.history.iter().rev() {
        if above > 0 && is_command(step) {
            return Some(count - above);
        }
        above += usize::from(!step.empty_layer);
    }
    None
}

/// What counts as the layers of a base image that is not known: the first one of several.
pub(super) fn guessed_base(anatomy: &Anatomy) -> usize {
    usize::from(anatomy.layers.len() > 1)
}

fn is_command(step: &HistoryStep) -> bool {
    let text = step.created_by.trim_start_matches("/bin/sh -c #(nop)").trim_start();
    step.empty_layer && (text.starts_with("CMD") || text.starts_with("ENTRYPOINT"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coldstart::{fake, layer::Layer};

    #[test]
    fn a_base_image_ends_with_its_command_and_an_empty_layer_is_one_of_its_layers() {
        // Each step, and whether it made a layer.
        let of = |steps: &[(&str, bool)]| {
            let step = |(created_by, has_layer): &(&str, bool)| HistoryStep {
                created_by: (*created_by).to_owned(),
                empty_layer: !has_layer,
            };
            let layers = steps.iter().filter(|(_, has_layer)| *has_layer).map(|_| Layer::default()).collect();
            Anatomy { layers, history: steps.iter().map(step).collect() }
        };
        let image = of(&[
            ("ADD file:1 in /", true),
            ("RUN apt-get update", true),
            ("WORKDIR /srv", true),
            ("/bin/sh -c #(nop)  CMD [\"node\"]", false),
            ("COPY . .", true),
            ("RUN npm ci", true),
            ("CMD [\"node\" \"server.js\"]", false),
        ]);
        assert_eq!(told_base(&image), Some(3));
        assert_eq!(guessed_base(&of(&[("COPY a", true)])), 0);
        let untold = of(&[("COPY a", true), ("COPY b", true), ("CMD [\"a\"]", false)]);
        assert_eq!((told_base(&untold), guessed_base(&untold)), (None, 1));
        // A history with another number of layers cannot be used.
        let other = Anatomy { layers: vec![Layer::default(); 3], ..image };
        assert_eq!(told_base(&other), None);
        assert_eq!((told_base(&Anatomy::default()), guessed_base(&Anatomy::default())), (None, 0));
    }

    #[tokio::test]
    async fn the_base_image_that_a_dockerfile_names_counts_if_the_engine_has_it_and_the_image_begins_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        fake::engine(&socket, |request| match request {
            "GET /images/base:1/json" => ("200 OK", r#"{"RootFS":{"Layers":["a","b"]}}"#.to_owned()),
            "GET /version" => ("200 OK", "{}".to_owned()),
            _ => ("404 No", "{}".to_owned()),
        });
        let engine = Engine::connect(&[socket]).await.unwrap();
        let anatomy = Anatomy { layers: vec![Layer::default(); 3], ..Anatomy::default() };
        let ids = |ids: [&str; 3]| ids.map(str::to_owned);
        let dockerfile = folder.path().join("Dockerfile");
        for (text, ids, expected) in [
            ("FROM base:1\n", ids(["a", "b", "c"]), Some(2)),
            ("FROM base:1\n", ids(["a", "x", "c"]), None),
            ("FROM gone:1\n", ids(["a", "b", "c"]), None),
            ("FROM ../base\n", ids(["a", "b", "c"]), None),
            ("FROM scratch\n", ids(["a", "b", "c"]), Some(0)),
        ] {
            std::fs::write(&dockerfile, text).unwrap();
            let mut build = Build {
                dockerfile: dockerfile.clone(),
                context: folder.path().to_owned(),
                target: None,
                arguments: Vec::new(),
                options: Vec::new(),
            };
            assert_eq!(known_base(&engine, Some(&build), &ids, &anatomy).await, expected, "{text} {ids:?}");
            build.options = vec!["--build-context=base:1=docker-image://other".to_owned()];
            assert_eq!(known_base(&engine, Some(&build), &ids, &anatomy).await, None, "{text} {ids:?}");
        }
        assert_eq!(known_base(&engine, None, &ids(["a", "b", "c"]), &anatomy).await, None);
    }
}
