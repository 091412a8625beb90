//! Child processes that end with the value that stands for them.

use std::{
    ffi::CString,
    fs::{self, File},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use super::{Result, cgroup::Cgroup, net::Namespace, sys};

const PREFIX: &str = "regionwatch-bench-";

/// A directory for configurations and logs; removed when dropped.
pub struct Workspace(PathBuf);

impl Workspace {
    /// Makes the directory.
    pub fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("{PREFIX}{}", std::process::id()));
        // What a killed run has left behind.
        for entry in fs::read_dir(std::env::temp_dir())?.flatten() {
            let name = entry.file_name();
            let pid = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
            if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
                drop(fs::remove_dir_all(entry.path()));
            }
        }
        fs::create_dir(&path)?;
        Ok(Self(path))
    }

    /// The path of a file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file into it.
    pub fn write(&self, name: &str, content: &str) -> Result<PathBuf> {
        let path = self.file(name);
        fs::write(&path, content)?;
        Ok(path)
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Where a process is put.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// Its network.
    pub net: &'a Namespace,
    /// Its limits and accounts.
    pub cgroup: Option<&'a Cgroup>,
}

/// A running child.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts the command with its output going to a log in the workspace.
    pub fn spawn(mut command: Command, name: &str, place: Place<'_>, workspace: &Workspace) -> Result<Self> {
        let log = workspace.file(&format!("{name}.log"));
        let output = File::create(&log)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let procs = place.cgroup.map(Cgroup::procs).unwrap_or_default();
        let procs = procs
            .iter()
            .map(|path| CString::new(path.as_os_str().as_bytes()))
            .collect::<std::result::Result<_, _>>()?;
        sys::place(&mut command, Some(place.net.file()), procs);
        let child = command.spawn().map_err(|e| format!("{name}: {e}"))?;
        Ok(Self { child, log })
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// Tells the end of its log where it has ended.
    pub fn check(&mut self) -> Result<()> {
        let Some(status) = self.child.try_wait()? else { return Ok(()) };
        Err(format!("{} ended: {status}\n{}", self.log.display(), self.log_tail()).into())
    }

    /// The last lines that it wrote.
    pub fn log_tail(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }

    /// A number of KiB or a count from its `/proc/PID/status`.
    pub fn status(&self, key: &str) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse().ok()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        sys::signal(self.id(), libc::SIGTERM);
        for _ in 0..100 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Starts processes that do nothing but use up CPU time.
pub fn spinners(count: usize, place: Place<'_>, workspace: &Workspace) -> Result<Vec<Process>> {
    (0..count)
        .map(|n| {
            let mut command = Command::new("sh");
            command.args(["-c", "while :; do :; done"]);
            Process::spawn(command, &format!("spinner-{n}"), place, workspace)
        })
        .collect()
}
