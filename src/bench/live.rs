//! A live run: the schedule and the probes of the sidecar, without its votes, server or alerts.

use std::{
    io,
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep, sleep_until},
};
use tracing::warn;

use super::{
    Outcome, Results, Sample, Series,
    plan::{Plan, Planned},
};
use crate::{
    app::{RunError, prober},
    model::{Host, Path, PathId},
    net::{Resolver, Timestamp, TimestampingGuard, TlsContext, raise_descriptor_limit, tune_allocator},
    schedule::{Command, Event, Launcher, OverdueAfter, Schedule, SlotPhase, SlotTimer},
};

/// Events that may wait to be taken.
const EVENTS: usize = 4096;

/// Events that are taken at once.
const BATCH: usize = 256;

/// How long names are resolved before the run begins. A name that has no address by then fails its probes.
const RESOLVING: Duration = Duration::from_secs(3);

/// How often progress is shown. Also without an observer: tokio wakes itself by a system call for each timer that is earlier
/// than all others, as the deadline of each probe would be if nothing else was due.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It is complete.
    Complete,
    /// Its observer ended it.
    Observer,
    /// By this signal.
    Signal(i32),
}

/// How far a run is.
#[derive(Debug)]
pub struct Progress<'a> {
    /// How much of it is over, 0 to 1.
    pub done: f64,
    /// Since its beginning.
    pub elapsed: Duration,
    /// What was measured until now.
    pub series: &'a [Series],
}

