//! The workspace's own `DDP_Rate_Limit_*` rules, kept here because methods are forwarded as server-side calls, to which
//! the monolith's limiter does not apply (ecosystem.md 5.3, design.md 6).
//!
//! Each rule is a token bucket per key with the long-run rate and the burst of the setting; upstream resets all keys of
//! a rule at once instead. A bucket is one time stamp (GCRA): when it would be full again if nothing more came. Two
//! generations of bounded tables forget the keys that are not used; nothing is ever scanned. For tests that count, rules can
//! be windows instead, which begin with the first call and end all at once, as upstream's.

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher as _,
    mem,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use hashbrown::HashMap;

use crate::{address, link::Caller, metrics};

/// Locks; a key's lock is chosen by its hash.
const SHARDS: usize = 64;

/// Keys of one shard and generation, as many as 8,192 places hold: 64 × 2 tables of 136 KiB are the most that is kept.
const KEYS_MAX: usize = 7_168;

/// Upstream's factor for methods and subscriptions whose name begins with `stream-`.
const STREAM_FACTOR: u32 = 4;

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Method,
    Subscription,
}

/// How the rules are applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RateLimits {
    Off,
    /// The long-run rate, after a burst of what a window allows.
    #[default]
    On,
    /// In each window, which begins with the first call, exactly as much as is allowed.
    Windows,
}

/// Shared by all shards; touched once per method and subscription.
pub(crate) struct Limiter {
    rules: [Rule; 5],
    mode: RateLimits,
    /// Whether a connection's source is its client: else everybody would share the bucket of a proxy.
    by_address: bool,
    started: Instant,
    hasher: RandomState,
    buckets: Vec<Mutex<Buckets>>,
}

/// One `DDP_Rate_Limit_<name>_*` group of settings.
struct Rule {
    name: &'static str,
    label: &'static str,
    enabled: AtomicBool,
    requests: AtomicU32,
    interval_ms: AtomicU32,
}

#[derive(Default)]
struct Buckets {
    now: HashMap<u64, u64>,
    before: HashMap<u64, u64>,
}

impl Limiter {
    /// A limiter with the settings' defaults; `by_address`: whether a connection's source is its client.
    pub(crate) fn new(mode: RateLimits, by_address: bool, now: Instant) -> Self {
        let enabled = mode != RateLimits::Off;
        let rule = |name, label, requests, interval_ms| Rule {
            name,
            label,
            enabled: AtomicBool::new(enabled),
            requests: AtomicU32::new(requests),
            interval_ms: AtomicU32::new(interval_ms),
        };
        Self {
            rules: [
                rule("IP", "address", 120_000, 60_000),
                rule("User", "user", 1_200, 60_000),
                rule("Connection", "connection", 600, 60_000),
                rule("User_By_Method", "user_method", 20, 10_000),
                rule("Connection_By_Method", "connection_method", 10, 10_000),
            ],
            mode,
            by_address,
            started: now,
            hasher: RandomState::new(),
            buckets: (0..if enabled { SHARDS } else { 0 })
                .map(|_| Mutex::default())
                .collect(),
        }
    }

    /// Counts one call against every rule that concerns it.
    ///
    /// # Errors
    /// The time after which the call would pass.
    pub(crate) fn check(
        &self,
        caller: &Caller,
        call: Call,
        name: &str,
        now: Instant,
    ) -> Result<(), Duration> {
        if self.buckets.is_empty() {
            return Ok(());
        }
        let connection = &*caller.connection.id;
        let user = caller.user.as_deref().map(|user| &*user.id);
        let method = (call == Call::Method).then_some(name);
        let factor = if name.starts_with("stream-") {
            STREAM_FACTOR
        } else {
            1
        };
        let source = caller.connection.source;
        let is_client = self.by_address && !source.is_loopback();
        let address = is_client.then(|| address::group(source));
        let [
            by_address,
            by_user,
            by_connection,
            by_user_method,
            by_connection_method,
        ] = &self.rules;
        if let Some(address) = address {
            self.take(by_address, 1, self.hasher.hash_one((0, address)), now)?;
        }
        if let Some(user) = user {
            self.take(by_user, 1, self.hasher.hash_one((1, user)), now)?;
        }
        self.take(by_connection, 1, self.hasher.hash_one((2, connection)), now)?;
        if let Some(method) = method {
            if let Some(user) = user {
                self.take(
                    by_user_method,
                    factor,
                    self.hasher.hash_one((3, user, method)),
                    now,
                )?;
            }
            self.take(
                by_connection_method,
                factor,
                self.hasher.hash_one((4, connection, method)),
                now,
            )?;
        }
        Ok(())
    }

