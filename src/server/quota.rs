//! The CPU quota of the cgroup that this process is in, and of those around it.

use std::{fs, path::Path};

/// How many CPUs this process may use, such as 0.05; `None` without a quota.
pub fn cpu_quota() -> Option<f64> {
    let membership = fs::read_to_string("/proc/self/cgroup").ok()?;
    quota(&membership, Path::new("/sys/fs/cgroup"))
}

/// The least quota on the way from the cgroup of this process to the root: the kernel applies all of them.
fn quota(membership: &str, mount: &Path) -> Option<f64> {
    let cgroup2 = membership.lines().find_map(|line| line.strip_prefix("0::"));
    let cgroup1 = membership.lines().find_map(|line| {
        let (controllers, own) = line.split_once(':')?.1.split_once(':')?;
        controllers.split(',').any(|name| name == "cpu").then_some(own)
    });
    let in_cgroup2 = cgroup2.and_then(|own| least(own, mount, cgroup2_quota));
    in_cgroup2.or_else(|| cgroup1.and_then(|own| least(own, &mount.join("cpu"), cgroup1_quota)))
}

fn least(own: &str, mount: &Path, quota: fn(&Path) -> Option<f64>) -> Option<f64> {
    let own = Path::new(own.trim_start_matches('/'));
    own.ancestors().filter_map(|cgroup| quota(&mount.join(cgroup))).min_by(f64::total_cmp)
}

/// `cpu.max`: quota and period in microseconds (Documentation/admin-guide/cgroup-v2.rst).
fn cgroup2_quota(cgroup: &Path) -> Option<f64> {
    let text = fs::read_to_string(cgroup.join("cpu.max")).ok()?;
    let mut words = text.split_whitespace().map(str::parse::<f64>);
    Some(words.next()?.ok()? / words.next()?.ok()?)
}

/// `cpu.cfs_quota_us` and `cpu.cfs_period_us` (Documentation/scheduler/sched-bwc.rst).
fn cgroup1_quota(cgroup: &Path) -> Option<f64> {
    let read = |name: &str| fs::read_to_string(cgroup.join(name)).ok()?.trim().parse::<f64>().ok();
    let quota = read("cpu.cfs_quota_us").filter(|quota| *quota > 0.0)?;
    Some(quota / read("cpu.cfs_period_us")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(mount: &Path, file: &str, text: &str) {
        let file = mount.join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    #[test]
    fn the_least_quota_of_the_own_cgroup_and_those_around_it_holds() {
        let folder = tempfile::tempdir().unwrap();
        let mount = folder.path();
        let quota = || quota("0::/a.slice/b.slice/c.service\n", mount);
        assert_eq!(quota(), None);
        write(mount, "a.slice/b.slice/c.service/cpu.max", "max 100000\n");
        assert_eq!(quota(), None);
        write(mount, "a.slice/cpu.max", "5000 100000\n");
        assert_eq!(quota(), Some(0.05));
        write(mount, "a.slice/b.slice/cpu.max", "50000 100000\n");
        assert_eq!(quota(), Some(0.05));
        write(mount, "a.slice/b.slice/c.service/cpu.max", "1000 50000\n");
        assert_eq!(quota(), Some(0.02));
    }

    /// In a container with a namespace of its own, its cgroup is the root; without one, its path is that of the host.
    #[test]
    fn the_quota_of_a_container_is_at_the_root_of_what_it_sees() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "cpu.max", "20000 100000\n");
        for own in ["/", "/kubepods.slice/pod.slice", "/../../pod.slice"] {
            assert_eq!(quota(&format!("0::{own}\n"), folder.path()), Some(0.2), "{own}");
        }
    }

    #[test]
    fn the_first_version_of_cgroups_is_read_in_the_same_way() {
        let folder = tempfile::tempdir().unwrap();
        for (cgroup, quota) in [("cpu", "-1"), ("cpu/a", "20000"), ("cpu/a/b", "-1")] {
            write(folder.path(), &format!("{cgroup}/cpu.cfs_quota_us"), quota);
            write(folder.path(), &format!("{cgroup}/cpu.cfs_period_us"), "100000");
        }
        let membership = "5:memory:/x\n4:cpu,cpuacct:/a/b\n1:name=systemd:/y\n0::/\n";
        assert_eq!(quota(membership, folder.path()), Some(0.2));
    }
}
