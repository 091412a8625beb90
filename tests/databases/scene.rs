//! What the tests of replication share, whatever the engine: an instance, and what the test itself knows of the lag.

use std::{net::SocketAddr, process::Command, thread, time::Duration};

use testkit::{
    binary,
    process::{Running, eventually, free, get, sidecar, write},
};
use tokio::time::Instant;

pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// An instance in the region `here`, with a database whose servers are in the regions `here` and `there`.
pub(super) struct Instance {
    page: SocketAddr,
    running: Running,
    config: String,
    _folder: tempfile::TempDir,
}

impl Instance {
    /// `login` is the kind of the database and how to log in, as lines of keys.
    pub(super) fn start(login: &str, here: SocketAddr, there: SocketAddr) -> Self {
        Self::of(login, &[("here", here), ("there", there)])
    }

    /// Of a database with one server, which is in the region `here`.
    pub(super) fn alone(login: &str, here: SocketAddr) -> Self {
        Self::of(login, &[("here", here)])
    }

    fn of(login: &str, servers: &[(&str, SocketAddr)]) -> Self {
        let (folder, page) = (tempfile::tempdir().unwrap(), free());
        let server = |(region, addr): &(&str, SocketAddr)| {
            format!("      - {{region: {region}, host: 127.0.0.1, port: {}}}\n", addr.port())
        };
        let text = format!(
            "region: here\nlisten: {page}\ndatabases:\n  - name: orders\n    {login}\n    servers:\n{}peers:\n  \
             - region: there\n    targets:\n      - {{host: 127.0.0.1, probes: [{{kind: tcp, port: {}}}]}}\n",
            servers.iter().map(server).collect::<String>(),
            servers[servers.len() - 1].1.port(),
        );
        let config = write(folder.path(), "regionwatch.yaml", &text);
        let running = sidecar(&["run", "--config", &config], &[], page);
        Self { page, running, config, _folder: folder }
    }

    /// What `check --probe` says of the server in the region `here`.
    pub(super) fn check(&self) -> String {
        let check = Command::new(binary()).args(["check", "--probe", "--config", &self.config]).output().unwrap();
        let text = String::from_utf8(check.stdout).unwrap();
        text.lines().find(|line| line.starts_with("here")).unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Waits until the log has said this so often, and sees that it does not say it more often in the next seconds.
    pub(super) fn says(&self, what: &str, times: usize) {
        let said = || self.said().matches(what).count();
        eventually("the log says so", PATIENCE, || (said() == times).then_some(()));
        thread::sleep(Duration::from_secs(3));
        assert_eq!(said(), times, "{}", self.said());
    }

    /// Waits until both servers are seen to take writes.
    pub(super) fn both_take_writes(&self) {
        eventually("both take writes", PATIENCE, || {
            let writable = |region: &str| self.value("writable", region, "") == Some(1.0);
            (writable("here") && writable("there")).then_some(())
        });
    }

    /// Sees that neither server gets a token while both take writes, and that the one in the region `there` does once the
    /// other one is gone.
    pub(super) fn writes_to_neither_and_then_to_the_one_that_stays(
        &self,
        [here, there]: [&dyn Fn() -> u64; 2],
        kill: impl FnOnce(),
    ) {
        self.both_take_writes();
        // What was under way when both were seen to.
        thread::sleep(Duration::from_secs(2));
        let before = (here(), there());
        thread::sleep(Duration::from_secs(4));
        assert_eq!((here(), there()), before);
        kill();
        let grown = || (there() > before.1).then_some(());
        eventually("the new primary gets tokens", PATIENCE + Duration::from_secs(10), grown);
        self.becomes("here", "unknown");
        self.becomes("there", "writable");
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
