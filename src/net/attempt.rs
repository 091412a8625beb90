//! What one attempt to reach a peer notes besides its outcome.

use std::{
    fmt,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, AtomicU32, Ordering},
    },
};

use tokio::time::Instant;

use super::turn::Turn;
use crate::model::{
    CertificateDates, Failure, FailureContext, FailureDetail, HttpAnswer, Outcome, PeerFacts, Phase, TlsFacts,
};

/// One attempt of a probe: its deadline, and what it noted besides its outcome.
#[derive(Debug)]
pub struct Attempt {
    deadline: Instant,
    timeout_reason: AtomicU8,
    phase: AtomicU8,
    late: AtomicU32,
    duplicates: AtomicU32,
    notes: Mutex<Notes>,
    shown: Shown,
}

/// What is written once or twice in an attempt, and read at its end.
#[derive(Debug, Default)]
struct Notes {
    address: Option<IpAddr>,
    turn: Option<(Arc<Turn>, IpAddr)>,
    detail: Option<FailureDetail>,
    warning: Option<FailureDetail>,
    http: Option<HttpAnswer>,
    session: Session,
    /// What the target itself has shown, before redirects led elsewhere.
    own: Option<(Shown, Session)>,
}

/// The certificates that the peer has shown last, whatever becomes of the handshake. Their dates are read later: what is
/// computed in a handshake can be a part of the measured time.
#[derive(Clone, Default)]
pub(super) struct Shown(Arc<Mutex<Option<ReadCertificates>>>);

type ReadCertificates = Box<dyn Fn(Session) -> Option<Certificates> + Send>;

/// What is read of the certificates that a peer shows.
#[derive(Debug, Clone)]
pub(super) struct Certificates {
    pub(super) dates: CertificateDates,
    pub(super) facts: Arc<TlsFacts>,
}

/// Version and cipher of TLS; none before the handshake has succeeded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Session {
    pub(super) version: Option<&'static str>,
    pub(super) cipher: Option<&'static str>,
}

impl Shown {
    /// These are shown.
    pub(super) fn set(&self, read: impl Fn(Session) -> Option<Certificates> + Send + 'static) {
        *self.lock() = Some(Box::new(read));
    }

    fn lock(&self) -> MutexGuard<'_, Option<ReadCertificates>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Shown").finish_non_exhaustive()
    }
}

impl Attempt {
    /// An attempt that ends at the deadline.
    pub fn new(deadline: Instant) -> Self {
        Self {
            deadline,
            timeout_reason: AtomicU8::new(u8::MAX),
            phase: AtomicU8::new(u8::MAX),
            late: AtomicU32::new(0),
            duplicates: AtomicU32::new(0),
            notes: Mutex::default(),
            shown: Shown::default(),
        }
    }

    /// When the attempt ends.
    pub const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Notes what the attempt has failed of if nothing better comes before its deadline; without it, that is a
    /// timeout.
    pub fn set_timeout_reason(&self, failure: Failure) {
        self.timeout_reason.store(failure as u8, Ordering::Relaxed);
    }

    /// Takes a timeout_reason back.
    pub fn clear_timeout_reason(&self) {
        self.timeout_reason.store(u8::MAX, Ordering::Relaxed);
    }

    /// What the attempt has failed of when its deadline is over.
    pub fn timeout_reason(&self) -> Failure {
        let noted = self.timeout_reason.load(Ordering::Relaxed);
        Failure::ALL.into_iter().find(|failure| *failure as u8 == noted).unwrap_or(Failure::Timeout)
    }

