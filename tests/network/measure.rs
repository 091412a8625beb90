//! Probes as the product makes them, and what they tell.

use std::{path::Path, sync::OnceLock, time::Duration};

use regionwatch::{
    app,
    config::Config,
    model::{Kind, Outcome, PathId, Sample},
    net::{Resolver, TimestampingGuard, TlsContext},
    schedule::{Command, Event, OverdueAfter, Schedule, SlotPhase, SlotTimer},
};
use testkit::stalls::{Patience, Stalls};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

/// How long a test waits for the next event, and how long for everything, on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(20);
const LIFE: Duration = Duration::from_secs(40);

/// Probes of one target that are under way; they end when this is dropped.
pub(crate) struct Measurement {
    kinds: Vec<Kind>,
    life: Patience,
    /// What the machine adds to the times of the test.
    pub(crate) stalls: Stalls,
    events: mpsc::Receiver<Event>,
    _changes: mpsc::UnboundedSender<Command>,
    /// Answers after the deadline, of all paths.
    pub(crate) late: u32,
    /// Answers that came more than once, of all paths.
    pub(crate) duplicates: u32,
}

impl Measurement {
    /// Starts probes of a target, each written as in the configuration file.
    pub(crate) async fn start(target: &str, probes: &[&str]) -> Self {
        // The product holds the time stamps of the kernel switched on for its life.
        static KEEPER: OnceLock<TimestampingGuard> = OnceLock::new();
        KEEPER.get_or_init(TimestampingGuard::hold);

        let probes: String = probes.iter().map(|probe| format!("          - {{{probe}}}\n")).collect();
        let text = format!(
            "region: here\npeers:\n  - region: there\n    targets:\n      - host: \"{target}\"\n        probes:\n{probes}"
        );
        let loaded = Config::load(Some((Path::new("test.yaml"), &text)), []).unwrap_or_else(|m| panic!("{m}\n{text}"));
        let (resolver, tls) = (Resolver::from_system(), TlsContext::default());
        let (sender, events) = mpsc::channel(4096);
        let (changes, changed) = mpsc::unbounded_channel();
        tokio::spawn(Schedule::default().run(SlotTimer::new(), changed, sender.clone()));
        let mut kinds = Vec::new();
        for (_, probe) in loaded.config.paths() {
            let launcher = app::prober(probe, &resolver, &tls, sender.clone(), None).unwrap();
            let path = PathId(kinds.len() as u32);
            kinds.push(probe.kind());
            changes
                .send(Command::Start {
                    path,
                    cadence: probe.cadence,
                    phase: SlotPhase::random(),
                    overdue_after: OverdueAfter::default(),
                    launcher,
                })
                .unwrap();
        }
        let (life, stalls) = (Patience::of(LIFE), Stalls::watch());
        Self { kinds, life, stalls, events, _changes: changes, late: 0, duplicates: 0 }
    }

    /// The kinds of the probes, in their order.
    pub(crate) fn kinds(&self) -> &[Kind] {
        &self.kinds
    }

    /// The next event, noted. Fails the test where none comes, and where it has waited long enough for another.
    async fn event(&mut self) -> Event {
        assert!(!self.life.is_over(), "what the test waits for did not come within {LIFE:?}");
        self.event_by(Instant::now() + PATIENCE).await.expect("no event came in time")
    }

    async fn event_by(&mut self, deadline: Instant) -> Option<Event> {
        let event = timeout_at(deadline, self.events.recv()).await.ok()?.expect("the schedule ended");
        match event {
            Event::Sampled { late, duplicates, .. } => {
                self.late += late;
                self.duplicates += duplicates;
            }
            Event::Late { .. } => self.late += 1,
            Event::Overdue { .. } | Event::ClockStepped { .. } | Event::SlotsMissed { .. } => {}
        }
        Some(event)
    }

    /// The next sample.
    pub(crate) async fn sample(&mut self) -> (Kind, Sample) {
        loop {
            if let Event::Sampled { sample, .. } = self.event().await {
                return (self.kinds[sample.path.0 as usize], sample);
            }
        }
    }

    /// What comes of the next probes.
    pub(crate) async fn outcomes(&mut self, count: usize) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        while outcomes.len() < count {
            outcomes.push(self.sample().await.1.outcome);
        }
        outcomes
    }
}
