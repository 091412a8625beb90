//! What is compared, and what was measured of it.

use std::{ops::ControlFlow, path::PathBuf, time::Duration};

use super::{
    build::Build,
    engine::ContainerOptions,
    findings::Finding,
    page_cache::PageCache,
    pull::{Bandwidth, BaseImage, Model, Pull, Unpacking},
    readiness::Question,
    registry::Rate,
    round::{NotReady, Start},
};
use crate::bench::{Outcome, Results, Sample, Series};

/// Where an image comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The engine has it under this name.
    Engine(String),
    /// It is built.
    Build(Build),
}

/// An image that is compared.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Its name in reports.
    pub name: String,
    /// Where it comes from.
    pub origin: Origin,
    /// What makes its container ready.
    pub question: Question,
    /// What its container gets.
    pub options: ContainerOptions,
}

/// What is compared.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The sockets where an engine may be, the first one that is there counts.
    pub sockets: Vec<PathBuf>,
    /// The images.
    pub images: Vec<Candidate>,
    /// What makes the container of the null image ready, as far as it can.
    pub question: Question,
    /// How often each image is started, besides once before that does not count.
    pub rounds: usize,
    /// How long a start may take.
    pub timeout: Duration,
    /// What the container of the null image gets.
    pub options: ContainerOptions,
    /// How pulling is modelled.
    pub model: Model,
    /// The page cache at each start.
    pub page_cache: PageCache,
}

impl Plan {
    /// The series of the images, without samples.
    pub fn series(&self) -> Vec<Series> {
        let series = |candidate: &Candidate| {
            let tags = [("probe", candidate.question.kind()), ("image", &candidate.name)];
            let tags = tags.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
            Series::new(candidate.name.as_str(), tags, Some(self.timeout))
        };
        self.images.iter().map(series).collect()
    }
}

/// An image and its starts.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Image {
    /// Its name, as it was given.
    pub name: String,
    /// Its bytes on disk.
    pub size: u64,
    /// The number of its layers.
    pub layers: usize,
    /// What a node has to pull of it; `None` where that is not modelled.
    pub pull: Option<Pull>,
    /// Its base image; `None` if that is not known.
    pub base: Option<BaseImage>,
    /// What its containers got.
    pub options: ContainerOptions,
    /// The parts of it that no start needs.
    pub findings: Vec<Finding>,
    /// What is bad practice in its configuration and its Dockerfile.
    pub hygiene: Vec<String>,
    /// Why its layers could not be read, if they could not.
    pub unread: Option<String>,
    /// One of each round.
    pub starts: Vec<Result<Start, NotReady>>,
}

impl Image {
    /// The starts that became ready.
    pub fn ready(&self) -> impl Iterator<Item = &Start> {
        self.starts.iter().filter_map(|start| start.as_ref().ok())
    }
}

/// Everything that was measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// The times from creation to the first correct answer, as a run of `bench` has latencies.
    pub results: Results,
    /// The images, in the order in which they were given.
    pub images: Vec<Image>,
    /// The null image; `None` where there is none for the architecture.
    pub floor: Option<Image>,
    /// What the engine calls itself.
    pub engine: String,
    /// The architecture of its containers.
    pub architecture: String,
    /// How long a start may take.
    pub timeout: Duration,
    /// How pulling is modelled.
    pub model: Model,
    /// The page cache at each start.
    pub page_cache: PageCache,
    /// What unpacking takes on this host.
    pub unpacking: Unpacking,
    /// How fast this node pulls, or why that is unknown; `None` if it was not asked for.
    pub line: Option<Result<Rate, String>>,
    /// What ended it before its last round, if an error did.
    pub broken: Option<String>,
}

/// How far a comparison is.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// Starts that are done, and all of them.
    pub done: usize,
    /// How many there are in all.
    pub all: usize,
    /// The image that is started next.
    pub image: &'a str,
}

/// Takes the progress, and may end the run.
pub type Watcher<'a> = &'a mut (dyn FnMut(Progress<'_>, &[Series], Duration) -> ControlFlow<()> + Send);

impl Comparison {
    /// Whether containers were reached by published ports.
    pub(super) fn is_published(&self) -> bool {
        self.images.iter().any(|image| image.options.publish)
    }

    /// The bandwidth by which images are ranked; none if it or what is pulled of an image is not known.
    pub(super) fn ranking(&self) -> Option<Bandwidth> {
        self.model.ranking().filter(|_| self.images.iter().all(|image| image.pull.is_some()))
    }

    /// Adds a start of the image of this number; the null image comes after the others.
    pub(super) fn add(&mut self, image: usize, at: Duration, start: Result<Start, NotReady>) {
        let Some(series) = self.results.series.get_mut(image) else {
            self.floor.iter_mut().for_each(|floor| floor.starts.push(start.clone()));
            return;
        };
        let outcome = match &start {
            Ok(start) => Outcome::Ok(start.total),
            Err(why) => Outcome::Failed(why.reason().into()),
        };
        series.push(Sample { at, outcome });
        self.images[image].starts.push(start);
    }
}
