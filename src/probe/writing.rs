//! Where tokens may be written: only to the one server that takes writes, unless it is withheld from it.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

/// How long a server counts as one that takes writes after it was last seen to.
const REMEMBERED: Duration = Duration::from_secs(10);

/// What is known of the role of a server.
#[derive(Debug, Clone, Copy, Default)]
struct Role {
    /// When it was first tried, and whether it was ever read.
    tried: Option<Instant>,
    read: bool,
    /// When it was last seen to take writes, if not to be a replica since.
    writable: Option<Instant>,
    /// Whether nothing may be written to it, whatever its role is.
    withheld: bool,
}

/// What the probers of a database share: the number of this process, that of the next token, and the roles of all servers.
#[derive(Debug)]
pub struct Writing {
    incarnation: u64,
    sequence: AtomicU64,
    roles: Mutex<Vec<Role>>,
    has_warned: AtomicBool,
}

impl Writing {
    /// Of a database of so many servers, about which nothing is known.
    pub fn new(servers: usize) -> Self {
        Self {
            // A number that a bigint can hold.
            incarnation: rand::random::<u64>() >> 1,
            sequence: AtomicU64::default(),
            roles: Mutex::new(vec![Role::default(); servers]),
            has_warned: AtomicBool::default(),
        }
    }

    /// The number of this process.
    pub(super) const fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// The number of the next token, from 1 on.
    pub(super) fn next_sequence(&self) -> u64 {
        self.sequence.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn roles(&self) -> MutexGuard<'_, Vec<Role>> {
        self.roles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes whether a server takes writes, or that it could not be read.
    pub(super) fn note(&self, server: usize, writable: Option<bool>, now: Instant) {
        if let Some(role) = self.roles().get_mut(server) {
            role.tried.get_or_insert(now);
            role.read |= writable.is_some();
            match writable {
                Some(true) => role.writable = Some(now),
                Some(false) => role.writable = None,
                None => {}
            }
        }
    }

    /// Says to which servers nothing is written from now on, whatever their roles are.
    pub fn withhold(&self, is_withheld: impl Fn(usize) -> bool) {
        for (server, role) in self.roles().iter_mut().enumerate() {
            role.withheld = is_withheld(server);
        }
    }

    /// Whether this server, whose role was just read, may be written to: it takes writes, and it alone. A server that was not
    /// read since the start may take writes too, until it has been silent for a while. What is written to one of two would be
    /// lost, or would stop the other from coming back.
    pub(super) fn may_write(&self, server: usize, writable: bool, now: Instant) -> bool {
        let is_old = |at: Instant| now.saturating_duration_since(at) > REMEMBERED;
        let known = |role: &Role| role.read || role.tried.is_some_and(is_old);
        let alone = |role: &Role| known(role) && role.writable.is_none_or(is_old);
        let roles = self.roles();
        let withheld = roles.get(server).is_none_or(|role| role.withheld);
        writable && !withheld && roles.iter().enumerate().all(|(other, role)| other == server || alone(role))
    }

    /// Whether a warning about the role is to be logged; once.
    pub(super) fn warns(&self) -> bool {
        !self.has_warned.swap(true, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn nothing_is_written_before_every_server_was_read_or_silent_for_ten_seconds() {
        let (writing, now) = (Writing::new(3), Instant::now());
        writing.note(0, Some(true), now);
        writing.note(1, Some(false), now);
        assert!(!writing.may_write(0, true, now));
        writing.note(2, None, now);
        assert!(!writing.may_write(0, true, now + SECOND), "the silent one may take writes");
        assert!(writing.may_write(0, true, now + 11 * SECOND));
        assert!(!writing.may_write(1, false, now + 11 * SECOND), "a replica");
    }

    #[test]
    fn nothing_is_written_while_two_take_writes_or_one_of_them_was_just_lost() {
        let (writing, now) = (Writing::new(2), Instant::now());
        writing.note(0, Some(true), now);
        writing.note(1, Some(true), now);
        assert!(!writing.may_write(0, true, now) && !writing.may_write(1, true, now));
        // The old primary stops to answer.
        writing.note(0, None, now + SECOND);
        assert!(!writing.may_write(1, true, now + 9 * SECOND));
        assert!(writing.may_write(1, true, now + 11 * SECOND));
        // It comes back, and still takes writes.
        writing.note(1, Some(true), now + 20 * SECOND);
        writing.note(0, Some(true), now + 20 * SECOND);
        assert!(!writing.may_write(0, true, now + 20 * SECOND) && !writing.may_write(1, true, now + 20 * SECOND));
        // It comes back as a replica.
        writing.note(0, Some(false), now + 21 * SECOND);
        assert!(writing.may_write(1, true, now + 21 * SECOND));
    }

    #[test]
    fn nothing_is_written_to_a_server_that_is_withheld_and_others_are_not_affected() {
        let (writing, now) = (Writing::new(2), Instant::now());
        writing.note(0, Some(true), now);
        writing.note(1, Some(false), now);
        writing.withhold(|server| server == 0);
        assert!(!writing.may_write(0, true, now));
        // The other one is promoted.
        writing.note(0, Some(false), now);
        writing.note(1, Some(true), now);
        assert!(writing.may_write(1, true, now));
        writing.withhold(|_| false);
        writing.note(0, Some(true), now);
        writing.note(1, Some(false), now);
        assert!(writing.may_write(0, true, now));
    }

    #[test]
    fn numbers_grow_and_each_process_has_its_own() {
        let (one, other) = (Writing::new(1), Writing::new(1));
        assert_ne!(one.incarnation(), other.incarnation());
        assert!(i64::try_from(one.incarnation()).is_ok());
        assert_eq!([one.next_sequence(), one.next_sequence()], [1, 2]);
    }
}
