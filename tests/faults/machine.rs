//! A machine that gives little: threads, descriptors, a file system to write to, time, clocks.

use std::{fs, path::Path, process::Command, thread, time::Duration};

use testkit::{
    needs::{Need, require},
    process::{Running, eventually},
    regions::World,
};

use crate::attack::{Crew, Underway, deaths, withstood};

/// The limits of the survivors, which are to contain this line.
fn limited(world: &World, limit: &str) -> Underway {
    for name in ['a', 'b'] {
        let limits = fs::read_to_string(format!("/proc/{}/limits", world.region(name).sidecar().id())).unwrap();
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(limits.lines().any(|line| words(line).starts_with(limit)), "{limits}");
    }
    Underway::new(1.0, || 1.0, Vec::new())
}

#[test]
fn sixty_four_descriptors_delay_nothing() {
    withstood(
        "RLIMIT_NOFILE 64",
        |plan| plan.shell = "[ $REGION = c ] || ulimit -n 64".to_owned(),
        |world| limited(world, "Max open files 64 64"),
    );
}

/// How far it would come with so few differs by what its parent left open, so the least is a number that is checked first.
#[test]
fn with_too_few_descriptors_it_ends_at_once_and_says_how_many_it_needs() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("regionwatch.yaml");
    let peers = "peers: [{region: b, targets: [{host: 127.0.0.1, probes: [{kind: tcp, port: 9}, {kind: icmp}]}]}]";
    fs::write(&config, format!("region: a\nlisten: 127.0.0.1:0\n{peers}\n")).unwrap();
    let script = |descriptors: u64| {
        format!("ulimit -n {descriptors}; exec {} run --config {}", testkit::binary(), config.display())
    };
    for few in [5, 8, 12, 16, 20, 47] {
        let ended = Command::new("timeout").args(["60", "sh", "-c", &script(few)]).output().unwrap();
        let (status, said) = (ended.status.code(), String::from_utf8_lossy(&ended.stderr).into_owned());
        let wanted = format!("regionwatch: {few} open files are allowed, and at least 48 are needed; raise the limit");
        assert!(said.starts_with(&wanted) && said.lines().count() == 1, "{said}");
        assert_eq!(status, Some(1), "{said}");
    }
    let enough = Running::start("sh", &["-c", &script(48)], &[]);
    eventually("it measures", Duration::from_secs(20), || enough.said().contains("measuring").then_some(()));
    // Those that probes need are opened by now.
    thread::sleep(Duration::from_secs(2));
    assert!(!enough.said().contains("Too many open files"), "{}", enough.said());
}

#[test]
fn a_machine_without_another_thread_delays_nothing() {
    require(&[Need::Tool("setpriv"), Need::Tool("prlimit")]);
    withstood(
        "RLIMIT_NPROC 1",
        |plan| {
            // The limit is not root's, and counts all threads of a user.
            plan.shell = "chmod -R a+rX \"$(dirname \"$0\")\"".to_owned();
            let user = "--reuid $((100000 + $$)) --regid 65532 --clear-groups --pdeathsig KILL";
            plan.program = format!("setpriv {user} {}", plan.program);
        },
        |world| {
            for name in ['a', 'b'] {
                let id = world.region(name).sidecar().id();
                // As that user: root needs a capability for it that a container may lack.
                let user = format!("--reuid {} --regid 65532 --clear-groups", 100_000 + id);
                let limit = format!("prlimit --nproc=1:1 --pid {id}");
                let status = Command::new("setpriv").args(user.split(' ')).args(limit.split(' ')).status();
                assert!(status.unwrap().success());
            }
            // Longer than idle threads are kept, and then something that may want one.
            thread::sleep(Duration::from_secs(11));
            ['a', 'b'].iter().for_each(|name| world.region(*name).sidecar().signal("HUP"));
            limited(world, "Max processes 1 1")
        },
    );
}

#[test]
fn a_file_system_that_cannot_be_written_delays_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("read-only.sh");
    let all = "mount --make-rprivate /\nfor at in / /tmp /dev/shm /run; do mount -o remount,bind,ro $at 2>/dev/null; done\n\
               touch / && exit 1\nexec \"$@\" 2>&-\n";
    fs::write(&script, all).unwrap();
    withstood(
        "read-only file system, no stderr",
        |plan| plan.program = format!("unshare --mount sh {} {}", script.display(), plan.program),
        |_| Underway::new(1.0, || 1.0, Vec::new()),
    );
}

