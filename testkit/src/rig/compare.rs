//! Lays what a program reported beside what really happened.

use std::collections::HashMap;

use super::truth::{Flow, Service, Truth};

/// One probe as a program reported it; times in ns.
#[derive(Debug, Clone)]
pub struct Reported {
    /// What was probed.
    pub flow: Flow,
    /// The earliest time at which its first packet can have left.
    pub from: i64,
    /// The latest.
    pub until: i64,
    /// Whether it was reported as a success.
    pub ok: bool,
    /// The reported time of the handshake, in the phase `connect` or, for blackbox's tcp, the whole probe.
    pub connect: Option<f64>,
    /// The reported time of question and answer.
    pub exchange: Option<f64>,
    /// Whether the program says that it used the kernel's stamps.
    pub kernel: bool,
}

/// What is compared: a row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Measure {
    /// The service.
    pub service: Service,
    /// The handshake instead of question and answer.
    pub handshake: bool,
}

impl Measure {
    /// All rows: question and answer of each service, and the handshakes of those that have one.
    pub const ALL: [Self; 6] = [
        Self { service: Service::Icmp, handshake: false },
        Self { service: Service::Dns, handshake: false },
        Self { service: Service::Tcp, handshake: true },
        Self { service: Service::Http, handshake: true },
        Self { service: Service::Http, handshake: false },
        Self { service: Service::Https, handshake: false },
    ];

    /// As blackbox calls it.
    pub const fn name(self) -> &'static str {
        match (self.service, self.handshake) {
            (Service::Icmp, _) => "icmp rtt",
            (Service::Dns, _) => "dns request",
            (Service::Tcp, _) => "tcp connect",
            (Service::Http, true) => "http connect",
            (Service::Http, false) => "http processing",
            (Service::Https, _) => "https processing",
        }
    }

    /// The largest p99 of the absolute error that regionwatch may have, in µs.
    pub const fn target_us(self) -> f64 {
        match self.service {
            Service::Https => 1000.0,
            _ => 100.0,
        }
    }
}

/// The errors of one program under one condition.
#[derive(Debug, Default)]
pub struct Errors {
    /// Reported minus true, in µs.
    pub by_measure: HashMap<&'static str, Vec<f64>>,
    /// Reported as failed though the answer came before the deadline.
    pub false_failures: HashMap<Service, usize>,
    /// Failed, and no answer came in time.
    pub true_failures: usize,
    /// Reported as a success, but no probe was seen on the line at that time.
    pub phantom: usize,
    /// Seen on the line, but never reported.
    pub unreported: usize,
    /// Successes measured by a userland clock, as the program says itself.
    pub userland: usize,
}

/// Matches each reported probe with the first unmatched one that was seen on its flow in its span of time.
/// `measured` is the span in which the program was watched: what was sent at its edges counts as reported.
pub fn compare(
    reported: &mut [Reported],
    truths: &HashMap<Flow, Vec<Truth>>,
    timeout_ns: i64,
    measured: (i64, i64),
) -> Errors {
    reported.sort_by_key(|probe| probe.from);
    let mut errors = Errors::default();
    let mut next: HashMap<Flow, usize> = HashMap::new();
    let none = Vec::new();
    for probe in reported.iter() {
        let list = truths.get(&probe.flow).unwrap_or(&none);
        let next = next.entry(probe.flow).or_default();
        while list.get(*next).is_some_and(|truth| truth.sent < probe.from) {
            errors.unreported += usize::from(within(list[*next].sent, measured));
            *next += 1;
        }
        let Some(truth) = list.get(*next).filter(|truth| truth.sent <= probe.until) else {
            errors.phantom += usize::from(probe.ok);
            errors.true_failures += usize::from(!probe.ok);
            continue;
        };
        *next += 1;
        if !probe.ok {
            match truth.answered.is_some_and(|at| at - truth.sent < timeout_ns) {
                true => *errors.false_failures.entry(probe.flow.1).or_default() += 1,
                false => errors.true_failures += 1,
            }
            continue;
        }
        errors.userland += usize::from(!probe.kernel);
        for measure in Measure::ALL.into_iter().filter(|measure| measure.service == probe.flow.1) {
            let (claimed, real) = match measure.handshake {
                true => (probe.connect, truth.connect),
                false => (probe.exchange, truth.exchange),
            };
            if let (Some(claimed), Some(real)) = (claimed, real) {
                errors.by_measure.entry(measure.name()).or_default().push((claimed - real as f64) / 1000.0);
            }
        }
    }
    errors
}

fn within(time: i64, (from, until): (i64, i64)) -> bool {
    (from..until).contains(&time)
}
