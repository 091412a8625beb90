//! The signals that end a comparison, whose containers must be removed before.

use std::{fs, io};

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::bench::Interrupts;

/// Listens to them.
pub(super) struct Signals {
    usual: Interrupts,
    /// That of a terminal that is gone; `None` under `nohup`.
    hangup: Option<Signal>,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let hangup = if ignores_hangup(&status) { None } else { Some(signal(SignalKind::hangup())?) };
        Ok(Self { usual: Interrupts::new()?, hangup })
    }

    /// The next signal.
    pub(super) async fn next(&mut self) -> i32 {
        match &mut self.hangup {
            Some(hangup) => tokio::select! {
                _ = hangup.recv() => SignalKind::hangup().as_raw_value(),
                signal = self.usual.next() => signal,
            },
            None => self.usual.next().await,
        }
    }
}

/// Whether the status of a process (proc_pid_status(5)) says that it ignores that signal, which has the lowest bit.
fn ignores_hangup(status: &str) -> bool {
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use std::{env, process::Command};

    use super::*;

    /// Says to a process of this test that it is alone.
    const ALONE: &str = "REGIONWATCH_TEST_IS_ALONE";

    #[test]
    fn a_terminal_that_is_gone_ends_a_comparison_and_not_the_process() {
        if env::var_os(ALONE).is_none() {
            // Other tests of this process listen to signals too.
            let name = "coldstart::signals::tests::a_terminal_that_is_gone_ends_a_comparison_and_not_the_process";
            let mut own = Command::new(env::current_exe().unwrap());
            let done = own.args(["--exact", name]).env(ALONE, "1").output().unwrap();
            assert!(done.status.success(), "{done:?}");
            assert!(String::from_utf8_lossy(&done.stdout).contains("1 passed"), "{done:?}");
            return;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut signals = Signals::new().unwrap();
            signals.hangup.get_or_insert_with(|| signal(SignalKind::hangup()).unwrap());
            let kill = format!("kill -s HUP {}", std::process::id());
            assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
            assert_eq!(signals.next().await, 1);
        });
    }

    #[test]
    fn a_program_under_nohup_goes_on() {
        assert!(ignores_hangup("Name:\ta\nSigIgn:\t0000000000001001\n"));
        assert!(!ignores_hangup("SigIgn:\t0000000000001000\nSigCgt:\t0000000000000001\n"));
        assert!(!ignores_hangup(""));
    }
}
