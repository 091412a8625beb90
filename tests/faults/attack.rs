//! One region dies while the others are under attack.

use std::{
    any::Any,
    env,
    io::{self, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use socket2::SockRef;
use testkit::{
    needs::{Need, require},
    regions::{World, process::wait_for, region::Plan, report},
    rig::cgroup::{self, Cgroup},
    space::Host,
};
use tokio::time::Instant;

use crate::figures::{Lateness, Row, Watch, keep, peak_memory};

/// To reach, in seconds.
const WEBHOOK: f64 = 1.5;
pub(crate) const VOTES: f64 = 0.1;
/// By how many seconds in total the votes of a death may be later than that, where the machine is busy with other suites.
const LATE_VOTES: f64 = 1.0;
/// The part of the slots that may begin after 5 ms, and that may become no probe; and how many may be the machine's.
const SHARE: f64 = 0.01;
const FEW: f64 = 10.0;
/// The same part where one region dies: that is too short a time to say more on a busy machine. What this suite is against
/// made most of them late.
const SHARE_OF_ONE: f64 = 0.2;

/// The limit of memory that is shipped.
const MEMORY: u64 = 64 << 20;

/// How long an attack goes on before a region dies, and at least how long afterwards.
const BEFORE: Duration = Duration::from_secs(1);
const AFTER: Duration = Duration::from_secs(4);

/// How long a webhook is waited for, to say how late it was.
const WAIT: Duration = Duration::from_secs(30);

/// Vantages that are not attacked. What makes these late is the machine.
pub(crate) static BYSTANDERS: Mutex<Option<Bystanders>> = Mutex::new(None);

/// Two regions that watch each other, with the same limits.
pub(crate) struct Bystanders {
    world: Arc<World>,
    _limits: Arc<Vec<Cgroup>>,
}

impl Bystanders {
    fn get() -> Arc<World> {
        let mut bystanders = BYSTANDERS.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let bystanders = bystanders.get_or_insert_with(|| {
            let mut plan = Plan { regions: 2, alertmanagers: 0, pushes: false, ..plan() };
            let limits = limit(&mut plan, 1);
            Self { world: World::new(&plan).into(), _limits: limits.into() }
        });
        Arc::clone(&bystanders.world)
    }
}

const BINARY: &str = "REGIONWATCH_FAULTS_BINARY";

/// Whether the binary is the one that is shipped.
pub(crate) fn is_shipped() -> bool {
    env::var_os(BINARY).is_some()
}

/// A binary that was asked for, and how much CPU time it gets of each 100 ms.
fn program() -> (String, Duration) {
    match env::var(BINARY) {
        Ok(program) => {
            let path = testkit::root().join(&program);
            (
                path.canonicalize().unwrap_or_else(|error| panic!("{program}: {error}")).display().to_string(),
                Duration::from_millis(5),
            )
        }
        Err(_) => (testkit::binary().to_owned(), Duration::from_millis(25)),
    }
}

fn plan() -> Plan {
    Plan { program: program().0, ..Plan::default() }
}

/// Limits the sidecars of a plan to so many times the quota; each has a cgroup of its own.
fn limit(plan: &mut Plan, times: u32) -> Vec<Cgroup> {
    static WORLDS: AtomicU32 = AtomicU32::new(0);
    let world = WORLDS.fetch_add(1, Ordering::Relaxed);
    let (_, quota) = program();
    let regions = (0..plan.regions).map(|n| char::from(b'a' + n));
    let limited = |region: char| {
        let group = Cgroup::limited(&format!("{world}-{region}"), Some(quota * times), Some(MEMORY)).unwrap();
        let enter: String = group.procs().iter().map(|file| format!("echo $$ > {}; ", file.display())).collect();
        plan.shell = format!("[ $REGION != {region} ] || {{ {enter}}}\n{}", plan.shell);
        group
    };
    regions.map(limited).collect()
}

/// An attack that is under way, until it is dropped.
pub(crate) struct Underway {
    hits: Box<dyn Fn() -> f64>,
    least: f64,
    _parts: Vec<Box<dyn Any>>,
}

impl Underway {
    /// One that has hit so often; with less than `least` it was no attack.
    pub(crate) fn new(least: f64, hits: impl Fn() -> f64 + 'static, parts: Vec<Box<dyn Any>>) -> Self {
        Self { hits: Box::new(hits), least, _parts: parts }
    }

    /// One that is where it is.
    pub(crate) fn nothing() -> Self {
        Self::new(0.0, || 0.0, Vec::new())
    }
}

/// How many regions die under each attack.
pub(crate) fn deaths() -> u32 {
    env::var("REGIONWATCH_FAULTS").map_or(1, |count| count.parse().expect("REGIONWATCH_FAULTS is a number of deaths"))
}

/// A region dies under an attack, and nothing else than its death is told, and that in time. `prepare` changes the world
/// before it is made, and `begin` begins the attack on a world that is well.
pub(crate) fn withstood(attack: &str, prepare: impl Fn(&mut Plan), begin: impl Fn(&mut World) -> Underway) {
    withstood_with(1, attack, prepare, begin);
}

/// The same with so many times the CPU: for what is work that a vantage was told to do, or that comes from outside and is
/// more than 5 % of a CPU can do.
pub(crate) fn withstood_with(
    times: u32,
    attack: &str,
    prepare: impl Fn(&mut Plan),
    begin: impl Fn(&mut World) -> Underway,
) {
    static WORKS: LazyLock<bool> = LazyLock::new(|| {
        cgroup::available() && Cgroup::limited("probe", Some(Duration::from_millis(5)), Some(MEMORY)).is_ok()
    });
    require(&[Need::Root, Need::Other("cgroups of version 1 or 2 for CPU and memory that can be written", *WORKS)]);
    let mut rows = Vec::new();
    for _ in 0..deaths() {
        let row = die(attack, times, &prepare, &begin);
        report(&format!("{row:?}"));
        rows.push(row.clone());
        keep(row);
    }
    judge(&rows, times > 1);
}

fn die(attack: &str, times: u32, prepare: &impl Fn(&mut Plan), begin: &impl Fn(&mut World) -> Underway) -> Row {
    let bystanders = Bystanders::get();
    let mut plan = plan();
    prepare(&mut plan);
    let _limits = limit(&mut plan, times);
    let mut world = World::new(&plan);
    let processes = ['a', 'b'].map(|name| world.region(name).sidecar().id());
    let underway = begin(&mut world);
    thread::sleep(BEFORE);

    let watch = |world: &World| {
        let (a, b) = (world.region('a'), world.region('b'));
        [Watch::start(a, &b.host), Watch::start(b, &a.host)]
    };
    let ended = |world: &World, [a, b]: [Watch; 2]| a.end(world.region('a')).add(b.end(world.region('b')));
    let watches = [watch(&world), watch(&bystanders)];
    let died = world.blackhole('c');
    let call = wait_for("the webhook", WAIT, || world.sink.calls("failover").into_iter().next());
    let webhook = call.at.saturating_duration_since(died).as_secs_f64();
    thread::sleep(AFTER.saturating_sub(died.elapsed()));
    let hits = (underway.hits)();
    assert!(hits >= underway.least, "{attack}: {hits} hits are no attack");
    // What was counted is read in peace.
    drop(underway);
    let [survivors, bystanders]: [Lateness; 2] = {
        let [ours, theirs] = watches;
        [ended(&world, ours), ended(&bystanders, theirs)]
    };

    for (name, kind) in world.story() {
        assert!(name == "c" && kind.ends_with(" firing"), "{attack}: told {kind} about {name}");
    }
    let alive = ['a', 'b'].map(|name| world.region(name).sidecar().is_alive());
    assert_eq!(alive, [true; 2], "{attack}: a sidecar ended");
    let memory = processes.map(peak_memory).into_iter().fold(0.0, f64::max);
    Row { attack: attack.to_owned(), hits, webhook, survivors, bystanders, memory }
}

/// What counts is what the attack adds: a machine that is busy with other things makes bystanders late as well, and a few
/// moments of that hit only one of both.
///
/// Where an attack needs more CPU than 5 %, a binary without optimisation can be late, and the other may be a little.
fn judge(rows: &[Row], needs_more: bool) {
    for row in rows {
        let machine = row.bystanders.votes.max(row.bystanders.worst_start);
        assert!(row.webhook <= WEBHOOK + 2.0 * machine, "the webhook was late: {row:?}");
        // Beside a binary without optimisation other suites run, and make the machine busy for half a second at a time, which may
        // hit one of both worlds alone.
        let is_soon = match is_shipped() {
            true => row.survivors.votes <= VOTES + 2.0 * machine,
            false => needs_more || row.survivors.late_votes <= LATE_VOTES + 2.0 * row.bystanders.late_votes,
        };
        assert!(is_soon, "votes were late: {row:?}");
        assert!(row.memory * f64::from(1 << 20) <= MEMORY as f64, "{row:?}");
    }
    let all = |of: fn(&Row) -> Lateness| rows.iter().map(of).fold(Lateness::default(), Lateness::add);
    let (survivors, bystanders) = (all(|row| row.survivors), all(|row| row.bystanders));
    if needs_more && !is_shipped() {
        return;
    }
    let allowed = if rows.len() == 1 || needs_more { SHARE_OF_ONE } else { SHARE };
    let few = |share: f64| FEW + (allowed + 2.0 * share) * survivors.slots();
    assert!(survivors.late <= few(bystanders.late / bystanders.slots()), "probes started late: {rows:?}");
    assert!(survivors.missed <= few(bystanders.missed / bystanders.slots()), "slots were missed: {rows:?}");
}

/// Threads on hosts that do something again and again until this is dropped.
#[derive(Default)]
pub(crate) struct Crew {
    pub(crate) hits: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Crew {
    /// One more thread on a host. It hits where `step` says so.
    pub(crate) fn join(&mut self, host: &Host, mut step: impl FnMut() -> bool + Send + 'static) {
        let (hits, over) = (Arc::clone(&self.hits), Arc::clone(&self.over));
        self.threads.push(host.run(move || {
            thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    if step() {
                        hits.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        }));
    }

    /// Serves connections on a host: what `answer` returns is said once and then again and again, without end, where it
    /// returns no error. Each time is a hit.
    pub(crate) fn serve(
        &mut self,
        host: &Host,
        port: u16,
        answer: impl Fn(&mut TcpStream) -> io::Result<(Vec<u8>, Vec<u8>)> + Send + Sync + 'static,
    ) {
        let listener = host.run(move || TcpListener::bind(("0.0.0.0", port)).unwrap());
        // So that it sees its end.
        SockRef::from(&listener).set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let (hits, over, answer) = (Arc::clone(&self.hits), Arc::clone(&self.over), Arc::new(answer));
        self.join(host, move || {
            let Ok((mut stream, _)) = listener.accept() else { return false };
            let (hits, over, answer) = (Arc::clone(&hits), Arc::clone(&over), Arc::clone(&answer));
            thread::spawn(move || {
                for set in [TcpStream::set_read_timeout, TcpStream::set_write_timeout] {
                    set(&stream, Some(Duration::from_secs(5)))?;
                }
                let (first, again) = answer(&mut stream)?;
                stream.write_all(&first)?;
                while !over.load(Ordering::Relaxed) {
                    stream.write_all(&again)?;
                    hits.fetch_add(1, Ordering::Relaxed);
                }
                io::Result::Ok(())
            });
            false
        });
    }

    /// The attack of which this is all.
    pub(crate) fn attack(self, least: f64) -> Underway {
        let hits = Arc::clone(&self.hits);
        Underway::new(least, move || hits.load(Ordering::Relaxed) as f64, vec![Box::new(self)])
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

/// Waits so that there is one step in this time, from now on where it cannot be kept.
pub(crate) fn pace(began: &mut Instant, done: &mut u32, each: Duration) {
    let due = each * *done;
    match due.checked_sub(began.elapsed()) {
        Some(left) => thread::sleep(left),
        None => (*began, *done) = (Instant::now(), 0),
    }
}
