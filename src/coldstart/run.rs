//! A comparison: rounds in which every image is started once, in an order by chance, and a null image among them.

use std::{
    ops::ControlFlow,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use tokio::time::{Instant, sleep};
use tracing::warn;

use super::{
    build::Build,
    engine::{ContainerOptions, Engine, ImageFacts, is_image_name},
    error::ColdstartError,
    findings::{Finding, findings, hygiene},
    null,
    page_cache::PageCache,
    pull::{Model, Present, Pull, Unpacking, base_layers},
    readiness::Question,
    round::{Current, NotReady, Place, Start, Subject},
};
use crate::{
    bench::{End, Interrupts, Outcome, Results, Sample, Series},
    net::{Timestamp, TimestampingGuard},
};

/// The bytes of the layer by which unpacking is measured.
const BALLAST: usize = 16 << 20;

/// How long it is tried to remove what was made.
const CLEARING: Duration = Duration::from_secs(60);

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
    /// The layers of its base image, as a pull.
    pub base: Pull,
    /// What its containers got.
    pub options: ContainerOptions,
    /// The parts of it that no start needs.
    pub findings: Vec<Finding>,
    /// What is bad practice in its configuration and its Dockerfile.
    pub hygiene: Vec<String>,
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

/// Compares the images of a plan. What it makes in the engine has the label [`LABEL`](super::LABEL) and is removed at the
/// end, also after an error or a signal. Nothing else is touched.
///
/// # Errors
/// Whatever keeps it from comparing.
pub fn run(plan: &Plan, watcher: Watcher<'_>) -> Result<(Comparison, End), ColdstartError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(compare(plan, watcher));
    runtime.shutdown_background();
    result
}

async fn compare(plan: &Plan, watcher: Watcher<'_>) -> Result<(Comparison, End), ColdstartError> {
    let mut interrupts = Interrupts::new()?;
    let keeper = TimestampingGuard::hold();
    if !keeper.available() {
        warn!("the kernel provides no socket timestamps: times are measured with the clock of this process");
    }
    let engine = Engine::connect(&plan.sockets).await?;
    let id = format!("{:016x}", rand::random::<u64>());
    let mut site = Site { engine: &engine, id: &id, network: None, made: Vec::new(), current: Current::default() };
    let mut comparison = Comparison {
        results: Results {
            began: SystemTime::UNIX_EPOCH + Duration::from_nanos(Timestamp::now().unix_nanos()),
            duration: Duration::ZERO,
            source: plan.images.iter().map(|candidate| &*candidate.name).collect::<Vec<_>>().join(" "),
            series: plan.series(),
        },
        images: Vec::new(),
        floor: None,
        engine: engine.name.clone(),
        architecture: engine.architecture.clone(),
        timeout: plan.timeout,
        model: plan.model.clone(),
        page_cache: plan.page_cache,
        unpacking: Unpacking::default(),
    };
    let ended = tokio::select! {
        ended = measure(plan, &mut site, &mut comparison, watcher) => ended,
        signal = interrupts.next() => Ok(End::Signal(signal)),
    };
    tokio::select! {
        () = site.clear() => {}
        _ = interrupts.next() => warn!("containers with the label {}={id} were left behind", super::LABEL),
    }
    Ok((comparison, ended?))
}

/// What a run has made in the engine.
struct Site<'a> {
    engine: &'a Engine,
    id: &'a str,
    network: Option<String>,
    /// The images.
    made: Vec<String>,
    current: Current,
}

