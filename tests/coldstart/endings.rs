//! Runs that do not end as they should: what was measured is reported, and the exit status says why.

use std::{
    env, fs,
    io::{self, Read, Write},
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::Value;
use testkit::{
    binary,
    engine::docker,
    images::{need, server},
    process::{Running, eventually, output},
};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// How often the one image of a report was ready.
fn starts(json: &str) -> usize {
    let report: Value = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
    report["results"][0]["times"].as_array().unwrap().len()
}

#[test]
fn a_report_that_cannot_be_written_is_exit_status_1_and_no_other_one_is_lost() {
    need();
    let quick = server("quick", &[]);
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("r.json").display().to_string();
    let once = ["coldstart", &quick, "--rounds", "1", "--present", "all", "--out", &json];
    let run = output(&[&once[..], &["--out", "csv=/dev/full", "--save", "/dev/full"]].concat(), &[]);
    let said = text(&run.stderr);
    assert_eq!(run.status.code(), Some(1), "{run:?}");
    assert!(said.contains("--out /dev/full: ") && said.contains("--save /dev/full: "), "{said}");
    assert!(text(&run.stdout).starts_with("1 image, 1 round, "), "{run:?}");
    assert_eq!(starts(&json), 1);

    // A broken threshold says more than a full disk.
    fs::remove_file(&json).unwrap();
    let broken = ["--threshold", "probe_duration: max<1", "--out", "csv=/dev/full"];
    let run = output(&[&once[..], &broken].concat(), &[]);
    assert_eq!((run.status.code(), starts(&json)), (Some(99), 1), "{run:?}");

    fs::remove_file(&json).unwrap();
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let run = Command::new(binary()).args(once).stdin(Stdio::null()).stdout(full).output().unwrap();
    assert_eq!((run.status.code(), starts(&json)), (Some(1), 1), "{run:?}");
    assert!(text(&run.stderr).contains("stdout: "), "{run:?}");
}

#[test]
fn a_file_that_cannot_be_written_is_said_before_anything_is_started() {
    for option in ["--out", "--save"] {
        let run = output(&["coldstart", "a", "--engine", "unix:///nothing", option, "/nothing/r.json"], &[]);
        assert_eq!(run.status.code(), Some(64), "{run:?}");
        assert!(text(&run.stderr).contains(&format!("{option} /nothing/r.json: No such file")), "{run:?}");
    }
}

#[test]
fn an_interrupted_run_reports_and_saves_what_it_has_measured() {
    need();
    let quick = server("quick", &[]);
    let folder = tempfile::tempdir().unwrap();
    let [json, saved] = ["r.json", "saved.json"].map(|name| folder.path().join(name).display().to_string());
    let many = ["coldstart", &quick, "--rounds", "1000", "--present", "all", "--out", &json, "--save", &saved];
    let mut run = Running::start(binary(), &many, &[]);
    // The names of containers end with their number, and a round has two.
    let listed = ["ps", "--all", "--format", "{{.Names}}", "--filter", "label=io.regionwatch.coldstart"];
    eventually("some rounds are done", Duration::from_secs(120), || {
        let names = docker(&listed);
        let mut numbers = names.lines().filter_map(|name| name.rsplit('-').next()?.parse::<usize>().ok());
        numbers.find(|number| *number >= 8)
    });
    run.signal("TERM");
    assert_eq!(run.ends_within(Duration::from_secs(60)), 143, "{}", run.said());
    let starts = starts(&json);
    assert!((3..1000).contains(&starts), "{starts}: {}", run.said());
    assert!(run.said().contains(&format!("1 image, {starts} round")), "{}", run.said());
    let saved = fs::read_to_string(&saved).unwrap();
    assert!(saved.contains(&quick), "{saved}");
}

#[test]
fn a_threshold_that_aborts_ends_the_run_early_with_a_report_and_exit_status_99() {
    need();
    let quick = server("quick", &[]);
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("r.json").display().to_string();
    let many = ["coldstart", &quick, "--rounds", "1000", "--present", "all", "--out", &json];
    let run = output(&[&many[..], &["--threshold", "probe_duration: max<1 abortOnFail"]].concat(), &[]);
    assert_eq!(run.status.code(), Some(99), "{run:?}");
    let starts = starts(&json);
    assert!((1..1000).contains(&starts), "{starts}: {run:?}");
}

/// A socket that leads to the engine, but ends the connection of the removal of a container with this number.
fn breaking(socket: &Path, number: usize) {
    let engine = env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned());
    let engine = engine.strip_prefix("unix://").unwrap().to_owned();
    let listener = UnixListener::bind(socket).unwrap();
    let removals = Arc::new(AtomicUsize::new(0));
    // It ends with the process.
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let (engine, removals) = (engine.clone(), Arc::clone(&removals));
            thread::spawn(move || passed(client, &engine, &removals, number));
        }
    });
}

fn passed(mut client: UnixStream, engine: &str, removals: &AtomicUsize, number: usize) -> io::Result<()> {
    let mut first = [0; 4096];
    let length = client.read(&mut first)?;
    let is_removal = first.starts_with(b"DELETE /containers/");
    if is_removal && removals.fetch_add(1, Ordering::Relaxed) == number {
        return client.shutdown(Shutdown::Both);
    }
    let mut engine = UnixStream::connect(engine)?;
    engine.write_all(&first[..length])?;
    let (mut from, mut to) = (client.try_clone()?, engine.try_clone()?);
    thread::spawn(move || io::copy(&mut from, &mut to).and_then(|_| to.shutdown(Shutdown::Write)));
    io::copy(&mut engine, &mut client)?;
    client.shutdown(Shutdown::Both)
}

#[test]
fn an_engine_that_breaks_off_is_exit_status_1_and_what_was_measured_is_reported() {
    need();
    let quick = server("quick", &[]);
    let folder = tempfile::tempdir().unwrap();
    let (json, socket) = (folder.path().join("r.json").display().to_string(), folder.path().join("socket"));
    // Each round removes two containers, and the first round does not count.
    breaking(&socket, 6);
    let engine = format!("unix://{}", socket.display());
    let run = output(&["coldstart", &quick, "--engine", &engine, "--present", "all", "--out", &json], &[]);
    assert_eq!(run.status.code(), Some(1), "{run:?}");
    assert_eq!(starts(&json), 2, "{run:?}");
    assert!(text(&run.stderr).contains("the engine did not remove a container"), "{run:?}");
    assert!(text(&run.stdout).contains("This is what there was when the comparison broke off"), "{run:?}");
    assert_eq!(docker(&["ps", "--all", "--quiet", "--filter", "label=io.regionwatch.coldstart"]), "");
}