    /// Takes one `DDP_Rate_Limit_*` setting (raw JSON value); others are ignored.
    pub(crate) fn set(&self, setting: &str, value: Option<&str>) {
        let Some(name) = setting.strip_prefix("DDP_Rate_Limit_") else {
            return;
        };
        let number = || {
            value
                .and_then(|value| value.parse::<f64>().ok())
                .filter(|number| *number >= 1.0)
        };
        for rule in &self.rules {
            match name.strip_prefix(rule.name) {
                Some("_Enabled") => rule.enabled.store(value != Some("false"), Relaxed),
                Some("_Requests_Allowed") => {
                    if let Some(number) = number() {
                        rule.requests.store(number as u32, Relaxed);
                    }
                }
                Some("_Interval_Time") => {
                    if let Some(number) = number() {
                        rule.interval_ms.store(number as u32, Relaxed);
                    }
                }
                _ => {}
            }
        }
    }

    /// The names of the settings that [`Self::set`] takes.
    pub(crate) fn settings(&self) -> Vec<String> {
        let parts = ["Enabled", "Requests_Allowed", "Interval_Time"];
        let names = self.rules.iter().map(|rule| rule.name);
        names
            .flat_map(|name| parts.map(|part| format!("DDP_Rate_Limit_{name}_{part}")))
            .collect()
    }

    fn take(&self, rule: &Rule, factor: u32, key: u64, now: Instant) -> Result<(), Duration> {
        if !rule.enabled.load(Relaxed) {
            return Ok(());
        }
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let now = nanos(now.saturating_duration_since(self.started));
        let interval = u64::from(rule.interval_ms.load(Relaxed)) * u64::from(factor) * 1_000_000;
        let requests = u64::from(rule.requests.load(Relaxed)) * u64::from(factor);
        let shard = &self.buckets[key as usize % self.buckets.len()];
        // A table of numbers is whole after every statement.
        let mut buckets = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let before = buckets.get(key);
        let next = if self.mode == RateLimits::Windows {
            window(before, now, interval, requests)
        } else {
            bucket(before, now, interval, interval / requests.max(1))
        };
        match next {
            Ok(next) => {
                buckets.put(key, next);
                Ok(())
            }
            Err(wait) => {
                metrics::limited(rule.label);
                Err(Duration::from_nanos(wait))
            }
        }
    }
}

/// A bucket is the time when it would be full again; the time to wait, where one more call is too much.
fn bucket(before: u64, now: u64, interval: u64, each: u64) -> Result<u64, u64> {
    let full_at = before.max(now);
    if full_at + each > now + interval {
        return Err(full_at + each - now - interval);
    }
    Ok(full_at + each)
}

/// A window is its end in ms, and behind that how many calls it has had.
fn window(before: u64, now: u64, interval: u64, requests: u64) -> Result<u64, u64> {
    const CALLS: u64 = (1 << 24) - 1;
    let ms = |nanos: u64| nanos / 1_000_000;
    let (end, calls) = (before >> 24, before & CALLS);
    if end <= ms(now) {
        return Ok((ms(now + interval) << 24) + 1);
    }
    if calls >= requests.min(CALLS) {
        return Err(end * 1_000_000 - now);
    }
    Ok(before + 1)
}

impl Buckets {
    fn get(&self, key: u64) -> u64 {
        self.now
            .get(&key)
            .or_else(|| self.before.get(&key))
            .copied()
            .unwrap_or(0)
    }

    fn put(&mut self, key: u64, full_at: u64) {
        if self.now.len() >= KEYS_MAX && !self.now.contains_key(&key) {
            self.before = mem::take(&mut self.now);
        }
        self.now.insert(key, full_at);
    }
}

#[cfg(test)]
mod tests {
    use std::{net::IpAddr, sync::Arc};

    use super::*;
    use crate::{
        link::{Connection, User},
        place::Place,
    };

    fn caller(connection: &str, user: Option<&str>) -> Caller {
        Caller {
            connection: Arc::new(Connection {
                id: connection.to_owned(),
                instance: "i".into(),
                address: None,
                source: IpAddr::from([203, 0, 113, 9]),
                headers: "{}".into(),
                place: Place {
                    shard: 0,
                    slot: 0,
                    generation: 0,
                },
            }),
            user: user.map(|id| {
                Arc::new(User {
                    id: id.into(),
                    hashed_token: String::new(),
                })
            }),
        }
    }

