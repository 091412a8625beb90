//! What the tests of replication share, whatever the engine: an instance, and what the test itself knows of the lag.

use std::{net::SocketAddr, time::Duration};

use testkit::process::{Running, eventually, free, get, sidecar};
use tokio::time::Instant;

pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// An instance in the region `here`, with a database of two servers, of which the second is in the region `there`.
pub(super) struct Instance {
    page: SocketAddr,
    running: Running,
    _folder: tempfile::TempDir,
}

impl Instance {
    /// `login` is the kind of the database and how to log in, as lines of keys.
    pub(super) fn start(login: &str, here: SocketAddr, there: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("regionwatch.yaml");
        let page = free();
        let text = format!(
            "region: here\nlisten: {page}\ndatabases:\n  - name: orders\n    {login}\n    servers:\n      \
             - {{region: here, host: 127.0.0.1, port: {}}}\n      - {{region: there, host: 127.0.0.1, port: {}}}\npeers:\n  \
             - region: there\n    targets:\n      - {{host: 127.0.0.1, probes: [{{kind: tcp, port: {}}}]}}\n",
            here.port(),
            there.port(),
            there.port(),
        );
        std::fs::write(&file, text).unwrap();
        let running = sidecar(&["run", "--config", file.to_str().unwrap()], &[], page);
        Self { page, running, _folder: folder }
    }

    /// What it has logged.
    pub(super) fn said(&self) -> String {
        self.running.said()
    }

    /// All of its metrics.
    pub(super) fn page(&self) -> String {
        get(self.page, "/metrics")
    }

    pub(super) fn value(&self, metric: &str, region: &str, more: &str) -> Option<f64> {
        let text = get(self.page, "/metrics");
        let start = format!(
            "regionwatch_database_{metric}{{vantage_region=\"here\",database=\"orders\",peer_region=\"{region}\"{more}}} "
        );
        text.lines().find_map(|line| line.strip_prefix(&start)?.parse().ok())
    }

    pub(super) fn state(&self, region: &str) -> String {
        let states = ["caught_up", "lagging", "cut_off", "not_replicating", "writable", "unknown"];
        let is = |state: &&&str| self.value("state", region, &format!(",state=\"{state}\"")) == Some(1.0);
        states.iter().find(is).map(|state| (*state).to_owned()).unwrap_or_default()
    }

    pub(super) fn becomes(&self, region: &str, state: &str) {
        eventually(&format!("{region} is {state}"), PATIENCE, || (self.state(region) == state).then_some(()));
    }

    pub(super) fn bounds(&self) -> (Option<f64>, Option<f64>) {
        let bound = |bound: &str| self.value("replication_lag_seconds", "there", &format!(",bound=\"{bound}\""));
        (bound("lower"), bound("upper"))
    }

    /// Waits until the lower bound is greater than this.
    pub(super) fn falls_behind(&self, seconds: f64) {
        eventually("the lower bound says so", PATIENCE, || self.bounds().0.filter(|lower| *lower > seconds));
    }
}

/// What the test knows of the lag: by writing rows and reading them, and by its own clock.
#[derive(Default)]
pub(super) struct Truth {
    writes: Vec<(u32, Instant, Instant)>,
}

impl Truth {
    /// The age of the oldest row that is missing, at least and at most.
    fn read(&self, read: impl Fn() -> u32) -> (Duration, Duration) {
        let before = Instant::now();
        let seen = read();
        let after = Instant::now();
        match self.writes.iter().find(|(n, ..)| *n > seen) {
            Some((_, began, ended)) => {
                (before.saturating_duration_since(*ended), after.saturating_duration_since(*began))
            }
            None => (Duration::ZERO, after.saturating_duration_since(self.writes.last().unwrap().1)),
        }
    }

    /// Writes and reads for so many seconds, and compares what is known `after` so many with the bounds of the instance.
    /// Between two checks nothing is written, so what is known is true only once that is over at the replica.
    pub(super) fn check(
        &mut self,
        stage: &str,
        (after, seconds): (u64, u64),
        instance: &Instance,
        write: impl Fn(u32),
        read: impl Fn() -> u32,
    ) {
        let until = Instant::now() + Duration::from_secs(after + seconds);
        let (mut truths, mut checked) = (Vec::new(), 0);
        while Instant::now() < until {
            let n = u32::try_from(self.writes.len()).unwrap() + 1;
            let began = Instant::now();
            write(n);
            self.writes.push((n, began, Instant::now()));
            let (least, most) = self.read(&read);
            truths.push((Instant::now(), least.as_secs_f64(), most.as_secs_f64()));
            let (Some(lower), Some(upper)) = instance.bounds() else { continue };
            if truths[0].0.elapsed() < Duration::from_secs(after) {
                continue;
            }
            // The interval is that of a reading of the last second, or some more on a busy machine.
            let recent = truths.iter().filter(|(at, ..)| at.elapsed() < Duration::from_secs(3));
            let (least, most) =
                recent.fold((f64::MAX, 0.0), |(least, most), truth| (truth.1.min(least), truth.2.max(most)));
            // Two readings of the test lie apart.
            let slack = began.elapsed().as_secs_f64();
            assert!(lower <= most + slack && least <= upper + slack, "{stage}: {lower}..{upper} {least}..{most}");
            assert!(0.0 <= lower && lower <= upper, "{stage}: {lower}..{upper}");
            checked += 1;
        }
        assert!(checked > 3, "{stage}");
    }
}
