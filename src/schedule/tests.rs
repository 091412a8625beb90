use std::{
    collections::VecDeque,
    sync::{Mutex, atomic::Ordering},
    time::Duration,
};

use super::*;
use crate::{
    model::{Failure, Phase, StampSource, Timings},
    net::Attempt,
    probe::{Probe, ProbeError},
};

/// Answers each attempt after the next delay, or never.
struct Scripted(Mutex<VecDeque<Option<Duration>>>);

impl Probe for Scripted {
    const LINGERS: bool = true;

    async fn probe(&self, _: &Attempt) -> Result<Timings, ProbeError> {
        let delay = self.0.lock().unwrap().pop_front().flatten();
        match delay {
            Some(delay) => {
                tokio::time::sleep(delay).await;
                Ok(Timings::single(Phase::Rtt, delay, StampSource::Kernel))
            }
            None => std::future::pending().await,
        }
    }
}

const MS: Duration = Duration::from_millis(1);
const PHASE: SlotPhase = SlotPhase::START;

async fn observe(interval: u32, timeout: u32, script: &[Option<Duration>], duration: Duration) -> Vec<Event> {
    let (events, mut received) = mpsc::channel(1000);
    let (commands, receiver) = mpsc::unbounded_channel();
    let probe = Arc::new(Scripted(Mutex::new(script.iter().copied().collect())));
    let launcher = launcher(probe, events.clone());
    let cadence = Cadence::new(MS * interval, MS * timeout).unwrap();
    tokio::spawn(Schedule::default().run(SlotTimer::Runtime, receiver, events));
    let _ = commands.send(Command::Start {
        path: PathId(1),
        cadence,
        phase: PHASE,
        overdue_after: OverdueAfter::default(),
        launcher,
    });
    tokio::time::sleep(duration).await;
    let mut seen = Vec::new();
    while let Ok(event) = received.try_recv() {
        seen.push(event);
    }
    seen
}

fn results(events: &[Event]) -> Vec<Result<u128, Failure>> {
    let outcome = |event: &Event| match event {
        Event::Sampled { sample, .. } => Some(sample.outcome.map(|t| t.total.as_millis())),
        _ => None,
    };
    events.iter().filter_map(outcome).collect()
}

#[tokio::test(start_paused = true)]
async fn a_slow_peer_does_not_lower_the_probe_rate() {
    let events = observe(100, 400, &[Some(MS * 390); 40], MS * 2000).await;
    let starts: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Sampled { sample, .. } => Some(sample.sent_at),
            _ => None,
        })
        .collect();
    assert!(starts.len() >= 15, "{}", starts.len());
    for pair in starts.windows(2) {
        let gap = pair[1] - pair[0];
        assert!((MS * 98..=MS * 102).contains(&gap), "{gap:?}");
    }
}

