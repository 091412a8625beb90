//! One Chromium for all tests, driven by `driver.mjs`.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader, Write as _},
    path::PathBuf,
    process::{ChildStdin, Command, Stdio},
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
        mpsc::{Sender, channel},
    },
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use testkit::{
    needs::{
        Need::{Other, Tool},
        installed, program, require,
    },
    stalls::Patience,
};

/// No order takes longer, of the time that the machine gives.
const PATIENCE: Duration = Duration::from_secs(90);

/// Ends with this process, whose end closes the pipe that its orders come by.
struct Driver {
    orders: Mutex<ChildStdin>,
    waiting: Mutex<HashMap<u64, Sender<Value>>>,
    next: AtomicU64,
}

static DRIVER: OnceLock<Driver> = OnceLock::new();

fn modules() -> PathBuf {
    installed().join("node_modules")
}

/// A browser, and what drives it.
pub(crate) fn need_browser() {
    let package = |name| modules().join(name).is_dir();
    require(&[
        Tool("node"),
        Tool("chromium"),
        Other("the npm package playwright-core (tests/run installs it)", package("playwright-core")),
        Other("the npm package axe-core (tests/run installs it)", package("axe-core")),
    ]);
}

#[allow(clippy::zombie_processes, reason = "it ends after us")]
fn start() -> Driver {
    let mut child = Command::new(program("node").unwrap())
        .arg(testkit::root().join("tests/browser/driver.mjs"))
        .args([modules(), program("chromium").unwrap()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let answers = BufReader::new(child.stdout.take().unwrap());
    thread::spawn(move || {
        for line in answers.lines() {
            let told: Value = serde_json::from_str(&line.unwrap()).unwrap();
            let waiting = DRIVER.get().unwrap().waiting.lock().unwrap().remove(&told["id"].as_u64().unwrap());
            // Whoever has lost patience is gone.
            let _ = waiting.unwrap().send(told);
        }
    });
    Driver {
        orders: Mutex::new(child.stdin.take().unwrap()),
        waiting: Mutex::new(HashMap::new()),
        next: AtomicU64::new(0),
    }
}

/// Has `orders.mjs` do something, and returns its answer.
pub(crate) fn order(run: &str, with: &Value) -> Value {
    let driver = DRIVER.get_or_init(start);
    let id = driver.next.fetch_add(1, Ordering::Relaxed);
    let (sender, answer) = channel();
    driver.waiting.lock().unwrap().insert(id, sender);
    let line = format!("{}\n", json!({"id": id, "run": run, "with": with}));
    driver.orders.lock().unwrap().write_all(line.as_bytes()).unwrap();
    let patience = Patience::of(PATIENCE);
    let mut told = loop {
        match answer.recv_timeout(Duration::from_secs(1)) {
            Ok(told) => break told,
            Err(error) => assert!(!patience.is_over(), "{run} {with}: {error}"),
        }
    };
    assert!(told["error"].is_null(), "{run} {with}: {}", told["error"].as_str().unwrap_or_default());
    told["answer"].take()
}