impl Site<'_> {
    /// Removes it.
    async fn clear(&mut self) {
        let deadline = Instant::now() + CLEARING;
        while let Err(error) = self.clear_once().await {
            if Instant::now() >= deadline {
                warn!("what has the label {}={} was left behind: {error}", super::LABEL, self.id);
                return;
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// What it takes to unpack: a layer of many bytes against one of few.
    async fn unpacking(&mut self) -> Result<Unpacking, ColdstartError> {
        let mut took = [Duration::ZERO; 2];
        for (n, bytes) in [1 << 10, BALLAST].into_iter().enumerate() {
            let name = format!("regionwatch-null:{}-{n}", self.id);
            self.made.push(name.clone());
            let layer = null::ballast(bytes);
            let began = Instant::now();
            self.engine.import(&name, self.id, layer, null::PROGRAM).await?;
            took[n] = began.elapsed();
        }
        Ok(Unpacking(took[1].saturating_sub(took[0]).as_secs_f64() / BALLAST as f64))
    }

    async fn clear_once(&mut self) -> Result<(), ColdstartError> {
        if let Some(name) = self.current.name() {
            // A container whose creation was under way may appear a little later.
            let mut removed = false;
            for _ in 0..50 {
                removed = self.engine.remove(name).await?;
                if removed {
                    break;
                }
                sleep(Duration::from_millis(100)).await;
            }
            if !removed {
                warn!("the creation of the container {name} was under way: remove it if it appears later");
            }
            self.current = Current::default();
        }
        if let Some(network) = &self.network {
            self.engine.remove_network(network).await?;
            self.network = None;
        }
        while let Some(image) = self.made.last() {
            self.engine.remove_image(image).await?;
            self.made.pop();
        }
        Ok(())
    }
}

/// What is started in each round.
struct Contender<'a> {
    /// Its name in reports.
    name: &'a str,
    /// Its name in the engine.
    image: String,
    question: Question,
    port: u16,
    options: &'a ContainerOptions,
}

async fn measure(
    plan: &Plan,
    site: &mut Site<'_>,
    comparison: &mut Comparison,
    watcher: Watcher<'_>,
) -> Result<End, ColdstartError> {
    let mut contenders = Vec::new();
    for (n, candidate) in plan.images.iter().enumerate() {
        let Candidate { name, origin, question, options } = candidate;
        let reading = Progress { done: 0, all: plan.images.len() * plan.rounds, image: name };
        if watcher(reading, &[], Duration::ZERO).is_break() {
            return Ok(End::Observer);
        }
        let (reference, order) = match origin {
            Origin::Engine(name) => (name.clone(), Vec::new()),
            Origin::Build(build) => {
                let reference = format!("regionwatch-built:{}-{n}", site.id);
                site.made.push(reference.clone());
                build.run(site.engine, &reference, site.id).await?;
                (reference, build.order())
            }
        };
        let facts = image(site.engine, &reference).await?;
        let port = port(name, &facts, question)?;
        let mut examined = examined(site.engine, candidate, &reference, facts, plan.model.present).await?;
        examined.hygiene.extend(order);
        comparison.images.push(examined);
        contenders.push(Contender { name, image: reference, question: question.clone(), port, options });
    }
    if let Some(layer) = null::layer(&site.engine.architecture) {
        let name = format!("regionwatch-null:{}", site.id);
        site.made.push(name.clone());
        site.engine.import(&name, site.id, layer, null::PROGRAM).await?;
        comparison.floor = Some(Image { name: name.clone(), layers: 1, ..Image::default() });
        let question = plan.question.of_null(null::PORT);
        let null = Contender { name: "null image", image: name, question, port: null::PORT, options: &plan.options };
        contenders.push(null);
    }
    if plan.model.present != Present::All {
        comparison.unpacking = site.unpacking().await?;
    }
    let network = format!("regionwatch-coldstart-{}", site.id);
    site.network = Some(network.clone());
    site.engine.create_network(&network, site.id).await?;
    plan.page_cache.prepare()?;
    plan.page_cache.settle().await?;
    let place = Place { engine: site.engine, run: site.id, network: &network, timeout: plan.timeout };
    let (began, all) = (Instant::now(), contenders.len() * (plan.rounds + 1));
    let mut done = 0;
    // The first round warms the engine and the page cache, and does not count.
    for round in 0..=plan.rounds {
        for n in shuffled(contenders.len()) {
            let contender = &contenders[n];
            let progress = Progress { done, all, image: contender.name };
            if watcher(progress, &comparison.results.series, began.elapsed()).is_break() {
                return Ok(End::Observer);
            }
            let Contender { image, question, port, options, .. } = contender;
            let subject = Subject { image, question, port: *port, options };
            plan.page_cache.prepare()?;
            let at = began.elapsed();
            let container = format!("regionwatch-coldstart-{}-{done}", site.id);
            let start = place.start(&subject, container, &mut site.current).await?;
            done += 1;
            if round > 0 {
                comparison.add(n, at, start);
                comparison.results.duration = began.elapsed();
            }
        }
    }
    Ok(End::Complete)
}

impl Comparison {
    /// Adds a start of the image of this number; the null image comes after the others.
    fn add(&mut self, image: usize, at: Duration, start: Result<Start, NotReady>) {
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

/// Reads what is in an image, as far as it is asked for.
async fn examined(
    engine: &Engine,
    candidate: &Candidate,
    reference: &str,
    facts: ImageFacts,
    present: Present,
) -> Result<Image, ColdstartError> {
    let mut image = Image {
        name: candidate.name.clone(),
        options: candidate.options.clone(),
        size: facts.size,
        layers: facts.root_fs.layers.map_or(0, |layers| layers.len()),
        hygiene: facts.config.as_ref().map(hygiene).unwrap_or_default(),
        ..Image::default()
    };
    if present != Present::All {
        let anatomy = engine.anatomy(reference).await?;
        let base = base_layers(&engine.history(reference).await?);
        let (all, above) = (Pull::missing(&anatomy, base, Present::None), Pull::missing(&anatomy, base, Present::Base));
        image.pull = Some(Pull::missing(&anatomy, base, present));
        image.base =
            Pull { packed: all.packed - above.packed, size: all.size - above.size, layers: all.layers - above.layers };
        image.findings = findings(&anatomy);
    }
    Ok(image)
}

async fn image(engine: &Engine, name: &str) -> Result<ImageFacts, ColdstartError> {
    let facts = if is_image_name(name) { engine.image(name).await? } else { None };
    facts.ok_or_else(|| {
        ColdstartError::Invalid(format!(
            "{name:?} is no image of {}; pull it, or name one of docker images",
            engine.name
        ))
    })
}

/// The port that is asked: that of the question, or the only one that the image exposes.
fn port(name: &str, facts: &ImageFacts, question: &Question) -> Result<u16, ColdstartError> {
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

/// The numbers up to this one, in an order by chance (Fisher and Yates).
fn shuffled(count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    for n in (1..count).rev() {
        order.swap(n, (rand::random::<u64>() % (n as u64 + 1)) as usize);
    }
    order
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

    #[test]
    fn every_round_starts_every_image_once() {
        for count in 0..6 {
            let mut order = shuffled(count);
            order.sort_unstable();
            assert_eq!(order, (0..count).collect::<Vec<_>>());
        }
        assert!((0..100).any(|_| shuffled(3) != [0, 1, 2]));
    }
}
