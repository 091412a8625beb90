//! A cgroup of its own for the program under test: its CPU quota, its CPU account and its memory. Version 1 or 2.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use super::Result;

const ROOT: &str = "/sys/fs/cgroup";
const PREFIX: &str = "regionwatch-bench-";

fn is_v2() -> bool {
    Path::new(ROOT).join("cgroup.controllers").exists()
}

/// Directories of the hierarchies that limit and account CPU time, and limit memory.
fn hierarchies() -> Vec<PathBuf> {
    if is_v2() {
        vec![ROOT.into()]
    } else {
        ["cpu", "cpuacct", "memory"].map(|name| Path::new(ROOT).join(name)).to_vec()
    }
}

/// Whether cgroups can be made.
pub fn available() -> bool {
    hierarchies().iter().all(|path| path.join("cgroup.procs").exists())
}

/// A cgroup; removed when dropped, when its processes must have ended.
pub struct Cgroup {
    paths: Vec<PathBuf>,
}

/// What a cgroup has used.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// CPU time, user and system, in µs.
    pub cpu_us: f64,
    /// In how many periods the quota was used up.
    pub throttled: u64,
}

impl Cgroup {
    /// Makes a cgroup that gets `quota` in every period of 100 ms, or all it wants.
    pub fn new(quota: Option<Duration>) -> Result<Self> {
        Self::limited("", quota, None)
    }

    /// The same with a name, and with at most so many bytes of memory.
    pub fn limited(name: &str, quota: Option<Duration>, memory: Option<u64>) -> Result<Self> {
        remove_stale();
        let name = format!("{PREFIX}{}-{name}", std::process::id());
        if is_v2() && (quota.is_some() || memory.is_some()) {
            // Children can be limited only where the parent says so.
            fs::write(Path::new(ROOT).join("cgroup.subtree_control"), "+cpu +memory").map_err(|e| e.to_string())?;
        }
        let paths: Vec<_> = hierarchies().into_iter().map(|path| path.join(&name)).collect();
        for path in &paths {
            fs::create_dir_all(path).map_err(|e| format!("{}: {e}", path.display()))?;
        }
        let cgroup = Self { paths };
        if let Some(quota) = quota {
            if is_v2() {
                cgroup.write("cpu.max", &format!("{} 100000", quota.as_micros()))?;
            } else {
                cgroup.write("cpu.cfs_period_us", "100000")?;
                cgroup.write("cpu.cfs_quota_us", &quota.as_micros().to_string())?;
            }
        }
        if let Some(memory) = memory {
            let (path, file) = if is_v2() { (0, "memory.max") } else { (2, "memory.limit_in_bytes") };
            fs::write(cgroup.paths[path].join(file), memory.to_string()).map_err(|e| format!("{file}: {e}"))?;
        }
        Ok(cgroup)
    }

    fn write(&self, file: &str, value: &str) -> Result<()> {
        fs::write(self.paths[0].join(file), value).map_err(|e| format!("{file}: {e}").into())
    }

    /// The files that a process writes itself to.
    pub fn procs(&self) -> Vec<PathBuf> {
        self.paths.iter().map(|path| path.join("cgroup.procs")).collect()
    }

    /// What its processes have used so far.
    pub fn usage(&self) -> Usage {
        let stat = fs::read_to_string(self.paths[0].join("cpu.stat")).unwrap_or_default();
        let value = |key: &str| {
            let line = stat.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
            line.and_then(|value| value.parse::<u64>().ok()).unwrap_or(0)
        };
        let cpu_us = if is_v2() {
            value("usage_usec") as f64
        } else {
            let usage = fs::read_to_string(self.paths[1].join("cpuacct.usage")).unwrap_or_default();
            usage.trim().parse::<f64>().unwrap_or(0.0) / 1000.0
        };
        Usage { cpu_us, throttled: value("nr_throttled") }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for path in &self.paths {
            // An ended process leaves its cgroup a moment after it was waited for.
            for _ in 0..50 {
                if fs::remove_dir(path).is_ok() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// Removes what a killed run left behind. A cgroup in use refuses to go.
fn remove_stale() {
    for hierarchy in hierarchies() {
        for entry in fs::read_dir(hierarchy).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
            let pid = name.split('-').next().unwrap_or(name);
            if !Path::new("/proc").join(pid).exists() {
                drop(fs::remove_dir(entry.path()));
            }
        }
    }
}