/// How long something is stopped: a minute, where there is time for that.
fn pause() -> Duration {
    Duration::from_secs(if deaths() > 1 { 60 } else { 8 })
}

#[test]
fn a_vantage_that_stood_still_says_nothing_false() {
    withstood(
        "SIGSTOP of a vantage, until then",
        |_| (),
        |world| {
            let stopped = world.region('a').sidecar();
            stopped.signal("STOP");
            thread::sleep(pause());
            stopped.signal("CONT");
            Underway::new(1.0, || 1.0, Vec::new())
        },
    );
}

#[test]
fn a_vantage_that_stands_still_delays_no_other() {
    withstood(
        "SIGSTOP of a peer, all the time",
        // Of five regions, a majority is left.
        |plan| plan.regions = 5,
        |world| {
            world.region('e').sidecar().signal("STOP");
            thread::sleep(pause());
            Underway::new(1.0, || 1.0, Vec::new())
        },
    );
}

/// A library that adds the number of seconds in a file to the clock that tells the date. A real step would be one of the
/// whole machine, and a time namespace has no such clock of its own; the stamps of the kernel do not step here.
fn stepping(folder: &Path) -> String {
    let source = folder.join("step.c");
    let code = "#define _GNU_SOURCE\n#include <dlfcn.h>\n#include <fcntl.h>\n#include <stdlib.h>\n#include <string.h>\n\
                #include <sys/mman.h>\n#include <time.h>\n#include <unistd.h>\n\
                int clock_gettime(clockid_t id, struct timespec *now) {\n\
                \x20 static int (*real)(clockid_t, struct timespec *);\n\
                \x20 static const volatile long *step;\n\
                \x20 if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, \"clock_gettime\");\n\
                \x20 if (!step) {\n\
                \x20   int fd = open(getenv(\"STEP\"), O_RDONLY);\n\
                \x20   step = mmap(0, 4096, PROT_READ, MAP_SHARED, fd, 0);\n\
                \x20   close(fd);\n\
                \x20 }\n\
                \x20 int result = real(id, now);\n\
                \x20 if (id == CLOCK_REALTIME) now->tv_sec += *step;\n\
                \x20 return result;\n\
                }\n";
    fs::write(&source, code).unwrap();
    let library = folder.join("step.so");
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).arg("-ldl").status();
    assert!(built.unwrap().success());
    library.display().to_string()
}

/// The clocks of both survivors step by these seconds, a second apart, again and again.
fn with_steps(attack: &str, steps: &'static [i64]) {
    require(&[Need::Tool("cc")]);
    let folder = tempfile::tempdir().unwrap();
    let library = stepping(folder.path());
    let file = |region: char| folder.path().join(format!("step-{region}"));
    withstood(
        attack,
        |plan| {
            ['a', 'b', 'c'].iter().for_each(|region| fs::write(file(*region), [0; 4096]).unwrap());
            let step = folder.path().join("step-").display().to_string();
            plan.shell = format!("export STEP={step}$REGION LD_PRELOAD={library}");
        },
        |world| {
            let mut crew = Crew::default();
            for region in ['a', 'b'] {
                let (file, mut steps) = (file(region), steps.iter().cycle());
                crew.join(&world.control, move || {
                    let mut page = [0; 4096];
                    page[..8].copy_from_slice(&steps.next().unwrap().to_ne_bytes());
                    // In place: the file is mapped.
                    let mut open = fs::File::options().write(true).open(&file).unwrap();
                    std::io::Write::write_all(&mut open, &page).unwrap();
                    thread::sleep(Duration::from_secs(1));
                    true
                });
            }
            crew.attack(4.0)
        },
    );
}

#[test]
fn clocks_that_step_an_hour_ahead_delay_nothing() {
    with_steps("clocks an hour ahead", &[3600]);
}

#[test]
fn clocks_that_step_to_and_fro_delay_nothing() {
    with_steps("clocks that step by an hour each second", &[3600, 0, -3600, 0]);
}
