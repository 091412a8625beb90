//! The log: its disk is full, its reader ended, its reader stalls.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    process::Command,
    thread,
    time::Duration,
};

use tempfile::TempDir;
use testkit::{
    regions::{World, process::wait_for, region::Plan},
    rig::page::sum,
};

use crate::attack::{Underway, withstood};

/// How long it may take until a line is dropped.
const SOON: Duration = Duration::from_secs(30);

#[test]
fn without_an_attack_a_death_is_told_in_time() {
    withstood("none", |_| (), |_| Underway::nothing());
}

/// The survivors log to a place that an attack is about.
fn logs_to(plan: &mut Plan, place: &str) {
    plan.shell = format!("[ $REGION = c ] || exec 2> {place}-$REGION");
}

fn dropped(world: &World, name: char) -> f64 {
    sum(&world.region(name).whole_page().unwrap_or_default(), "regionwatch_log_lines_dropped_total", "")
}

/// Makes the survivors log until lines are dropped: each reload fails, with 100 KB of errors.
fn log_much(world: &World) -> f64 {
    for name in ['a', 'b'] {
        let region = world.region(name);
        let config = fs::read_to_string(&region.config).unwrap();
        let errors: String = (0..300).map(|n| format!("{}{n}: 1\n", "x".repeat(60))).collect();
        fs::write(&region.config, format!("{config}{errors}")).unwrap();
        wait_for("a dropped line", SOON, || {
            region.sidecar().signal("HUP");
            thread::sleep(Duration::from_millis(200));
            (dropped(world, name) >= 1.0).then_some(())
        });
    }
    dropped(world, 'a').min(dropped(world, 'b'))
}

/// A small file system in memory.
struct Disk(TempDir);

impl Disk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(folder.path()).status();
        assert!(mounted.unwrap().success());
        Self(folder)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_under_the_log_delays_nothing() {
    let disk = Disk::new();
    let place = disk.0.path().join("log").display().to_string();
    withstood(
        "log on a full disk",
        |plan| {
            // Another death had another log.
            fs::read_dir(disk.0.path()).unwrap().for_each(|file| fs::remove_file(file.unwrap().path()).unwrap());
            logs_to(plan, &place);
        },
        |world| {
            let hits = log_much(world);
            let full = File::create(disk.0.path().join("rest")).unwrap().write_all(&[0; 65536]);
            assert!(full.is_err(), "the disk is not full");
            Underway::new(1.0, move || hits, Vec::new())
        },
    );
}

/// Pipes for both survivors, and the ends that nobody reads.
fn pipes(folder: &TempDir) -> (String, Vec<File>) {
    let place = folder.path().join("pipe").display().to_string();
    let open = |name| {
        let path = format!("{place}-{name}");
        let _ = fs::remove_file(&path);
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path).unwrap()
    };
    let ends = ["a", "b"].map(open).into();
    (place, ends)
}

#[test]
fn a_log_reader_that_stalls_delays_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let readers = std::cell::RefCell::new(Vec::new());
    withstood(
        "log reader that stalls",
        |plan| {
            let (place, ends) = pipes(&folder);
            readers.replace(ends);
            logs_to(plan, &place);
        },
        |world| {
            let hits = log_much(world);
            Underway::new(1.0, move || hits, Vec::new())
        },
    );
}

#[test]
fn a_log_reader_that_ended_delays_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let readers = std::cell::RefCell::new(Vec::new());
    withstood(
        "log reader that ended",
        |plan| {
            let (place, ends) = pipes(&folder);
            readers.replace(ends);
            logs_to(plan, &place);
        },
        |world| {
            readers.borrow_mut().clear();
            let hits = log_much(world);
            Underway::new(1.0, move || hits, Vec::new())
        },
    );
}
