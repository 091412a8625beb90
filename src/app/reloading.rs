//! Reading the configuration again while everything goes on.

use std::{future::pending, sync::Arc, time::Duration};

use tokio::{
    sync::oneshot,
    time::{Instant, sleep_until, timeout_at},
};

use crate::{
    config::{Config, Loaded},
    yaml::file::{DEADLINE, Reader},
};

/// Reads the configuration again; the error is every mistake, one a line.
pub type Reload = Box<dyn Fn() -> Result<Loaded, String> + Send + Sync>;

/// From the start of a reload until one that is requested over HTTP starts: strangers may request them without end, and each
/// reads and checks every file.
const SPACING: Duration = Duration::from_secs(1);

/// Threads that may wait for a file system that does not answer. Each ends when its file system answers.
const MAX_HUNG: usize = 4;

type Reply = oneshot::Sender<Result<(), String>>;

/// A configuration that is being read again, and the requests that wait for it. It is read on another thread, because files can
/// be slow, and measuring goes on meanwhile. A thread that hangs is left behind, and keeps no later reload from its work.
pub(super) struct Reloading {
    reload: Arc<Reload>,
    reading: Option<Reading>,
    hung: Vec<Reader>,
    waiting: Vec<Reply>,
    /// Requests since it began: the file may have changed meanwhile.
    next: Vec<Reply>,
    /// Whether the next one starts at once.
    again: bool,
    /// When the last one started, and when the next one starts that was requested over HTTP.
    last: Option<Instant>,
    due: Option<Instant>,
}

struct Reading {
    loaded: oneshot::Receiver<Result<Loaded, String>>,
    started: Result<Reader, String>,
    until: Instant,
}

impl Reloading {
    /// Nothing is being read.
    pub(super) fn new(reload: Reload) -> Self {
        let (waiting, next) = (Vec::new(), Vec::new());
        let (reload, hung) = (Arc::new(reload), Vec::new());
        Self { reload, reading: None, hung, waiting, next, again: false, last: None, due: None }
    }

    /// Reads the configuration, once that was long enough ago, and sends the result to this sender.
    pub(super) fn request(&mut self, reply: Reply) {
        if self.reading.is_some() {
            self.next.push(reply);
            return;
        }
        self.waiting.push(reply);
        self.begin_in_time();
    }

    fn begin_in_time(&mut self) {
        match self.last.map(|last| last + SPACING).filter(|due| *due > Instant::now()) {
            Some(due) => self.due = Some(due),
            None => self.begin(),
        }
    }

    /// Reads the configuration now, or as soon as it has been read.
    pub(super) fn begin(&mut self) {
        if self.reading.is_some() {
            self.again = true;
            return;
        }
        (self.last, self.due) = (Some(Instant::now()), None);
        let (result, loaded) = oneshot::channel();
        let started = self.start(result);
        self.reading = Some(Reading { loaded, started, until: Instant::now() + DEADLINE });
    }

    /// Begins to read; the error says why that is impossible now.
    fn start(&mut self, result: oneshot::Sender<Result<Loaded, String>>) -> Result<Reader, String> {
        self.hung.retain(|reader| !reader.has_ended());
        if let Some(oldest) = self.hung.first().filter(|_| self.hung.len() >= MAX_HUNG) {
            let file = oldest.file();
            return Err(format!(
                "{file}: {MAX_HUNG} earlier reloads still wait for it; repair its file system, or restart"
            ));
        }
        let reload = Arc::clone(&self.reload);
        Reader::start(move || {
            let _ = result.send(reload());
        })
    }

    /// The configuration, once it has been read or the deadline has passed; never where it is not being read.
    pub(super) async fn read(&mut self) -> Result<Loaded, String> {
        if let Some(due) = self.due {
            sleep_until(due).await;
            self.begin();
        }
        let Some(Reading { loaded, until, .. }) = &mut self.reading else { return pending().await };
        let loaded = timeout_at(*until, loaded).await;
        let Some(Reading { started, .. }) = self.reading.take() else { return pending().await };
        let reader = started?;
        match loaded {
            Ok(loaded) => {
                loaded.unwrap_or_else(|_| Err("configuration: the thread that read it ended early".to_owned()))
            }
            Err(_) => {
                let late = reader.late();
                self.hung.push(reader);
                Err(late)
            }
        }
    }

    /// Answers the requests, and reads once more if that was requested meanwhile.
    pub(super) fn finish(&mut self, result: &Result<(), String>) {
        for waiting in self.waiting.drain(..) {
            let _ = waiting.send(result.clone());
        }
        self.waiting.append(&mut self.next);
        if std::mem::take(&mut self.again) {
            self.begin();
        } else if !self.waiting.is_empty() {
            self.begin_in_time();
        }
    }
}

