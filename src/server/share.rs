//! What strangers may take: CPU time of the server's thread, and new connections.
//!
//! A process that has used up its CPU quota stops as a whole, and its probes with it. So the time that goes to strangers is
//! measured at each step of a connection, and a step that exceeds their share waits. Addresses take turns: the one that has
//! used least is next. A few addresses that read what they ask for, such as a Prometheus, have half of that time.

use std::{
    collections::HashMap,
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::limits::Limits;
use crate::net::thread_cpu_time;

/// What is earned in this time can be spent at once. It is the period of the kernel's CPU quota.
const SAVED: Duration = Duration::from_millis(100);

/// Addresses that are regular readers, and how long one stays that reads nothing more.
pub(super) const REGULARS: usize = 8;
const REGULAR_FOR: Duration = Duration::from_secs(300);

/// Addresses that are remembered; strangers beyond that are refused.
const MOST_ADDRESSES: usize = 1024;

/// An amount that refills with time.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    fn full(size: f64, now: Instant) -> Self {
        Self { left: size, at: now }
    }

    fn refill(&mut self, rate: f64, size: f64, now: Instant) {
        self.left = size.min(self.left + rate * now.saturating_duration_since(self.at).as_secs_f64());
        self.at = now;
    }

    fn take(&mut self) -> bool {
        let taken = self.left >= 1.0;
        if taken {
            self.left -= 1.0;
        }
        taken
    }
}

/// An address of strangers.
#[derive(Debug)]
struct Account {
    /// CPU time in seconds; an address that was away starts with what the one in turn has used.
    used: f64,
    connects: Bucket,
}

/// A step that waits for its turn.
#[derive(Debug)]
struct Waiting {
    ticket: u64,
    group: IpAddr,
    waker: Waker,
}

#[derive(Debug)]
struct Accounts {
    /// CPU time in seconds that can be spent; negative after a step that took more.
    credit: Bucket,
    connects: Bucket,
    by_address: HashMap<IpAddr, Account>,
    /// When a regular reader last read a whole response.
    regulars: HashMap<IpAddr, Instant>,
    waiting: Vec<Waiting>,
    /// What the address that had the last turn had used, of other addresses and of regular readers.
    turns: [f64; 2],
    /// The same of the two classes: CPU time that each has used, and what the one that had the last turn had used.
    by_class: [f64; 2],
    class_turn: f64,
    /// The step that has its turn and has not begun.
    granted: Option<u64>,
    tickets: u64,
}

impl Accounts {
    /// The place of an address in `turns`.
    fn class(&self, group: IpAddr) -> usize {
        usize::from(self.regulars.contains_key(&group))
    }

    fn account(&mut self, group: IpAddr, burst: f64, now: Instant) -> &mut Account {
        let used = self.turns[self.class(group)];
        let account =
            self.by_address.entry(group).or_insert_with(|| Account { used, connects: Bucket::full(burst, now) });
        account.used = account.used.max(used);
        account
    }

    fn used(&self, group: IpAddr) -> f64 {
        let turn = self.turns[self.class(group)];
        self.by_address.get(&group).map_or(turn, |account| account.used.max(turn))
    }

    /// An address has its turn. What it used while no other one waited is not held against it later.
    fn take_turn(&mut self, group: IpAddr) {
        let class = self.class(group);
        self.turns[class] = self.used(group);
        self.class_turn = self.class_turn.max(self.by_class[class]);
    }

    /// A step of this address has taken so many seconds.
    fn charge(&mut self, group: IpAddr, burst: f64, cost: f64, now: Instant) {
        self.credit.left -= cost;
        self.account(group, burst, now).used += cost;
        let class = self.class(group);
        self.by_class[class] = self.by_class[class].max(self.class_turn) + cost;
    }

    /// The place in the queue of the step that is next: of the class that has used less, and there of the address.
    fn next(&self) -> Option<usize> {
        let key = |one: &Waiting| {
            let class = self.class(one.group);
            (self.by_class[class].max(self.class_turn), class == 0, self.used(one.group), one.ticket)
        };
        let waiting = self.waiting.iter().enumerate();
        let next = waiting.min_by(|(_, a), (_, b)| key(a).partial_cmp(&key(b)).unwrap_or(std::cmp::Ordering::Equal));
        next.map(|(place, _)| place)
    }
}

