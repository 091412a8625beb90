//! Queries to the engine, and its answers while they are fresh.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{Mutex, mpsc, oneshot},
    time::{Instant, sleep_until, timeout},
};

use super::{
    api::PathFilter,
    limits::Limits,
    response::Rejection,
    state::{EncodedVotes, Histories, Query},
};
use crate::{
    decision::Explanation,
    model::{Path, Region},
    status::Overview,
    window::PathHistory,
};

/// Paths whose last probes are kept for the next reader; some 15 KiB each.
const CACHED_HISTORIES: usize = 32;

/// What the status page shows, and the page itself once it has been requested.
#[derive(Clone)]
pub(super) struct Snapshot {
    pub(super) overview: Arc<Overview>,
    pub(super) page: Arc<OnceLock<Bytes>>,
}

/// Queries the engine, at most as often as answers expire.
pub(super) struct EngineClient {
    queries: mpsc::Sender<Query>,
    limits: Limits,
    votes: Cache<EncodedVotes>,
    snapshot: Cache<Snapshot>,
    history_cache: Mutex<Vec<(Instant, Arc<PathHistory>)>>,
    explanation_cache: Mutex<Vec<(Instant, Arc<Explanation>)>>,
    copies: Mutex<Copies>,
    /// When the next command may be given.
    next_command: Mutex<Option<Instant>>,
}

/// When the next histories may be copied, and how long the copies before them were paid for.
#[derive(Default)]
struct Copies {
    next: Option<Instant>,
    pause: Duration,
}

impl EngineClient {
    pub(super) fn new(queries: mpsc::Sender<Query>, limits: Limits) -> Self {
        let (history_cache, explanation_cache, copies) = (Mutex::default(), Mutex::default(), Mutex::default());
        let (votes, snapshot, next_command) = (Cache::default(), Cache::default(), Mutex::default());
        Self { queries, limits, votes, snapshot, history_cache, explanation_cache, copies, next_command }
    }

    /// The vote message of this vantage.
    pub(super) async fn votes(&self) -> Result<EncodedVotes, Rejection> {
        self.in_time(self.votes.get(self.limits.votes_max_age, self.query(Query::Votes))).await
    }

    /// What the status page shows.
    pub(super) async fn snapshot(&self) -> Result<Snapshot, Rejection> {
        let copy = async {
            let overview = Arc::new(self.query(Query::Overview).await?);
            Ok(Snapshot { overview, page: Arc::default() })
        };
        self.in_time(self.snapshot.get(self.limits.overview_max_age, copy)).await
    }

    /// The last probes of a path, shared like the snapshot.
    pub(super) async fn history(&self, path: &Path) -> Result<Arc<PathHistory>, Rejection> {
        self.in_time(async {
            let mut cache = self.history_cache.lock().await;
            cache.retain(|(at, _)| at.elapsed() < self.limits.overview_max_age);
            if let Some((_, history)) = cache.iter().find(|(_, history)| history.path == *path) {
                return Ok(Arc::clone(history));
            }
            let at = Instant::now();
            let (peer, target) = (Some(path.peer.clone()), Some(path.target.clone()));
            let found =
                self.probes(PathFilter { peer, target, kind: Some(path.kind), paths: 1, samples: None }).await?;
            let found = found.into_iter().find(|history| history.path == *path);
            let history = Arc::new(found.unwrap_or_else(|| PathHistory { path: path.clone(), samples: Vec::new() }));
            let surplus = (cache.len() + 1).saturating_sub(CACHED_HISTORIES);
            cache.drain(..surplus);
            cache.push((at, Arc::clone(&history)));
            Ok(history)
        })
        .await
    }

    /// The decision about a peer, shared like the snapshot; `None` if there is no such peer.
    pub(super) async fn explain(&self, peer: &Region) -> Result<Option<Arc<Explanation>>, Rejection> {
        self.in_time(async {
            let mut cache = self.explanation_cache.lock().await;
            cache.retain(|(at, _)| at.elapsed() < self.limits.overview_max_age);
            if let Some((_, known)) = cache.iter().find(|(_, known)| known.region == *peer) {
                return Ok(Some(Arc::clone(known)));
            }
            let (at, region) = (Instant::now(), peer.clone());
            let found = self.query(|reply| Query::Explain { region, reply }).await?.map(Arc::new);
            cache.extend(found.iter().map(|found| (at, Arc::clone(found))));
            Ok(found)
        })
        .await
    }

    /// The recent probes of the selected paths. They are copied on the thread that probes, so one copy at a time is made, and the
    /// next one when as much time has passed as strangers need to earn its cost.
    pub(super) async fn probes(&self, filter: PathFilter) -> Result<Vec<PathHistory>, Rejection> {
        let (limit, samples) = (filter.paths, filter.samples);
        let copied = async {
            let mut copies = self.copies.lock().await;
            if let Some(next) = copies.next {
                sleep_until(next).await;
            }
            // A client that leaves early has had a part of it copied.
            copies.next = Some(Instant::now() + copies.pause);
            let Histories { mut paths, cost } = self.ask(|reply| Query::Probes { filter, reply }).await?;
            copies.pause = cost.div_f64(self.limits.strangers_cpu);
            copies.next = Some(Instant::now() + copies.pause);
            paths.truncate(limit);
            if let Some(samples) = samples {
                for PathHistory { samples: kept, .. } in &mut paths {
                    kept.drain(..kept.len().saturating_sub(samples));
                }
            }
            Ok(paths)
        };
        self.in_time(copied).await
    }