    fn passed(limiter: &Limiter, caller: &Caller, call: Call, name: &str, now: Instant) -> usize {
        (0..100_000)
            .take_while(|_| limiter.check(caller, call, name, now).is_ok())
            .count()
    }

    #[test]
    fn a_method_has_its_burst_and_then_the_long_run_rate() {
        let now = Instant::now();
        let limiter = Limiter::new(RateLimits::On, true, now);
        let anonymous = caller("c1", None);
        assert_eq!(passed(&limiter, &anonymous, Call::Method, "login", now), 10);
        assert_eq!(
            limiter.check(&anonymous, Call::Method, "login", now),
            Err(Duration::from_secs(1))
        );
        let later = now + Duration::from_secs(1);
        assert_eq!(
            passed(&limiter, &anonymous, Call::Method, "login", later),
            1
        );
        assert_eq!(
            passed(&limiter, &anonymous, Call::Method, "logout", later),
            10,
            "each method has its own"
        );
    }

    #[test]
    fn streams_have_four_times_as_much() {
        let now = Instant::now();
        let limiter = Limiter::new(RateLimits::On, true, now);
        assert_eq!(
            passed(
                &limiter,
                &caller("c1", None),
                Call::Method,
                "stream-notify-room",
                now
            ),
            40
        );
    }

    #[test]
    fn subscriptions_count_for_the_connection_only() {
        let now = Instant::now();
        let limiter = Limiter::new(RateLimits::On, true, now);
        assert_eq!(
            passed(
                &limiter,
                &caller("c1", None),
                Call::Subscription,
                "stream-notify-room",
                now
            ),
            600
        );
    }

    #[test]
    fn a_user_shares_his_budget_between_connections() {
        let now = Instant::now();
        let limiter = Limiter::new(RateLimits::On, true, now);
        let sockets = ["c1", "c2", "c3"].map(|id| caller(id, Some("u1")));
        let ten = |caller| {
            (0..10)
                .filter(|_| limiter.check(caller, Call::Method, "m", now).is_ok())
                .count()
        };
        let all: usize = sockets.iter().map(ten).sum();
        assert_eq!(all, 20);
    }

    #[test]
    fn a_window_has_exactly_what_is_allowed_and_ends_at_once() {
        let now = Instant::now();
        let limiter = Limiter::new(RateLimits::Windows, true, now);
        let bob = caller("c1", None);
        let ten = passed(&limiter, &bob, Call::Method, "login", now);
        let soon = now + Duration::from_secs(4);
        let refused = limiter.check(&bob, Call::Method, "login", soon);
        assert_eq!((ten, refused), (10, Err(Duration::from_secs(6))));
        let later = now + Duration::from_secs(10);
        assert_eq!(passed(&limiter, &bob, Call::Method, "login", later), 10);
    }

    #[test]
    fn nobody_shares_a_bucket_with_those_who_come_through_the_same_proxy() {
        let now = Instant::now();
        for (by_address, expected) in [(true, 5), (false, 600)] {
            let limiter = Limiter::new(RateLimits::On, by_address, now);
            limiter.set("DDP_Rate_Limit_IP_Requests_Allowed", Some("5"));
            let subscription = Call::Subscription;
            let count = passed(&limiter, &caller("c1", None), subscription, "stream-x", now);
            assert_eq!(count, expected, "{by_address}");
        }
    }

    #[test]
    fn settings_move_the_rules() {
        let now = Instant::now();
        let limiter = Limiter::new(RateLimits::On, true, now);
        limiter.set(
            "DDP_Rate_Limit_Connection_By_Method_Requests_Allowed",
            Some("3"),
        );
        assert_eq!(
            passed(&limiter, &caller("c1", None), Call::Method, "m", now),
            3
        );
        limiter.set("DDP_Rate_Limit_Connection_By_Method_Enabled", Some("false"));
        limiter.set(
            "DDP_Rate_Limit_Connection_Requests_Allowed",
            Some("nonsense"),
        );
        assert_eq!(
            passed(&limiter, &caller("c2", None), Call::Method, "m", now),
            600
        );
    }

    #[test]
    fn the_table_is_bounded() {
        let mut buckets = Buckets::default();
        for key in 0..100_000 {
            buckets.put(key, 1);
        }
        assert!(buckets.now.len() + buckets.before.len() <= 2 * KEYS_MAX);
    }
}