/// What strangers may take.
#[derive(Debug)]
pub(super) struct Share {
    limits: Limits,
    accounts: Mutex<Accounts>,
    /// Some step waits, or the one that had its turn has begun.
    changed: Notify,
}

/// What [`Share::grant`] waits for.
enum Turn {
    Granted,
    At(Instant),
    Changed,
}

impl Share {
    pub(super) fn new(limits: Limits) -> Self {
        let now = Instant::now();
        let accounts = Accounts {
            credit: Bucket::full(limits.strangers_cpu * SAVED.as_secs_f64(), now),
            connects: Bucket::full(limits.connects.1, now),
            by_address: HashMap::new(),
            regulars: HashMap::new(),
            waiting: Vec::new(),
            turns: [0.0; 2],
            by_class: [0.0; 2],
            class_turn: 0.0,
            granted: None,
            tickets: 0,
        };
        Self { limits, accounts: Mutex::new(accounts), changed: Notify::new() }
    }

    // Only a test can see a poisoned lock: a panic ends a release build.
    fn lock(&self) -> MutexGuard<'_, Accounts> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a new connection of this address of strangers is served; if not, it is closed unread.
    pub(super) fn admits(&self, group: IpAddr, now: Instant) -> bool {
        let (rate, burst) = self.limits.connects_of_address;
        let mut accounts = self.lock();
        let is_regular = accounts.regulars.contains_key(&group);
        let Accounts { connects, by_address, .. } = &mut *accounts;
        if by_address.len() >= MOST_ADDRESSES && !by_address.contains_key(&group) {
            // One that has not connected for some seconds.
            by_address.retain(|_, account| {
                account.connects.refill(rate, burst, now);
                account.connects.left < burst
            });
            if by_address.len() >= MOST_ADDRESSES && !is_regular {
                return false;
            }
        }
        connects.refill(self.limits.connects.0, self.limits.connects.1, now);
        let account = accounts.account(group, burst, now);
        account.connects.refill(rate, burst, now);
        account.connects.take() && (is_regular || accounts.connects.take())
    }

    /// A client of this address has taken a whole response.
    pub(super) fn has_read(&self, group: IpAddr, now: Instant) {
        let mut accounts = self.lock();
        let Accounts { regulars, by_address, .. } = &mut *accounts;
        // Regular readers and others are counted apart: who changes sides starts with what the one in turn there has used.
        let mut forget = |group: &IpAddr| by_address.get_mut(group).into_iter().for_each(|account| account.used = 0.0);
        if !regulars.contains_key(&group) && regulars.len() >= REGULARS {
            regulars.retain(|group, read| {
                let stays = now.saturating_duration_since(*read) < REGULAR_FOR;
                if !stays {
                    forget(group);
                }
                stays
            });
        }
        if (regulars.contains_key(&group) || regulars.len() < REGULARS) && regulars.insert(group, now).is_none() {
            forget(&group);
        }
    }

    /// Whether this address is a regular reader.
    pub(super) fn is_regular(&self, group: IpAddr) -> bool {
        self.lock().regulars.contains_key(&group)
    }

    /// Whether a step may begin now. If not, it has a ticket, and is woken when it is its turn.
    fn begin(&self, ticket: &mut Option<u64>, group: IpAddr, waker: &Waker, now: Instant) -> bool {
        let mut accounts = self.lock();
        if let Some(own) = *ticket {
            if accounts.granted == Some(own) {
                (accounts.granted, *ticket) = (None, None);
                self.changed.notify_one();
                return true;
            }
            if let Some(waiting) = accounts.waiting.iter_mut().find(|waiting| waiting.ticket == own) {
                waiting.waker.clone_from(waker);
            }
            return false;
        }
        self.refill(&mut accounts, now);
        if accounts.credit.left > 0.0 && accounts.waiting.is_empty() && accounts.granted.is_none() {
            accounts.take_turn(group);
            return true;
        }
        accounts.tickets += 1;
        let own = accounts.tickets;
        accounts.waiting.push(Waiting { ticket: own, group, waker: waker.clone() });
        *ticket = Some(own);
        self.changed.notify_one();
        false
    }

    /// A step has taken so much CPU time.
    fn end(&self, group: IpAddr, cost: Duration, now: Instant) {
        self.lock().charge(group, self.limits.connects_of_address.1, cost.as_secs_f64(), now);
    }

