//! A program and all that it starts, which end together: what builds is often a child of the program that was asked to.

use std::{io, process::ExitStatus, time::Duration};

use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

/// How long programs may take to end by themselves, and how often it is looked.
const ENDING: Duration = Duration::from_secs(10);
const LOOKED_EVERY: Duration = Duration::from_millis(50);

/// A program that leads a group of processes.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) leader: Child,
    /// The number of the group is that of its leader.
    id: Option<u32>,
}

impl Group {
    pub(super) fn start(command: &mut Command) -> io::Result<Self> {
        let leader = command.process_group(0).spawn()?;
        let id = leader.id();
        Ok(Self { leader, id })
    }

    /// Waits until the program has ended by itself.
    pub(super) async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.leader.wait().await
    }

    /// Asks all of them to end, and ends those that do not.
    pub(super) async fn end(mut self) {
        let deadline = Instant::now() + ENDING;
        self.signal("TERM").await;
        // A leader that has ended is in its group until it is waited for.
        while self.leader.try_wait().is_ok() && self.signal("0").await {
            if Instant::now() >= deadline {
                self.signal("KILL").await;
                break;
            }
            sleep(LOOKED_EVERY).await;
        }
    }

    /// Sends a signal to the group, with the shell's own command. Returns whether there was one; 0 only asks for that.
    async fn signal(&self, signal: &str) -> bool {
        let Some(id) = self.id else { return false };
        let mut shell = Command::new("sh");
        let sent = shell.arg("-c").arg(format!("kill -s {signal} -- -{id} 2>/dev/null")).status().await;
        sent.is_ok_and(|status| status.success())
    }
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn what_a_program_has_started_ends_with_it() {
        let mut command = Command::new("sh");
        command.args(["-c", "sh -c 'trap \"echo ended; exit\" TERM; echo began; while :; do sleep 0.1; done' & wait"]);
        let mut group = Group::start(command.stdout(Stdio::piped())).unwrap();
        let mut out = group.leader.stdout.take().unwrap();
        let mut said = [0; 6];
        out.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"began\n");
        let id = group.id;
        group.end().await;
        // The pipe ends with the last process that has it.
        let mut rest = String::new();
        out.read_to_string(&mut rest).await.unwrap();
        assert_eq!((id.is_some(), rest.as_str()), (true, "ended\n"));
    }
}
