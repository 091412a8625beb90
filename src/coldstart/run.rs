//! A comparison: rounds in which every image is started once, in an order by chance, and a null image among them.

use std::{
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;
use tracing::warn;

use super::{
    comparison::{Candidate, Comparison, Image, Origin, Plan, Progress, Watcher},
    engine::{ContainerOptions, Engine},
    error::ColdstartError,
    examine::{examined, image, port},
    line::line,
    null,
    pull::{Present, Unpacking},
    ranking::median,
    readiness::Question,
    registry::Reference,
    round::{NotReady, Place, Start, Subject},
    signals::Signals,
    site::Site,
};
use crate::{
    bench::{End, Results},
    net::{Timestamp, TimestampingGuard},
};

/// The bytes of the layer by which unpacking is measured.
const BALLAST: usize = 16 << 20;

/// How often it is measured; the median counts.
const UNPACKED: usize = 5;

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
    let mut signals = Signals::new()?;
    let keeper = TimestampingGuard::hold();
    if !keeper.available() {
        warn!("the kernel provides no socket timestamps: times are measured with the clock of this process");
    }
    let engine = Engine::connect(&plan.sockets).await?;
    let id = format!("{:016x}", rand::random::<u64>());
    let mut site = Site::new(&engine, &id);
    let mut comparison = Comparison {
        results: Results {
            began: SystemTime::UNIX_EPOCH + Duration::from_nanos(Timestamp::now().unix_nanos()),
            duration: Duration::ZERO,
            source: plan.images.iter().map(|candidate| &*candidate.name).collect::<Vec<_>>().join(" "),
            series: plan.series(),
            dropped: Some(0),
        },
        images: Vec::new(),
        floor: None,
        engine: engine.name.clone(),
        architecture: engine.architecture.clone(),
        timeout: plan.timeout,
        model: plan.model.clone(),
        page_cache: plan.page_cache,
        unpacking: Unpacking::default(),
        line: None,
        broken: None,
    };
    let ended = tokio::select! {
        ended = measure(plan, &mut site, &mut comparison, watcher) => ended,
        signal = signals.next() => Ok(End::Signal(signal)),
    };
    tokio::select! {
        () = site.clear() => {}
        _ = signals.next() => warn!("containers with the label {}={id} were left behind", super::LABEL),
    }
    match ended {
        Ok(end) => Ok((comparison, end)),
        // What was measured is not lost.
        Err(error) if comparison.images.iter().any(|image| !image.starts.is_empty()) => {
            comparison.broken = Some(error.to_string());
            Ok((comparison, End::Complete))
        }
        Err(error) => Err(error),
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
    // What is wrong is said before minutes of building.
    plan.page_cache.prepare()?;
    for Candidate { name, origin, question, .. } in &plan.images {
        if let Origin::Engine(reference) = origin {
            port(name, &image(site.engine, reference).await?, question)?;
        }
    }
    let (mut contenders, mut references) = (Vec::new(), Vec::new());
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
                site.build(build, &reference).await?;
                (reference, build.order())
            }
        };
        let facts = image(site.engine, &reference).await?;
        let port = port(name, &facts, question)?;
        // What was built a moment ago came from no registry, whatever name an engine gives it.
        if matches!(origin, Origin::Engine(_)) {
            let noted = facts.repo_digests.iter().flatten().find_map(|noted| Reference::parse(noted));
            references.extend(noted.map(|reference| (facts.size, reference)));
        }
        let mut examined = examined(site.engine, candidate, &reference, facts, plan.model.present).await?;
        examined.hygiene.extend(order);
        comparison.images.push(examined);
        contenders.push(Contender { name, image: reference, question: question.clone(), port, options });
    }
    if let Some(layer) = null::layer(&site.engine.architecture) {
        let name = format!("regionwatch-null-{}", site.id);
        site.import(&name, layer).await?;
        comparison.floor = Some(Image { name: name.clone(), layers: 1, ..Image::default() });
        let question = plan.question.of_null(null::PORT);
        let null = Contender { name: "null image", image: name, question, port: null::PORT, options: &plan.options };
        contenders.push(null);
    }
    if plan.model.present != Present::All {
        comparison.unpacking = unpacking(site).await?;
    }
    if comparison.model.measures() {
        let rate = line(&site.engine.connectivity().await?, &site.engine.architecture, references).await;
        comparison.model.measured(rate.as_ref().ok().map(|rate| rate.bits_per_second));
        comparison.line = Some(rate);
    }
    let network = format!("regionwatch-coldstart-{}", site.id);
    site.network(&network).await?;
    plan.page_cache.prepare()?;
    plan.page_cache.settle().await?;
    let place = Place { engine: site.engine, run: site.id, network: &network, timeout: plan.timeout };
    let (began, all) = (Instant::now(), contenders.len() * (plan.rounds + 1));
    let mut done = 0;
    let mut warming = Vec::new();
    // The first round warms the engine and the page cache, and does not count.
    for round in 0..=plan.rounds {
        let mut order = shuffled(contenders.len());
        if round == 0 {
            // The null image says first whether containers can be reached at all.
            order.sort_by_key(|n| *n < plan.images.len());
        }
        for n in order {
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
            } else if n < plan.images.len() {
                warming.push((n, at, start));
            } else {
                reached(&start, site.current.address(), plan.options.publish)?;
            }
        }
        let is_lost = |start: &Result<_, NotReady>| matches!(start, Err(why) if *why != NotReady::ClockStep);
        if round == 0 && warming.iter().all(|(.., start)| is_lost(start)) {
            // More rounds would only take longer to say the same.
            warming.drain(..).for_each(|(n, at, start)| comparison.add(n, at, start));
            comparison.results.duration = began.elapsed();
            break;
        }
    }
    Ok(End::Complete)
}

/// Whether the null image was reached, which answers wherever it can be.
fn reached(
    start: &Result<Start, NotReady>,
    address: Option<SocketAddr>,
    is_published: bool,
) -> Result<(), ColdstartError> {
    match (start, address) {
        (Err(NotReady::Unanswered(failure)), Some(address)) => {
            let advice = match is_published {
                false => "add --publish, as where the engine runs in a virtual machine or without root",
                true => "this host does not reach the ports that the engine publishes",
            };
            Err(ColdstartError::Unreachable { address, failure: *failure, advice })
        }
        _ => Ok(()),
    }
}

/// What it takes to unpack: a layer of many bytes against one of few, each time other ones, as engines keep what they know.
async fn unpacking(site: &mut Site<'_>) -> Result<Unpacking, ColdstartError> {
    let (many, few) = (null::Ballast::new(BALLAST), null::Ballast::new(0));
    let mut took = Vec::new();
    for n in 0..UNPACKED {
        let mut of = [Duration::ZERO; 2];
        for (of, ballast) in of.iter_mut().zip([&few, &many]) {
            let layer = ballast.layer(n);
            let began = Instant::now();
            site.import(&format!("regionwatch-null-{}-{n}-{}", site.id, ballast.size), layer).await?;
            *of = began.elapsed();
        }
        took.push(of[1].saturating_sub(of[0]).as_secs_f64());
    }
    Ok(Unpacking(median(&mut took) / (many.size - few.size) as f64))
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
mod tests;