    /// A step does not wait any longer.
    fn leave(&self, ticket: u64) {
        let mut accounts = self.lock();
        accounts.waiting.retain(|waiting| waiting.ticket != ticket);
        if accounts.granted == Some(ticket) {
            accounts.granted = None;
            self.changed.notify_one();
        }
    }

    fn refill(&self, accounts: &mut Accounts, now: Instant) {
        let rate = self.limits.strangers_cpu;
        accounts.credit.refill(rate, rate * SAVED.as_secs_f64(), now);
    }

    fn turn(&self, now: Instant) -> Turn {
        let mut accounts = self.lock();
        if accounts.granted.is_some() || accounts.waiting.is_empty() {
            return Turn::Changed;
        }
        self.refill(&mut accounts, now);
        if accounts.credit.left <= 0.0 {
            let wait = -accounts.credit.left / self.limits.strangers_cpu;
            return Turn::At(now + Duration::from_secs_f64(wait).max(Duration::from_millis(1)));
        }
        let Some(place) = accounts.next() else { return Turn::Changed };
        let next = accounts.waiting.swap_remove(place);
        accounts.granted = Some(next.ticket);
        accounts.take_turn(next.group);
        next.waker.wake();
        Turn::Granted
    }

    /// Gives the next step its turn, when strangers have time left.
    pub(super) async fn grant(&self) {
        loop {
            match self.turn(Instant::now()) {
                Turn::Granted => return,
                Turn::At(at) => sleep_until(at).await,
                Turn::Changed => self.changed.notified().await,
            }
        }
    }

    /// The same work, whose steps take their time from this share.
    pub(super) fn metered<F: Future<Output = ()>>(self: Arc<Self>, group: IpAddr, work: F) -> Metered<F> {
        Metered { share: self, group, ticket: None, work: Box::pin(work) }
    }
}

/// The work for a stranger's connection.
pub(super) struct Metered<F> {
    share: Arc<Share>,
    group: IpAddr,
    ticket: Option<u64>,
    work: Pin<Box<F>>,
}

impl<F: Future<Output = ()>> Future for Metered<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if !this.share.begin(&mut this.ticket, this.group, cx.waker(), Instant::now()) {
            return Poll::Pending;
        }
        let before = thread_cpu_time();
        let polled = this.work.as_mut().poll(cx);
        this.share.end(this.group, thread_cpu_time().saturating_sub(before), Instant::now());
        polled
    }
}

