//! The memory that long responses take until their clients have read them.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout, timeout_at},
};

use super::{conn_state::Signals, response::Rejection};

/// The memory of long responses of one kind. How long a response is, is known when it has been made, so one at a time is made and
/// waits for its room: what waits does not take the memory that it waits for.
pub(super) struct Held {
    making: Semaphore,
    /// In KiB.
    free: Arc<Semaphore>,
    max: u32,
    max_wait: Duration,
    signals: Arc<Signals>,
}

impl Held {
    pub(super) fn new(bytes: usize, max_wait: Duration, signals: Arc<Signals>) -> Self {
        let kibibytes = bytes >> 10;
        Self {
            making: Semaphore::new(1),
            free: Arc::new(Semaphore::new(kibibytes)),
            max: kibibytes as u32,
            max_wait,
            signals,
        }
    }

    /// Makes a response, with the room for it until its client has read it. Clients that read nothing are closed if there is
    /// none.
    pub(super) async fn make<T>(
        &self,
        made: impl Future<Output = Result<T, Rejection>>,
        bytes: impl FnOnce(&T) -> usize,
    ) -> Result<(T, OwnedSemaphorePermit), Rejection> {
        let full = || Rejection::Unavailable("too many responses are not read");
        let deadline = Instant::now() + self.max_wait;
        let _making = timeout_at(deadline, self.making.acquire()).await.map_err(|_| full())?;
        let made = made.await?;
        let kibibytes = u32::try_from(1 + (bytes(&made) >> 10)).unwrap_or(u32::MAX).min(self.max);
        loop {
            let wait = Duration::from_millis(20).min(deadline.saturating_duration_since(Instant::now()));
            match timeout(wait, Arc::clone(&self.free).acquire_many_owned(kibibytes)).await {
                Ok(Ok(permit)) => return Ok((made, permit)),
                _ if Instant::now() >= deadline => return Err(full()),
                _ => self.signals.pressure.notify_one(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn of_responses_that_wait_for_room_only_one_exists() {
        const MAX: usize = 64 << 10;
        let held = Arc::new(Held::new(MAX, Duration::from_secs(2), Arc::default()));
        let made = Arc::new(AtomicUsize::new(0));
        let page = || {
            let (held, made) = (Arc::clone(&held), Arc::clone(&made));
            async move {
                let render = async {
                    made.fetch_add(1, Ordering::Relaxed);
                    Ok(vec![0_u8; MAX / 2])
                };
                held.make(render, Vec::len).await
            }
        };
        let unread = page().await.ok().unwrap();
        let waiting: Vec<_> = (0..192).map(|_| tokio::spawn(page())).collect();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(made.load(Ordering::Relaxed), 2, "the one that is not read, and the one that is next");
        drop(unread);
        let mut answered = 0;
        for one in waiting {
            answered += usize::from(one.await.unwrap().is_ok());
        }
        assert_eq!(answered, 192, "each drops its own at once");
    }
}