    /// Reloads the configuration; the inner error has one mistake per line.
    pub(super) async fn reload(&self) -> Result<Result<(), String>, Rejection> {
        timeout(self.limits.reload_timeout, self.ask(Query::Reload)).await.unwrap_or(Err(Rejection::TIMED_OUT))
    }

    /// Gives a command of an operator to the engine. Anyone may send one, and its signature is verified on the thread that
    /// probes, so one at a time is given.
    pub(super) async fn command(&self, value: Bytes) -> Result<Result<String, String>, Rejection> {
        let given = async {
            let mut next = self.next_command.lock().await;
            if let Some(next) = *next {
                sleep_until(next).await;
            }
            *next = Some(Instant::now() + self.limits.command_spacing);
            self.ask(|reply| Query::Command { value, reply }).await
        };
        self.in_time(given).await
    }

    async fn query<T>(&self, query: impl FnOnce(oneshot::Sender<T>) -> Query) -> Result<T, Rejection> {
        self.in_time(self.ask(query)).await
    }

    async fn ask<T>(&self, query: impl FnOnce(oneshot::Sender<T>) -> Query) -> Result<T, Rejection> {
        let (reply, answer) = oneshot::channel();
        self.queries.send(query(reply)).await.map_err(|_| Rejection::TIMED_OUT)?;
        answer.await.map_err(|_| Rejection::TIMED_OUT)
    }

    async fn in_time<T>(&self, answer: impl Future<Output = Result<T, Rejection>>) -> Result<T, Rejection> {
        timeout(self.limits.query_timeout, answer).await.unwrap_or(Err(Rejection::TIMED_OUT))
    }
}

/// The last answer to a query. One request at a time asks for a new one; those that wait meanwhile get the same.
struct Cache<T>(Mutex<Option<(Instant, T)>>);

impl<T> Default for Cache<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Cache<T> {
    async fn get(&self, max_age: Duration, query: impl Future<Output = Result<T, Rejection>>) -> Result<T, Rejection> {
        let mut last = self.0.lock().await;
        if let Some((_, answer)) = last.as_ref().filter(|(at, _)| at.elapsed() < max_age) {
            return Ok(answer.clone());
        }
        let at = Instant::now();
        let answer = query.await?;
        *last = Some((at, answer.clone()));
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clients that leave before the answer cost as much as others.
    #[tokio::test(start_paused = true)]
    async fn copies_of_histories_take_no_more_of_the_probing_thread_than_the_share_of_strangers() {
        const COST: Duration = Duration::from_millis(10);
        let (queries, mut queried) = mpsc::channel(4);
        let limits = Limits { strangers_cpu: 0.05, ..Limits::default() };
        let client = Arc::new(EngineClient::new(queries, limits));
        let prober = tokio::spawn(async move {
            let mut copies = 0_u32;
            while let Some(query) = queried.recv().await {
                let Query::Probes { reply, .. } = query else { panic!("{query:?}") };
                copies += 1;
                tokio::time::sleep(COST).await;
                let _ = reply.send(Histories { paths: Vec::new(), cost: COST });
            }
            copies
        });
        let until = Instant::now() + Duration::from_secs(20);
        let impatient = |patience| {
            let client = Arc::clone(&client);
            tokio::spawn(async move {
                while Instant::now() < until {
                    let _ = timeout(
                        patience,
                        client.probes(PathFilter { peer: None, target: None, kind: None, paths: 9, samples: None }),
                    )
                    .await;
                }
            })
        };
        for client in [5, 100, 500, 5000].map(Duration::from_millis).map(impatient) {
            client.await.unwrap();
        }
        drop(client);
        let copies = prober.await.unwrap();
        assert!((50..=102).contains(&copies), "{copies} copies of {COST:?} in 20 s");
    }

    /// Anyone may send them, and each costs the thread that probes the time to verify a signature.
    #[tokio::test(start_paused = true)]
    async fn commands_of_strangers_are_verified_one_at_a_time_and_spaced() {
        const SPACING: Duration = Duration::from_millis(50);
        let (queries, mut queried) = mpsc::channel(64);
        let limits = Limits { command_spacing: SPACING, ..Limits::default() };
        let timeout_of_client = limits.query_timeout;
        let client = Arc::new(EngineClient::new(queries, limits));
        let prober = tokio::spawn(async move {
            let mut given = Vec::new();
            while let Some(query) = queried.recv().await {
                let Query::Command { reply, .. } = query else { panic!("{query:?}") };
                given.push(Instant::now());
                tokio::time::sleep(SPACING / 5).await;
                assert!(queried.try_recv().is_err(), "the next one was given before this one was answered");
                let _ = reply.send(Err("no operators are configured here".to_owned()));
            }
            given
        });
        let until = Instant::now() + Duration::from_secs(20);
        // Those that leave before the answer cost as much as others.
        let strangers: Vec<_> = (0..40_u32)
            .map(|n| {
                let (client, patience) = (Arc::clone(&client), timeout_of_client * (1 + n % 3) / 3);
                tokio::spawn(async move {
                    while Instant::now() < until {
                        let _ = timeout(patience, client.command(Bytes::new())).await;
                    }
                })
            })
            .collect();
        for stranger in strangers {
            stranger.await.unwrap();
        }
        drop(client);
        let given = prober.await.unwrap();
        assert!(given.windows(2).all(|pair| pair[1] - pair[0] >= SPACING), "{given:?}");
        assert!(given.len() >= 200, "{} commands in 20 s: the spacing shuts out everybody", given.len());
    }
}
