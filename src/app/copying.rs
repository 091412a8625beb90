//! Copies of probe histories for the server, in short turns: they share their thread with the probes.

use std::{collections::VecDeque, vec};

use tokio::sync::oneshot;

use crate::{model::PathId, net::thread_cpu_time, server::Histories, window::PathHistory};

/// The paths of one turn; a hundred records each at most.
const PATHS: usize = 8;

/// A request that is being answered.
struct Request {
    left: vec::IntoIter<PathId>,
    copied: Histories,
    reply: oneshot::Sender<Histories>,
}

/// The requests that are being answered.
#[derive(Default)]
pub(super) struct Copying(VecDeque<Request>);

impl Copying {
    /// Begins to copy the histories of these paths.
    pub(super) fn begin(&mut self, paths: Vec<PathId>, reply: oneshot::Sender<Histories>) {
        let copied = Histories { paths: Vec::with_capacity(paths.len()), ..Histories::default() };
        self.0.push_back(Request { left: paths.into_iter(), copied, reply });
    }

    /// Whether there is more to copy.
    pub(super) fn is_busy(&self) -> bool {
        !self.0.is_empty()
    }

    /// Copies a few paths of one request, and answers it once it has all. A path that is not measured any more is left out.
    pub(super) fn turn(&mut self, history: impl Fn(PathId) -> Option<PathHistory>) {
        let Some(mut request) = self.0.pop_front() else { return };
        if request.reply.is_closed() {
            return;
        }
        let before = thread_cpu_time();
        request.copied.paths.extend(request.left.by_ref().take(PATHS).filter_map(history));
        request.copied.cost += thread_cpu_time().saturating_sub(before);
        if request.left.as_slice().is_empty() {
            let _ = request.reply.send(request.copied);
        } else {
            self.0.push_back(request);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, time::Duration};

    use super::*;
    use crate::{
        model::{Failure, FailureContext, Path, Phase, Region, StampSource, TargetName, Timings},
        probe,
        window::History,
    };

    fn ids(count: u32) -> Vec<PathId> {
        (0..count).map(PathId).collect()
    }

    fn name(id: PathId) -> Path {
        let target = TargetName::new(&format!("t{}", id.0)).unwrap();
        Path { peer: Region::new("r").unwrap(), target, kind: probe::TCP }
    }

    #[test]
    fn the_longest_turn_is_short_however_many_histories_are_requested() {
        let mut history = History::new(50);
        let ok = Timings::single(Phase::Connect, Duration::from_millis(80), StampSource::Kernel);
        for n in 0..50 {
            history.push(2 * n, Ok(ok), FailureContext::default());
            history.push(2 * n + 1, Err(Failure::Timeout), FailureContext::default());
        }
        let copied = Cell::new(0);
        let copy = |id| {
            copied.set(copied.get() + 1);
            Some(PathHistory { path: name(id), samples: history.records() })
        };
        let mut copying = Copying::default();
        let (reply, mut answer) = oneshot::channel();
        copying.begin(ids(2_000), reply);
        let (mut longest, mut most, began) = (Duration::ZERO, 0, thread_cpu_time());
        while copying.is_busy() {
            let (before, so_far) = (thread_cpu_time(), copied.get());
            copying.turn(copy);
            longest = longest.max(thread_cpu_time() - before);
            most = most.max(copied.get() - so_far);
        }
        let whole = thread_cpu_time() - began;
        assert_eq!((most, copied.get()), (PATHS, 2_000));
        // There are 250 turns.
        assert!(longest < whole / 20, "{longest:?} of {whole:?}");
        let Histories { paths: answer, cost } = answer.try_recv().unwrap();
        assert!(whole / 2 < cost && cost <= whole, "{cost:?} of {whole:?}");
        assert!(
            answer.iter().map(|history| &history.path).eq(ids(2_000).into_iter().map(name).collect::<Vec<_>>().iter())
        );
        assert!(answer.iter().all(|history| history.samples.len() == 100));
    }

    #[test]
    fn a_short_request_does_not_wait_for_a_long_one_and_one_whose_client_has_left_costs_nothing() {
        let empty = |id| Some(PathHistory { path: name(id), samples: Vec::new() });
        let mut copying = Copying::default();
        let (reply, long) = oneshot::channel();
        copying.begin(ids(2_000), reply);
        let (reply, mut short) = oneshot::channel();
        copying.begin(ids(1), reply);
        (0..2).for_each(|_| copying.turn(empty));
        assert_eq!(short.try_recv().unwrap().paths.len(), 1);
        drop(long);
        copying.turn(|_| panic!("nothing is copied for it"));
        assert!(!copying.is_busy());
    }

    #[test]
    fn a_path_that_is_removed_meanwhile_is_left_out() {
        let mut copying = Copying::default();
        let (reply, mut answer) = oneshot::channel();
        copying.begin(ids(3), reply);
        copying.turn(|id| (id != PathId(1)).then(|| PathHistory { path: name(id), samples: Vec::new() }));
        assert_eq!(answer.try_recv().unwrap().paths.len(), 2);
    }
}
