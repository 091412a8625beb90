//! What a restart of all vantages must not forget, in a file of `state_dir`.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tracing::{error, info};

use super::error::RunError;
use crate::{
    decision::{self, Now, Orderer, Remembered, votes::FailedOver},
    model::{LabelValue, Region, UnixMillis},
    yaml::file,
};

const FILE: &str = "failovers.json";

/// What operators commanded, one JSON object per line; only ever appended to.
const AUDIT: &str = "audit.log";

/// The version of the form. Fields may be added to it; one that changes its meaning makes a new version.
const VERSION: u32 = 1;

/// The most bytes that are read: a thousand regions fit in.
const MAX_BYTES: u64 = 1 << 20;

/// How long the end of the process waits for the last write.
const LAST_WRITE: Duration = Duration::from_secs(2);

/// When to try again to write, if that has failed.
const RETRY: Duration = Duration::from_secs(10);

#[derive(Debug, Serialize, Deserialize)]
struct Document {
    version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    environment: Option<String>,
    failovers: Vec<Failover>,
    #[serde(default)]
    released: Vec<Released>,
    /// The signed statements of operators. They are verified when they are taken.
    #[serde(default)]
    statements: Vec<String>,
    /// Whether another vantage has told which there are. A file that does not say so is no record of them.
    #[serde(default)]
    informed: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Failover {
    region: String,
    incident: String,
    onset: String,
    target: String,
    ordered_at: String,
    /// Whether this vantage has ordered it, and not only others.
    ordered_here: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Released {
    region: String,
    incident: String,
    released_at: String,
}

/// What is to be written.
#[derive(Debug)]
enum Job {
    /// The document, in place of the one before.
    Document(Vec<u8>),
    /// A line of the audit log.
    Audit(Vec<u8>),
}

/// Writes the file, on a thread of its own: a disk may take long. When dropped, it waits a moment for what is left.
#[derive(Debug)]
pub(super) struct StateDir {
    environment: Option<String>,
    jobs: Option<mpsc::Sender<Job>>,
    /// Disconnected when the thread has written all.
    ended: mpsc::Receiver<()>,
}

impl StateDir {
    /// Creates the folder if there is none, and reads what the process before this one has left. A file that is not understood
    /// is kept beside the new one.
    ///
    /// # Errors
    /// The folder cannot be used, or its file cannot be read: to start without it could fail over another region too many.
    pub(super) fn open(
        folder: &Path,
        environment: Option<LabelValue>,
        now: Now,
    ) -> Result<(Self, Remembered), RunError> {
        let environment = environment.map(|environment| environment.to_string());
        let owned = folder.to_owned();
        let content = file::in_time(move || content(&owned));
        let content = content.and_then(|content| content.map_err(|error| error.to_string()));
        let content =
            content.map_err(|reason| RunError::State(format!("cannot use {}: {reason}", folder.display())))?;
        let document = content.map(|bytes| document(&bytes, environment.as_deref(), now));
        let before = document.unwrap_or_else(|| Ok(Remembered::default())).unwrap_or_else(|reason| {
            let (file, aside) = (folder.join(FILE), folder.join(format!("{FILE}.unusable-{}", now.unix.0)));
            let kept = fs::rename(&file, &aside).map_or_else(|error| error.to_string(), |()| aside.display().to_string());
            error!(
                "state_dir: {} {reason}; its failovers are not known here, so look into {kept}, and ask the other vantages",
                file.display()
            );
            Remembered::default()
        });
        for (region, failover, _) in &before.failovers {
            info!(%region, incident = %failover.id, target = %failover.target, "the region was failed over before the start of this process, and is not released");
        }
        let ((jobs, received), (ends, ended)) = (mpsc::channel(), mpsc::channel());
        let folder = folder.to_owned();
        let work = move || {
            keep(&folder, &received);
            drop(ends);
        };
        std::thread::Builder::new().name("state".to_owned()).spawn(work).map_err(RunError::System)?;
        Ok((Self { environment, jobs: Some(jobs), ended }, before))
    }

    /// Writes this in place of what was there. Never waits.
    pub(super) fn write(&self, remembered: &Remembered, now: Now) {
        let failover = |(region, failover, by): &(Region, FailedOver, Orderer)| Failover {
            region: region.to_string(),
            incident: failover.id.to_string(),
            onset: failover.onset.to_string(),
            target: failover.target.to_string(),
            ordered_at: now.unix_at(failover.at).to_string(),
            ordered_here: *by == Orderer::ThisVantage,
        };
        let released = |(region, released): &(Region, decision::Released)| Released {
            region: region.to_string(),
            incident: released.id.to_string(),
            released_at: now.unix_at(released.at).to_string(),
        };
        let document = Document {
            version: VERSION,
            environment: self.environment.clone(),
            failovers: remembered.failovers.iter().map(failover).collect(),
            released: remembered.released.iter().map(released).collect(),
            statements: remembered.statements.iter().map(ToString::to_string).collect(),
            informed: remembered.informed,
        };
        // Only strings and numbers: serialization cannot fail.
        let bytes = serde_json::to_vec_pretty(&document).unwrap_or_default();
        self.send(Job::Document(bytes));
    }

    /// Appends a line to the audit log. Never waits.
    pub(super) fn audit(&self, line: &impl Serialize) {
        let mut bytes = serde_json::to_vec(line).unwrap_or_default();
        bytes.push(b'\n');
        self.send(Job::Audit(bytes));
    }

    fn send(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            // The thread ends only after this.
            let _ = jobs.send(job);
        }
    }
}

impl Drop for StateDir {
    fn drop(&mut self) {
        self.jobs = None;
        // A disk that hangs must not keep the process from ending.
        if self.ended.recv_timeout(LAST_WRITE) == Err(RecvTimeoutError::Timeout) {
            error!("state_dir: the disk has not taken what was written last within {} s", LAST_WRITE.as_secs());
        }
    }
}

/// Creates the folder, and reads the file in it, if there is one; at most one byte more than is understood.
fn content(folder: &Path) -> io::Result<Option<Vec<u8>>> {
    fs::create_dir_all(folder)?;
    // A folder that cannot be written to is found now, and not with the first failover.
    let trial = folder.join(format!("{FILE}.trial"));
    File::create(&trial).and_then(|_| fs::remove_file(&trial))?;
    let file = match File::open(folder.join(FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

fn document(bytes: &[u8], environment: Option<&str>, now: Now) -> Result<Remembered, String> {
    if bytes.len() as u64 > MAX_BYTES {
        return Err("is larger than 1 MiB".to_owned());
    }
    let document: Document = serde_json::from_slice(bytes).map_err(|error| format!("is not understood ({error})"))?;
    if document.version != VERSION {
        return Err(format!("has version {}, and {VERSION} is understood", document.version));
    }
    // The name of the environment may have been added since.
    if document.environment.is_some() && document.environment.as_deref() != environment {
        return Err("is of another environment".to_owned());
    }
    document.read(now).ok_or_else(|| "has a name or a time that is none".to_owned())
}

impl Document {
    fn read(self, now: Now) -> Option<Remembered> {
        // The monotonic clock may have begun later.
        let instant = |text: &str| {
            let age = now.unix.0.saturating_sub(UnixMillis::parse(text)?.0);
            Some(now.instant.checked_sub(Duration::from_millis(age)).unwrap_or(now.instant))
        };
        let failover = |failover: Failover| {
            let told = FailedOver {
                id: failover.incident.into(),
                onset: UnixMillis::parse(&failover.onset)?,
                target: Region::new(&failover.target).ok()?,
                at: instant(&failover.ordered_at)?,
            };
            Some((Region::new(&failover.region).ok()?, told, Orderer::of(failover.ordered_here)))
        };
        let released = |released: Released| {
            let told = decision::Released { id: released.incident.into(), at: instant(&released.released_at)? };
            Some((Region::new(&released.region).ok()?, told))
        };
        Some(Remembered {
            failovers: self.failovers.into_iter().map(failover).collect::<Option<_>>()?,
            released: self.released.into_iter().map(released).collect::<Option<_>>()?,
            statements: self.statements.into_iter().map(Arc::from).collect(),
            informed: self.informed,
        })
    }
}

/// Writes the newest document, and again until that succeeds.
fn keep(folder: &Path, jobs: &mpsc::Receiver<Job>) {
    let mut unwritten: Option<Vec<u8>> = None;
    loop {
        let received = match &unwritten {
            None => jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(_) => jobs.recv_timeout(RETRY),
        };
        match received {
            Ok(Job::Document(document)) => unwritten = Some(document),
            Ok(Job::Audit(line)) => {
                if let Err(error) = append(folder, &line) {
                    error!("state_dir: cannot write {}: {error}", folder.join(AUDIT).display());
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let Some(document) = &unwritten else { continue };
        match replace(folder, document) {
            Ok(()) => unwritten = None,
            Err(error) => error!("state_dir: cannot write {}: {error}; trying again", folder.join(FILE).display()),
        }
    }
}

fn append(folder: &Path, line: &[u8]) -> io::Result<()> {
    let mut file = File::options().append(true).create(true).open(folder.join(AUDIT))?;
    file.write_all(line)?;
    file.sync_all()
}

/// Puts a file in the place of the other one, so that a crash leaves one of both.
fn replace(folder: &Path, document: &[u8]) -> io::Result<()> {
    let new: PathBuf = folder.join(format!("{FILE}.new"));
    let mut file = File::create(&new)?;
    file.write_all(document)?;
    file.sync_all()?;
    fs::rename(&new, folder.join(FILE))?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    fn now() -> Now {
        Now { instant: Instant::now() + Duration::from_secs(3_600), unix: UnixMillis(1_795_230_245_123) }
    }

    fn region(name: &str) -> Region {
        Region::new(name).unwrap()
    }

    fn remembered(now: Now) -> Remembered {
        let at = now.instant - Duration::from_secs(60);
        let failover = FailedOver { id: "x-1".into(), onset: UnixMillis(1_795_230_000_000), target: region("a"), at };
        let released = decision::Released { id: "y-2".into(), at: at - Duration::from_secs(60) };
        let other = FailedOver { id: "z-1".into(), ..failover.clone() };
        Remembered {
            failovers: vec![(region("x"), failover, Orderer::ThisVantage), (region("z"), other, Orderer::Others)],
            released: vec![(region("y"), released)],
            statements: vec!["a signed statement".into()],
            informed: true,
        }
    }

    fn open(folder: &Path, environment: Option<&str>, now: Now) -> Remembered {
        let environment = environment.map(|name| LabelValue::new(name).unwrap());
        StateDir::open(folder, environment, now).unwrap().1
    }

    #[test]
    fn what_was_written_last_is_read_by_the_next_process() {
        let folder = tempfile::tempdir().unwrap();
        let (folder, now) = (folder.path().join("made/here"), now());
        let (state, before) = StateDir::open(&folder, None, now).unwrap();
        assert_eq!(before, Remembered::default());
        for _ in 0..100 {
            state.write(&Remembered::default(), now);
        }
        state.write(&remembered(now), now);
        drop(state);
        assert_eq!(open(&folder, None, now), remembered(now));
        let files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(files, [FILE], "nothing else is left");
    }

    /// It was written before another instance was heard, or by a version that did not say.
    #[test]
    fn a_file_that_does_not_say_so_is_no_record_of_what_operators_have_stated() {
        let (folder, now) = (tempfile::tempdir().unwrap(), now());
        let file = r#"{"version":1,"failovers":[],"statements":["a signed statement"]}"#;
        fs::write(folder.path().join(FILE), file).unwrap();
        let read = open(folder.path(), None, now);
        assert_eq!((read.informed, read.statements), (false, remembered(now).statements));
    }

    /// As on a network file system whose server is away.
    #[test]
    fn a_disk_that_hangs_does_not_keep_the_process_from_ending() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::open(folder.path(), None, now()).unwrap().0;
        let pipe = folder.path().join(format!("{FILE}.new"));
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        // Hangs until another one reads the pipe.
        state.write(&remembered(now()), now());
        let begin = Instant::now();
        drop(state);
        assert!(begin.elapsed() >= LAST_WRITE, "it did not hang");
        // The pipe ends with its reader, so that the thread does, too.
        drop(File::options().read(true).open(&pipe).unwrap());
    }

    #[test]
    fn the_audit_log_is_only_appended_to() {
        let folder = tempfile::tempdir().unwrap();
        for n in 1..=3 {
            let state = StateDir::open(folder.path(), None, now()).unwrap().0;
            state.audit(&n);
            state.write(&Remembered::default(), now());
        }
        assert_eq!(fs::read_to_string(folder.path().join(AUDIT)).unwrap(), "1\n2\n3\n");
    }

    #[test]
    fn a_file_that_cannot_be_used_is_kept_aside() {
        let folder = tempfile::tempdir().unwrap();
        let (file, mut now) = (folder.path().join(FILE), now());
        let environment = Some(LabelValue::new("test").unwrap());
        let state = StateDir::open(folder.path(), environment, now).unwrap().0;
        state.write(&remembered(now), now);
        drop(state);
        let good = fs::read_to_string(&file).unwrap();
        for (bad, environment) in [
            ("{".to_owned(), Some("test")),
            (good.replace("\"version\": 1", "\"version\": 2"), Some("test")),
            (good.replace("\"x\"", "\"\""), Some("test")),
            (good.replace("2026-", "26-"), Some("test")),
            (" ".repeat(MAX_BYTES as usize + 1), Some("test")),
            (good, Some("prod")),
        ] {
            fs::write(&file, &bad).unwrap();
            now.unix.0 += 1;
            assert_eq!(open(folder.path(), environment, now), Remembered::default());
            let aside = folder.path().join(format!("{FILE}.unusable-{}", now.unix.0));
            assert!(!file.exists() && fs::read_to_string(aside).unwrap() == bad);
        }
        let all = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(all, 6, "none takes the place of another one");
    }

    #[test]
    fn a_file_from_before_the_environment_had_a_name_is_of_this_one() {
        let (folder, now) = (tempfile::tempdir().unwrap(), now());
        let state = StateDir::open(folder.path(), None, now).unwrap().0;
        state.write(&remembered(now), now);
        drop(state);
        assert_eq!(open(folder.path(), Some("prod"), now), remembered(now));
    }

    #[test]
    fn a_folder_that_cannot_be_used_is_an_error_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(StateDir::open(&file, None, now()), Err(RunError::State(_))));
        // Nor can a file that is no file: what is in it is not known.
        fs::create_dir(folder.path().join(FILE)).unwrap();
        assert!(matches!(StateDir::open(folder.path(), None, now()), Err(RunError::State(_))));
    }
}