/// Takes the progress of a run, a few times per second, and may end it.
pub type Observer = Box<dyn FnMut(&Progress<'_>) -> ControlFlow<()> + Send>;

/// Measures until the plan is done, or until SIGINT or SIGTERM. Probes that are in flight at the end are waited for: those
/// that take longest must not be missing. A second signal ends that too.
///
/// # Errors
/// Whatever keeps it from starting.
pub fn run(plan: &Plan, observer: Option<Observer>) -> Result<(Results, End), RunError> {
    tune_allocator();
    let limit = raise_descriptor_limit()?;
    let needed: u64 = plan.paths.iter().map(|planned| planned.probe.descriptors()).sum();
    if needed > limit {
        warn!(
            "this run may need {needed} open files, and {limit} are allowed; raise the limit (ulimit -n), or probe less often"
        );
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // As a task, because waking the future that the runtime blocks on costs a system call each time.
    let result = runtime.block_on(async {
        let measuring = tokio::spawn(measure(plan.clone(), observer));
        measuring.await.unwrap_or(Err(RunError::Ended("benchmark")))
    });
    runtime.shutdown_background();
    result
}

async fn measure(plan: Plan, observer: Option<Observer>) -> Result<(Results, End), RunError> {
    let mut interrupts = Interrupts::new()?;
    let keeper = TimestampingGuard::hold();
    if !keeper.available() {
        warn!("the kernel provides no socket timestamps: latencies are measured with the clock of this process");
    }
    let resolver = Resolver::from_system();
    let (events, happened) = mpsc::channel(EVENTS);
    let (commands, commanded) = mpsc::unbounded_channel();
    let (launchers, launched) = launchers(&plan, &resolver, &events)?;
    resolver.used_by(plan.paths.iter().map(|planned| (&planned.probe.host, planned.path.peer.clone())));
    tokio::select! {
        () = resolved(&plan, &resolver) => {}
        signal = interrupts.next() => return Ok((Run::new(plan, launched, None).results(), End::Signal(signal))),
    }
    tokio::spawn(Schedule::default().run(SlotTimer::new(), commanded, events));
    let mut run = Run::new(plan, launched, observer);
    for command in run.starts(launchers) {
        let _ = commands.send(command);
    }
    let end = run.until_done(&commands, happened, &mut interrupts).await;
    Ok((run.results(), end))
}

/// Makes what launches the probes of each path, and counts them. Nothing is sent yet.
fn launchers(
    plan: &Plan,
    resolver: &Resolver,
    events: &mpsc::Sender<Event>,
) -> Result<(Vec<Launcher>, Vec<Arc<AtomicU64>>), RunError> {
    let tls = TlsContext::default();
    let most = plan.samples.unwrap_or(u64::MAX);
    let mut made = (Vec::new(), Vec::new());
    for Planned { path, probe } in &plan.paths {
        let launch = prober(probe, resolver, &tls, events.clone(), None)
            .map_err(|source| RunError::Probe { path: path.clone(), source })?;
        let launched = Arc::new(AtomicU64::new(0));
        made.1.push(Arc::clone(&launched));
        // Only the schedule's task launches.
        made.0.push(Box::new(move |slot| {
            if launched.load(Ordering::Relaxed) < most {
                launched.fetch_add(1, Ordering::Relaxed);
                launch(slot);
            }
        }) as Launcher);
    }
    Ok(made)
}

/// Waits for the addresses of all names, so that the first probes do not wait for them.
async fn resolved(plan: &Plan, resolver: &Resolver) {
    let until = Instant::now() + RESOLVING;
    let names = plan.paths.iter().map(|planned| &planned.probe.host).filter(|host| matches!(host, Host::Name(_)));
    for host in names {
        while resolver.known(host).is_empty() && Instant::now() < until {
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// SIGINT and SIGTERM.
pub(crate) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    /// Listens from now on.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// The next signal.
    pub(crate) async fn next(&mut self) -> i32 {
        tokio::select! {
            _ = self.interrupt.recv() => SignalKind::interrupt().as_raw_value(),
            _ = self.terminate.recv() => SignalKind::terminate().as_raw_value(),
        }
    }
}

struct Run {
    plan: Plan,
    began: Instant,
    began_at: SystemTime,
    /// How long probes were started for; set when that is over.
    duration: Option<Duration>,
    series: Vec<Series>,
    launched: Vec<Arc<AtomicU64>>,
    /// How many of the launched probes of each path have ended.
    ended: Vec<u64>,
    observer: Option<Observer>,
}

impl Run {
    fn new(plan: Plan, launched: Vec<Arc<AtomicU64>>, observer: Option<Observer>) -> Self {
        let series = plan.series();
        let ended = vec![0; series.len()];
        let wall = Duration::from_nanos(Timestamp::now().unix_nanos());
        let (began, began_at) = (Instant::now(), SystemTime::UNIX_EPOCH + wall);
        Self { plan, began, began_at, duration: None, series, launched, ended, observer }
    }

    /// What starts all paths. The probes of a target start together, as those of the sidecar.
    fn starts(&self, launchers: Vec<Launcher>) -> Vec<Command> {
        let mut phase = SlotPhase::random();
        let mut last: Option<&Path> = None;
        let mut starts = Vec::new();
        for ((n, planned), launcher) in (0..).zip(&self.plan.paths).zip(launchers) {
            let path = &planned.path;
            if last.replace(path).is_some_and(|last| (&last.peer, &last.target) != (&path.peer, &path.target)) {
                phase = phase.next();
            }
            let (cadence, overdue_after) = (planned.probe.cadence, OverdueAfter::default());
            starts.push(Command::Start { path: PathId(n), cadence, phase, overdue_after, launcher });
        }
        starts
    }

    async fn until_done(
        &mut self,
        commands: &mpsc::UnboundedSender<Command>,
        mut happened: mpsc::Receiver<Event>,
        interrupts: &mut Interrupts,
    ) -> End {
        let mut end = End::Complete;
        let mut batch = Vec::with_capacity(BATCH);
        let mut shown = interval(PROGRESS_EVERY);
        shown.set_missed_tick_behavior(MissedTickBehavior::Skip);
        // A deadline is extended by the time in which this process was not scheduled, at most to twice as long.
        let longest = self.plan.paths.iter().map(|planned| planned.probe.cadence.timeout()).max().unwrap_or_default();
        let mut until = self.plan.duration.map(|duration| self.began + duration);
        loop {
            if self.duration.is_none() && self.all_launched() {
                until = Some(self.stop(commands) + longest * 2);
            }
            if self.duration.is_some() && self.in_flight() == 0 {
                return end;
            }
            tokio::select! {
                _ = happened.recv_many(&mut batch, BATCH) => batch.drain(..).for_each(|event| self.take(&event)),
                signal = interrupts.next() => {
                    end = End::Signal(signal);
                    if self.duration.is_some() {
                        return end;
                    }
                    until = Some(self.stop(commands) + longest * 2);
                }
                () = sleep_until(until.unwrap_or(self.began)), if until.is_some() => {
                    if self.duration.is_some() {
                        return end;
                    }
                    until = Some(self.stop(commands) + longest * 2);
                }
                _ = shown.tick(), if self.duration.is_none() => {
                    if self.show().is_break() {
                        end = End::Observer;
                        until = Some(self.stop(commands) + longest * 2);
                    }
                }
            }
        }
    }

    /// Starts no further probe. Returns now.
    fn stop(&mut self, commands: &mpsc::UnboundedSender<Command>) -> Instant {
        let now = Instant::now();
        self.duration = Some(now - self.began);
        for (n, _) in (0..).zip(&self.series) {
            let _ = commands.send(Command::Stop(PathId(n)));
        }
        now
    }

    fn all_launched(&self) -> bool {
        let Some(most) = self.plan.samples else { return false };
        let launched = self.launched.iter().zip(&self.series);
        // A missed slot is made up for by a later one. A host that misses most of them must still come to an end.
        launched.into_iter().all(|(launched, series)| {
            let launched = launched.load(Ordering::Relaxed);
            launched >= most || launched.saturating_add(series.missed) >= most.saturating_mul(2)
        })
    }

    fn in_flight(&self) -> u64 {
        self.launched.iter().zip(&self.ended).map(|(launched, ended)| launched.load(Ordering::Relaxed) - ended).sum()
    }

    fn take(&mut self, event: &Event) {
        match *event {
            Event::Sampled { sample, failed, .. } => {
                let path = sample.path.0 as usize;
                self.ended[path] += 1;
                let at = sample.sent_at.saturating_duration_since(self.began);
                match sample.outcome {
                    Ok(timings) => self.series[path]
                        .push_phases(Sample { at, outcome: Outcome::Ok(timings.total) }, timings.phases.iter()),
                    Err(failure) => {
                        let outcome = Outcome::Failed(failure.as_str().into());
                        self.series[path].push_failure(Sample { at, outcome }, failed.phase);
                    }
                }
            }
            // A slot without a measurement, whatever the reason.
            Event::ClockStepped { path } => {
                self.ended[path.0 as usize] += 1;
                self.series[path.0 as usize].missed += 1;
            }
            Event::SlotsMissed { path, count } => self.series[path.0 as usize].missed += count,
            Event::Overdue { .. } | Event::Late { .. } => {}
        }
    }

    fn show(&mut self) -> ControlFlow<()> {
        for ((series, launched), ended) in self.series.iter_mut().zip(&self.launched).zip(&self.ended) {
            series.in_flight = launched.load(Ordering::Relaxed) - ended;
        }
        let elapsed = self.began.elapsed();
        let by_time = self.plan.duration.map(|duration| elapsed.as_secs_f64() / duration.as_secs_f64());
        let by_count = self.plan.samples.and_then(|most| {
            let launched = self.launched.iter().map(|launched| launched.load(Ordering::Relaxed)).min()?;
            Some(launched as f64 / most as f64)
        });
        let done = by_time.into_iter().chain(by_count).fold(0.0, f64::max).min(1.0);
        match &mut self.observer {
            Some(observer) => observer(&Progress { done, elapsed, series: &self.series }),
            None => ControlFlow::Continue(()),
        }
    }

    fn results(mut self) -> Results {
        // Those of a run that a second signal ended have no result.
        self.series.iter_mut().for_each(|series| series.in_flight = 0);
        Results {
            began: self.began_at,
            duration: self.duration.unwrap_or_else(|| self.began.elapsed()),
            source: self.plan.source,
            series: self.series,
            dropped: Some(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        bench::Limits,
        model::{Failure, PeerFacts, Phase, Sample as Probed, StampSource, Timings},
    };

    fn event(path: u32, outcome: crate::model::Outcome) -> Event {
        let sample = Probed { path: PathId(path), sent_at: Instant::now(), sent_at_unix: 0, outcome };
        Event::Sampled {
            sample,
            start_delay: Duration::ZERO,
            late: 0,
            duplicates: 0,
            failed: None.into(),
            facts: PeerFacts::default(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn slots_without_a_measurement_are_missed_and_nothing_else_is() {
        let targets = ["us=icmp://192.0.2.1", "eu=icmp://192.0.2.2"].map(str::to_owned);
        let plan = Plan::of_targets(&targets, None, Limits::default()).unwrap();
        let launched: Vec<_> = [3, 1].map(|count| Arc::new(AtomicU64::new(count))).into();
        let mut run = Run::new(plan, launched, None);
        let ms = Duration::from_millis;
        run.take(&event(0, Ok(Timings::single(Phase::Rtt, ms(7), StampSource::Kernel))));
        run.take(&event(0, Err(Failure::Timeout)));
        run.take(&Event::SlotsMissed { path: PathId(0), count: 4 });
        run.take(&Event::Late { path: PathId(0) });
        assert_eq!(run.in_flight(), 2);
        run.take(&Event::ClockStepped { path: PathId(0) });
        assert_eq!(run.in_flight(), 1);
        let results = run.results();
        let [us, eu] = &results.series[..] else { panic!("{results:?}") };
        assert_eq!((us.region.as_str(), us.missed, eu.missed), ("us", 5, 0));
        let outcomes: Vec<_> = us.samples().iter().map(|sample| sample.outcome.clone()).collect();
        assert_eq!(outcomes, [Outcome::Ok(ms(7)), Outcome::Failed("timeout".into())]);
        assert_eq!((us.phase_of(0, Phase::Rtt), us.tag("probe")), (Some(ms(7)), Some("icmp")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_run_of_n_samples_makes_up_for_missed_slots_and_ends_where_most_are_missed() {
        let done = |launched, missed| {
            let limits = Limits { samples: Some(10), ..Limits::default() };
            let plan = Plan::of_targets(&["us=icmp://192.0.2.1".to_owned()], None, limits).unwrap();
            let mut run = Run::new(plan, vec![Arc::new(AtomicU64::new(launched))], None);
            run.take(&Event::SlotsMissed { path: PathId(0), count: missed });
            run.all_launched()
        };
        assert!(!done(9, 1) && !done(9, 10), "a missed slot is no sample");
        assert!(done(10, 0) && done(10, 3));
        assert!(!done(4, 15) && done(4, 16), "a host that is too slow comes to an end");
    }
}
