//! The CPU quota of the cgroup that this process is in.

use std::fs;

/// How many CPUs this process may use, such as 0.05; `None` without a quota.
pub fn cpu_quota() -> Option<f64> {
    cgroup2_quota().or_else(cgroup1_quota)
}

/// `cpu.max`: quota and period in microseconds (Documentation/admin-guide/cgroup-v2.rst).
fn cgroup2_quota() -> Option<f64> {
    let cgroup = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = cgroup.lines().find_map(|line| line.strip_prefix("0::"))?;
    let text = fs::read_to_string(format!("/sys/fs/cgroup{own}/cpu.max"))
        .or_else(|_| fs::read_to_string("/sys/fs/cgroup/cpu.max"))
        .ok()?;
    let mut words = text.split_whitespace().map(str::parse::<f64>);
    Some(words.next()?.ok()? / words.next()?.ok()?)
}

/// `cpu.cfs_quota_us` and `cpu.cfs_period_us` (Documentation/scheduler/sched-bwc.rst).
fn cgroup1_quota() -> Option<f64> {
    let cgroup = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = cgroup.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let controllers = parts.next()?;
        controllers.split(',').any(|name| name == "cpu").then(|| parts.next()).flatten()
    })?;
    let read = |name: &str| {
        [format!("/sys/fs/cgroup/cpu{own}/{name}"), format!("/sys/fs/cgroup/cpu/{name}")]
            .iter()
            .find_map(|path| fs::read_to_string(path).ok()?.trim().parse::<f64>().ok())
    };
    let quota = read("cpu.cfs_quota_us").filter(|quota| *quota > 0.0)?;
    Some(quota / read("cpu.cfs_period_us")?)
}