impl<F> Drop for Metered<F> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.share.leave(ticket);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u8) -> IpAddr {
        [192, 0, 2, n].into()
    }

    fn us(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    fn share() -> Share {
        let limits =
            Limits { strangers_cpu: 0.1, connects_of_address: (2.0, 4.0), connects: (3.0, 6.0), ..Limits::default() };
        Share::new(limits)
    }

    /// Strangers, of whom each always has something to do; how much CPU time each gets in so many seconds.
    fn contend(share: &Share, costs: &[(IpAddr, Duration)], seconds: u64) -> Vec<f64> {
        let start = Instant::now();
        let mut now = start;
        let (mut tickets, mut got) = (vec![None; costs.len()], vec![0.0; costs.len()]);
        while now < start + Duration::from_secs(seconds) {
            for (n, (group, cost)) in costs.iter().enumerate() {
                if share.begin(&mut tickets[n], *group, Waker::noop(), now) {
                    share.end(*group, *cost, now);
                    got[n] += cost.as_secs_f64();
                }
            }
            match share.turn(now) {
                Turn::Granted => {}
                Turn::At(at) => now = at,
                Turn::Changed => now += Duration::from_millis(1),
            }
        }
        got
    }

    #[tokio::test(start_paused = true)]
    async fn strangers_get_no_more_cpu_time_than_their_share() {
        let share = share();
        let got = contend(&share, &[(address(1), Duration::from_millis(3))], 10);
        assert!((1.0..1.02).contains(&got[0]), "{got:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_get_equal_time_however_many_connections_and_how_large_steps_they_have() {
        let share = share();
        let long = (address(1), Duration::from_millis(9));
        let got = contend(&share, &[long, long, long, (address(2), Duration::from_millis(1))], 20);
        let (first, second) = (got[..3].iter().sum::<f64>(), got[3]);
        assert!((first - second).abs() < 0.1, "{got:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_regular_reader_has_half_of_the_time_among_many_strangers_however_large_steps_they_have() {
        for (of_strangers, of_the_reader) in [(1000, 1000), (22_000, 300), (100, 5000)].map(|(a, b)| (us(a), us(b))) {
            let share = share();
            share.has_read(address(250), Instant::now());
            let mut crowd: Vec<_> = (0..100).map(|n| (address(n), of_strangers)).collect();
            crowd.push((address(250), of_the_reader));
            let got = contend(&share, &crowd, 20);
            assert!((0.9..1.1).contains(&got[100]), "{of_strangers:?} {got:?}");
        }
    }

    /// Regular readers that come back have half, and not what they did not use before; nor have strangers.
    #[tokio::test(start_paused = true)]
    async fn what_a_class_did_not_use_while_it_was_away_is_not_saved_for_it() {
        for reader_first in [false, true] {
            let share = share();
            let (reader, stranger, step) = (address(250), address(1), us(1000));
            share.has_read(reader, Instant::now());
            let (first, second) = if reader_first { (reader, stranger) } else { (stranger, reader) };
            contend(&share, &[(first, step)], 100);
            tokio::time::advance(Duration::from_secs(100)).await;
            let got = contend(&share, &[(first, step), (second, step)], 10);
            assert!((got[0] - got[1]).abs() < 0.1, "{got:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_an_address_used_while_it_was_alone_does_not_count_when_others_come() {
        for regular in [false, true] {
            let share = share();
            let (old, new, step) = (address(1), address(2), Duration::from_millis(1));
            if regular {
                [old, new].iter().for_each(|group| share.has_read(*group, Instant::now()));
            }
            contend(&share, &[(old, step)], 100);
            tokio::time::advance(Duration::from_secs(100)).await;
            let got = contend(&share, &[(old, step), (new, step)], 10);
            assert!((got[0] - got[1]).abs() < 0.1, "{got:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_few_addresses_are_regular_and_one_that_reads_nothing_more_gives_way() {
        let share = share();
        let start = Instant::now();
        (0..20).for_each(|n| share.has_read(address(n), start));
        assert!(share.is_regular(address(7)) && !share.is_regular(address(8)));
        let later = start + REGULAR_FOR;
        share.has_read(address(7), later);
        share.has_read(address(8), later);
        assert!(share.is_regular(address(7)) && share.is_regular(address(8)) && !share.is_regular(address(0)));
    }

    #[tokio::test(start_paused = true)]
    async fn new_connections_of_one_address_and_of_all_strangers_are_limited_and_regular_readers_are_not_locked_out() {
        let share = share();
        let now = Instant::now();
        share.has_read(address(9), now);
        let admitted = |group, now| (0..100).filter(|_| share.admits(group, now)).count();
        assert_eq!(admitted(address(1), now), 4);
        assert_eq!(admitted(address(2), now), 2, "six of all strangers");
        assert_eq!(admitted(address(3), now), 0);
        assert_eq!(admitted(address(9), now), 4, "a regular reader has its own only");
        let later = now + Duration::from_secs(1);
        assert_eq!(admitted(address(1), later), 2);
        assert_eq!(admitted(address(4), later), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_without_end_take_no_memory_without_end() {
        let limits = Limits { connects: (1e9, 1e9), ..Limits::default() };
        let share = Share::new(limits);
        let start = Instant::now();
        for n in 0..100_000_u32 {
            let (group, now) = (std::net::Ipv4Addr::from_bits(n).into(), start + Duration::from_millis(1) * n);
            assert!(share.admits(group, now), "{n}");
            share.end(group, Duration::from_millis(1), now);
        }
        assert!(share.lock().by_address.len() <= MOST_ADDRESSES);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_ends_while_it_waits_or_has_its_turn_blocks_no_other() {
        let share = Arc::new(share());
        share.end(address(1), Duration::from_secs(1), Instant::now());
        let mut context = Context::from_waker(Waker::noop());
        let mut waits = Arc::clone(&share).metered(address(1), async {});
        let mut granted = Arc::clone(&share).metered(address(2), async {});
        assert!(Pin::new(&mut granted).poll(&mut context).is_pending());
        assert!(Pin::new(&mut waits).poll(&mut context).is_pending());
        drop(waits);
        share.grant().await;
        drop(granted);
        let last = tokio::spawn(Arc::clone(&share).metered(address(3), async {}));
        tokio::select! {
            () = async { loop { share.grant().await } } => {}
            ended = last => ended.unwrap(),
        }
    }
}