    /// Notes that this phase begins.
    pub fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// The phase that began last, in which a failed attempt has failed.
    pub fn reached(&self) -> Option<Phase> {
        let noted = self.phase.load(Ordering::Relaxed);
        Phase::ALL.into_iter().find(|phase| *phase as u8 == noted)
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the address that is probed.
    pub fn set_address(&self, address: IpAddr) {
        self.notes().address = Some(address);
    }

    /// Notes that the address is one of several.
    pub(super) fn set_turn(&self, turn: Arc<Turn>, address: IpAddr) {
        self.notes().turn = Some((turn, address));
    }

    /// Notes that the address is silent or refuses, so that the next attempt tries another one if there are several.
    pub fn note_silence(&self) {
        if let Some((turn, address)) = &self.notes().turn {
            turn.leave(*address);
        }
    }

    /// Notes of what the attempt has failed: a silence, if the address was silent or refused.
    pub fn note_failure(&self, failure: Failure) {
        let is_silence = matches!(failure, Failure::Timeout | Failure::Refused | Failure::Unreachable);
        if is_silence || self.notes().detail == Some(FailureDetail::ProxyUnreachable) {
            self.note_silence();
        }
    }

    /// Notes what a failure was about.
    pub fn set_detail(&self, detail: FailureDetail) {
        self.notes().detail = Some(detail);
    }

    /// Takes the detail back.
    pub fn clear_detail(&self) {
        self.notes().detail = None;
    }

    /// Notes what is odd about an answer that is a success all the same.
    pub fn set_warning(&self, detail: FailureDetail) {
        self.notes().warning = Some(detail);
    }

    /// Where the certificates belong that the peer shows.
    pub(super) fn shown(&self) -> Shown {
        self.shown.clone()
    }

    /// Notes the head of an HTTP response; a later one takes its place.
    pub(super) fn set_http_answer(&self, answer: HttpAnswer) {
        self.notes().http = Some(answer);
    }

    /// A redirect is followed, `elsewhere` or on the same origin: the response before it is none of the probe, and the
    /// certificates of the target itself stay those that are shown.
    pub fn follow(&self, elsewhere: bool) {
        let mut notes = self.notes();
        notes.http = None;
        if elsewhere && notes.own.is_none() {
            let read = self.shown.lock().take();
            notes.own = read.map(|read| (Shown(Arc::new(Mutex::new(Some(read)))), notes.session));
        }
    }

    /// Notes what the last handshake of TLS has led to.
    pub(super) fn set_session(&self, session: Session) {
        self.notes().session = session;
    }

    /// What the peer has shown in this attempt.
    pub fn facts(&self) -> PeerFacts {
        let (http, shown, session) = {
            let notes = self.notes();
            let (shown, session) = notes.own.clone().unwrap_or_else(|| (self.shown(), notes.session));
            (notes.http, shown, session)
        };
        let certificates = shown.lock().as_ref().and_then(|read| read(session));
        let (certificate, tls) = certificates.map(|Certificates { dates, facts }| (dates, facts)).unzip();
        PeerFacts { http, certificate, tls }
    }

    /// Where and of what a failed attempt has failed; of a success, what is odd about it.
    pub fn context(&self, outcome: &Outcome) -> FailureContext {
        let notes = self.notes();
        let Notes { address, detail, warning, .. } = *notes;
        match outcome {
            Ok(_) => FailureContext { detail: warning, ..FailureContext::default() },
            Err(_) => FailureContext { phase: self.reached(), address, detail },
        }
    }

    /// Notes answers to earlier attempts that came after their deadlines.
    pub fn note_late(&self, count: u32) {
        self.late.fetch_add(count, Ordering::Relaxed);
    }

    /// Answers to earlier attempts that came after their deadlines.
    pub fn late(&self) -> u32 {
        self.late.load(Ordering::Relaxed)
    }

    /// Notes answers that came more than once.
    pub fn note_duplicates(&self, count: u32) {
        self.duplicates.fetch_add(count, Ordering::Relaxed);
    }

    /// Answers that came more than once.
    pub fn duplicates(&self) -> u32 {
        self.duplicates.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_deadline_without_a_suspicion_is_a_timeout() {
        let attempt = Attempt::new(Instant::now());
        assert_eq!(attempt.timeout_reason(), Failure::Timeout);
        for failure in Failure::ALL {
            attempt.set_timeout_reason(failure);
            assert_eq!(attempt.timeout_reason(), failure);
        }
    }

    #[tokio::test]
    async fn an_attempt_fails_in_the_phase_that_began_last() {
        let attempt = Attempt::new(Instant::now());
        assert_eq!(attempt.reached(), None);
        for phase in Phase::ALL {
            attempt.enter(phase);
            assert_eq!(attempt.reached(), Some(phase));
        }
    }
}