/// Rejects changes of settings that need a restart: one line each, with its place and both values.
pub(super) fn check_restart_only(running: &Config, loaded: &Loaded) -> Result<(), String> {
    let pairs = running.restart_only().zip(loaded.config.restart_only());
    let changed = pairs.filter(|((_, is), (_, asked))| is != asked).map(|((key, is), (_, asked))| {
        let place = loaded.locations.get(key).map_or("configuration", String::as_str);
        format!("{place}: {key}: is {is} and cannot become {asked} while running; restart instead")
    });
    let changed: Vec<_> = changed.collect();
    if changed.is_empty() { Ok(()) } else { Err(changed.join("\n")) }
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::mpsc, time::Duration};

    use super::*;

    /// The deadline passes in virtual time.
    #[tokio::test(start_paused = true)]
    async fn reads_that_hang_are_left_behind_and_only_a_few_of_them() {
        let (release, hang) = mpsc::channel::<()>();
        let (hang, (ended, end)) = (std::sync::Mutex::new(hang), mpsc::channel());
        let reload = move || {
            let _ = hang.lock().unwrap().recv();
            let _ = ended.send(());
            Err("read".to_owned())
        };
        let mut reloading = Reloading::new(Box::new(reload));
        for _ in 0..MAX_HUNG {
            let (reply, mut replied) = oneshot::channel();
            let asked = Instant::now();
            reloading.request(reply);
            let late = reloading.read().await.unwrap_err();
            assert_eq!((late.contains("was not read within 5 s"), asked.elapsed().as_secs()), (true, 5), "{late}");
            reloading.finish(&Err(late.clone()));
            assert_eq!(replied.try_recv(), Ok(Err(late)));
        }
        let asked = Instant::now();
        reloading.begin();
        let refused = reloading.read().await.unwrap_err();
        assert!(
            refused.contains("4 earlier reloads still wait") && asked.elapsed() < Duration::from_secs(1),
            "{refused}"
        );

        drop(release);
        (0..MAX_HUNG).for_each(|_| end.recv().unwrap());
        while !reloading.hung.iter().all(Reader::has_ended) {
            std::thread::yield_now();
        }
        tokio::time::resume();
        reloading.begin();
        assert_eq!(reloading.read().await.unwrap_err(), "read");
    }

    #[tokio::test]
    async fn a_request_during_a_read_gets_the_result_of_the_next_one() {
        let mut reloading = Reloading::new(Box::new(|| Err("read".to_owned())));
        let [(first, mut one), (second, mut two)] = [oneshot::channel(), oneshot::channel()];
        reloading.request(first);
        reloading.request(second);
        for (result, waits) in [("older", true), ("newer", false)] {
            assert_eq!(reloading.read().await.unwrap_err(), "read");
            reloading.finish(&Err(result.to_owned()));
            assert_eq!(two.try_recv().is_err(), waits);
        }
        assert_eq!(one.try_recv(), Ok(Err("older".to_owned())));
        assert!(reloading.reading.is_none());
    }

    #[tokio::test]
    async fn requests_without_end_make_one_reload_per_second_and_a_signal_does_not_wait() {
        let mut reloading = Reloading::new(Box::new(|| Err("read".to_owned())));
        let began = Instant::now();
        let (mut starts, mut replies) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            for _ in 0..100 {
                let (reply, replied) = oneshot::channel();
                reloading.request(reply);
                replies.push(replied);
            }
            let _ = reloading.read().await;
            starts.push(reloading.last.unwrap() - began);
            reloading.finish(&Err("done".to_owned()));
        }
        assert!(starts.iter().zip(0..).all(|(start, n)| *start >= SPACING * n), "{starts:?}");
        assert!(replies.into_iter().all(|mut replied| replied.try_recv().is_ok()));

        let (reply, mut replied) = oneshot::channel();
        // However long the machine stood still since.
        reloading.last = Some(Instant::now());
        reloading.request(reply);
        assert!(reloading.reading.is_none());
        reloading.begin();
        assert!(reloading.reading.is_some());
        let _ = reloading.read().await;
        reloading.finish(&Err("signal".to_owned()));
        assert_eq!(replied.try_recv(), Ok(Err("signal".to_owned())));
        assert!(reloading.due.is_none() && reloading.reading.is_none());
    }

    #[test]
    fn a_restart_only_setting_is_reported_with_its_place_and_both_values() {
        let load = |text: &str| {
            let peers = "peers: [{region: b, targets: [{host: h, probes: [{kind: icmp}]}]}]\n";
            Config::load(Some((Path::new("c.yaml"), &format!("{text}{peers}"))), []).unwrap()
        };
        let running = load("region: a\nlisten: 127.0.0.1:1\nenable_lifecycle: true\nwindow: 1m\n").config;
        let refused = |text: &str| check_restart_only(&running, &load(text)).err().unwrap_or_default();
        assert_eq!(refused("region: a\nlisten: 127.0.0.1:1\nenable_lifecycle: true\n"), "");
        assert_eq!(
            refused("zone: eu\nregion: c\nlisten: 127.0.0.1:2\nlog: {level: warn}\nbuckets: [0.5]\n"),
            "c.yaml:2:9: region: is a and cannot become c while running; restart instead\n\
             c.yaml:3:9: listen: is 127.0.0.1:1 and cannot become 127.0.0.1:2 while running; restart instead\n\
             c.yaml:5:10: buckets: is [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, \
             0.5, 1.0] and cannot become [0.5] while running; restart instead\n\
             c.yaml: enable_lifecycle: is true and cannot become false while running; restart instead\n\
             c.yaml:4:14: log.level: is info and cannot become warn while running; restart instead"
        );
    }
}