/// The schedule has commands first, and may get many of them before the slots that are due.
#[tokio::test(start_paused = true)]
async fn a_slot_that_is_due_when_its_probe_is_replaced_is_taken_or_counted_as_missed() {
    let (events, _received) = mpsc::channel(1000);
    let mut schedule = Schedule::default();
    let start = |schedule: &mut Schedule, interval: u32| {
        let launcher = launcher(Arc::new(Scripted(Mutex::default())), events.clone());
        let (cadence, overdue_after) = (Cadence::new(MS * interval, MS * 10).unwrap(), OverdueAfter::default());
        let command = Command::Start { path: PathId(1), cadence, phase: PHASE, overdue_after, launcher };
        schedule.apply(command, Instant::now());
    };
    let missed = |schedule: &mut Schedule| match schedule.launch_due(Instant::now())[..] {
        [Event::SlotsMissed { count, .. }] => Some(count),
        [] => None,
        _ => panic!("more than one path"),
    };
    start(&mut schedule, 100);
    for (pass, counted) in [(110, None), (100, None), (250, Some(1))] {
        tokio::time::advance(MS * pass).await;
        start(&mut schedule, 100);
        let launched = schedule.entries[&PathId(1)].next <= Instant::now();
        assert!(launched, "the slot is still due");
        assert_eq!(missed(&mut schedule), counted);
    }
    // Another interval has other slots.
    tokio::time::advance(MS * 100).await;
    start(&mut schedule, 70);
    assert!(schedule.entries[&PathId(1)].next > Instant::now());
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_times_out_at_the_deadline_and_has_no_latency() {
    let events = observe(100, 250, &[None; 40], MS * 1000).await;
    assert!(results(&events).len() >= 6);
    assert!(results(&events).iter().all(|result| *result == Err(Failure::Timeout)));
    assert!(!events.iter().any(|event| matches!(event, Event::SlotsMissed { .. })), "{events:?}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_costs_no_slot_when_deadlines_and_slots_coincide() {
    let events = observe(100, 400, &[None; 40], MS * 3000).await;
    assert!(results(&events).len() >= 24, "{}", results(&events).len());
    assert!(!events.iter().any(|event| matches!(event, Event::SlotsMissed { .. })), "{events:?}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_after_the_deadline_counts_as_failure_and_as_late() {
    let events = observe(1000, 100, &[Some(MS * 150)], MS * 1900).await;
    assert_eq!(results(&events)[0], Err(Failure::Timeout));
    assert_eq!(events.iter().filter(|event| matches!(event, Event::Late { .. })).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_probe_is_reported_as_overdue_at_once_and_continues_until_its_deadline() {
    let (events, mut received) = mpsc::channel(100);
    let (commands, receiver) = mpsc::unbounded_channel();
    let probe = Arc::new(Scripted(Mutex::new([Some(MS * 300), Some(MS * 150), None].into())));
    let launcher = launcher(probe, events.clone());
    let overdue_after = OverdueAfter::default();
    overdue_after.set(MS * 200);
    tokio::spawn(Schedule::default().run(SlotTimer::Runtime, receiver, events));
    let cadence = Cadence::new(MS * 1000, MS * 1000).unwrap();
    let _ = commands.send(Command::Start { path: PathId(1), cadence, phase: PHASE, overdue_after, launcher });
    let mut seen = Vec::new();
    for _ in 0..5 {
        seen.push((received.recv().await.unwrap(), Instant::now()));
    }
    let overdue = |n: usize| match seen[n] {
        (Event::Overdue { sent_at, .. }, at) => (at - sent_at).as_millis(),
        _ => panic!("{:?}", seen[n]),
    };
    assert!((200..=202).contains(&overdue(0)) && (200..=202).contains(&overdue(3)), "{seen:?}");
    let events: Vec<_> = seen.iter().map(|(event, _)| event.clone()).collect();
    assert_eq!(results(&events), [Ok(300), Ok(150), Err(Failure::Timeout)]);
}

#[tokio::test(start_paused = true)]
async fn an_extra_probe_starts_at_once_and_moves_no_slot() {
    let mut schedule = Schedule::default();
    let now = Instant::now();
    let launched = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&launched);
    let launcher: Launcher = Box::new(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
    });
    let cadence = Cadence::new(MS * 100, MS * 100).unwrap();
    let start =
        Command::Start { path: PathId(1), cadence, phase: PHASE, overdue_after: OverdueAfter::default(), launcher };
    schedule.apply(start, now);
    let next = schedule.entries[&PathId(1)].next;
    schedule.apply(Command::Probe(PathId(1)), now);
    schedule.apply(Command::Probe(PathId(2)), now);
    assert_eq!((launched.load(Ordering::Relaxed), schedule.entries[&PathId(1)].next), (1, next));
}

#[tokio::test(start_paused = true)]
async fn slots_missed_while_nothing_runs_are_counted() {
    let mut schedule = Schedule::default();
    let now = Instant::now();
    let launched = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&launched);
    let launcher: Launcher = Box::new(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
    });
    let cadence = Cadence::new(MS * 100, MS * 100).unwrap();
    schedule.apply(
        Command::Start { path: PathId(1), cadence, phase: PHASE, overdue_after: OverdueAfter::default(), launcher },
        now,
    );
    let first = schedule.entries[&PathId(1)].next;
    let events = schedule.launch_due(first + MS * 250);
    assert_eq!(events, [Event::SlotsMissed { path: PathId(1), count: 2 }]);
    assert_eq!(launched.load(Ordering::Relaxed), 1);
    assert_eq!(schedule.entries[&PathId(1)].next, first + MS * 300);
}

#[tokio::test(start_paused = true)]
async fn probes_in_flight_are_bounded_by_timeout_over_interval() {
    let mut schedule = Schedule::default();
    let now = Instant::now();
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keeper = Arc::clone(&kept);
    let launcher: Launcher = Box::new(move |launch| keeper.lock().unwrap().push(launch));
    let cadence = Cadence::new(MS * 100, MS * 250).unwrap();
    schedule.apply(
        Command::Start { path: PathId(1), cadence, phase: PHASE, overdue_after: OverdueAfter::default(), launcher },
        now,
    );
    let mut missed = 0;
    for n in 0..6 {
        missed += schedule.launch_due(now + MS * 100 * (n + 1)).len();
    }
    assert_eq!((kept.lock().unwrap().len(), missed), (3, 3));
    kept.lock().unwrap().clear();
    assert!(schedule.launch_due(now + MS * 700).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_stopped_path_is_not_probed() {
    let mut schedule = Schedule::default();
    let now = Instant::now();
    let cadence = Cadence::new(MS * 100, MS * 100).unwrap();
    let launcher: Launcher = Box::new(|_| panic!("launched"));
    schedule.apply(
        Command::Start { path: PathId(1), cadence, phase: PHASE, overdue_after: OverdueAfter::default(), launcher },
        now,
    );
    schedule.apply(Command::Stop(PathId(1)), now);
    assert!(schedule.launch_due(now + MS * 500).is_empty());
}
