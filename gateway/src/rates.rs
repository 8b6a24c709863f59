//! How often one caller may call: by what a method costs, per principal, and per
//! address of those without a token.
//!
//! The answer says how the caller stands (`RateLimit` and `RateLimit-Policy`,
//! draft-ietf-httpapi-ratelimit-headers-10), and a refusal when to come again.

use std::{
    hash::{BuildHasher as _, RandomState},
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    time::Duration,
};

use chassis::{Caller, Fault, listen::PeerAddr};
use contracts::mesh::v1::{ErrorReason, RateClass};
use governor::{
    Quota, RateLimiter,
    clock::{Clock, MonotonicClock},
    middleware::StateInformationMiddleware,
    state::keyed::HashMapStateStore,
};
use http::{Extensions, HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// Parts of each table, so that few callers wait for each other.
const SHARDS: usize = 16;

/// Settings of the `[gateway.rates]` table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Whether there are any.
    pub enabled: bool,
    /// Whether they hold for callers on this machine too. Off by default: a mesh
    /// on one machine is one address.
    pub limit_loopback: bool,
    /// Calls that cost little.
    pub read: Rate,
    /// Ordinary calls.
    pub standard: Rate,
    /// Password hashing, checkout, imports.
    pub expensive: Rate,
    /// Callers remembered per class. When there are more, those who come new
    /// share one allowance until others are forgotten.
    pub callers_max: usize,
}

/// A rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Calls a minute in the long run.
    pub per_minute: NonZeroU32,
    /// Calls at once.
    pub burst: NonZeroU32,
}

type Limiter<C> = RateLimiter<u64, HashMapStateStore<u64>, C, StateInformationMiddleware>;

/// Counts calls.
pub(crate) struct Rates<C: Clock = MonotonicClock> {
    classes: Option<[Class<C>; 3]>,
    limit_loopback: bool,
    hasher: RandomState,
    clock: C,
}

struct Class<C: Clock> {
    name: &'static str,
    rate: Rate,
    policy: HeaderValue,
    shards: Vec<Limiter<C>>,
    callers_max: usize,
}

/// How a caller stands after a call that was let through.
#[derive(Debug)]
pub(crate) struct Standing {
    class: &'static str,
    policy: HeaderValue,
    remaining: u32,
    /// When all of it is there again.
    reset: Duration,
}

/// A caller who called too often.
#[derive(Debug)]
pub(crate) struct Exceeded {
    standing: Standing,
    wait: Duration,
}

// === impl Config ===

impl Default for Config {
    fn default() -> Self {
        let rate = |per_minute, burst| Rate {
            per_minute: NonZeroU32::new(per_minute).unwrap_or(NonZeroU32::MIN),
            burst: NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN),
        };
        Self {
            enabled: true,
            limit_loopback: false,
            read: rate(6_000, 300),
            standard: rate(3_000, 150),
            expensive: rate(120, 30),
            callers_max: 100_000,
        }
    }
}

// === impl Rates ===

impl Rates {
    pub(crate) fn new(config: &Config) -> Self {
        Self::with_clock(config, MonotonicClock)
    }
}

impl<C: Clock + Clone> Rates<C> {
    fn with_clock(config: &Config, clock: C) -> Self {
        let class = |name, rate| Class::new(name, rate, config.callers_max, &clock);
        let classes = config.enabled.then(|| {
            [
                class("read", config.read),
                class("standard", config.standard),
                class("expensive", config.expensive),
            ]
        });
        Self { classes, limit_loopback: config.limit_loopback, hasher: RandomState::new(), clock }
    }

    /// Counts a call. `None` if nothing limits this caller.
    pub(crate) fn take(
        &self,
        class: RateClass,
        caller: &Caller,
        extensions: &Extensions,
    ) -> Result<Option<Standing>, Exceeded> {
        let Some([read, standard, expensive]) = &self.classes else { return Ok(None) };
        let address = extensions.get::<PeerAddr>().map(|PeerAddr(address)| address.ip());
        if !self.limit_loopback && address.is_none_or(|ip| ip.is_loopback()) {
            return Ok(None);
        }
        let class = match class {
            RateClass::Read => read,
            RateClass::Unspecified | RateClass::Standard => standard,
            RateClass::Expensive => expensive,
        };
        let key = match (caller.subject(), address) {
            (Some(subject), _) => self.hasher.hash_one(subject),
            (None, address) => self.hasher.hash_one(address.map(site)),
        };
        class.take(key, &self.clock).map(Some)
    }

    /// Forgets those who have all of their allowance.
    pub(crate) fn forget(&self) {
        for limiter in self.classes.iter().flatten().flat_map(|class| &class.shards) {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
    }
}

impl<C: Clock> std::fmt::Debug for Rates<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rates").field("enabled", &self.classes.is_some()).finish_non_exhaustive()
    }
}

/// Whoever has one IPv6 address has its whole /64.
fn site(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(address) => IpAddr::V4(address),
            None => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        },
    }
}

// === impl Class ===

impl<C: Clock + Clone> Class<C> {
    fn new(name: &'static str, rate: Rate, callers_max: usize, clock: &C) -> Self {
        let window =
            Duration::from_secs(60).saturating_mul(rate.burst.get()) / rate.per_minute.get();
        let quota = Quota::per_minute(rate.per_minute).allow_burst(rate.burst);
        let policy = format!("\"{name}\";q={};w={}", rate.burst, seconds(window));
        Self {
            name,
            rate,
            policy: HeaderValue::from_str(&policy)
                .unwrap_or_else(|_| HeaderValue::from_static("\"none\"")),
            shards: (0..SHARDS)
                .map(|_| {
                    RateLimiter::hashmap_with_clock(quota, clock.clone())
                        .with_middleware::<StateInformationMiddleware>()
                })
                .collect(),
            callers_max: callers_max / SHARDS,
        }
    }

    fn take(&self, key: u64, clock: &C) -> Result<Standing, Exceeded> {
        let position = usize::try_from(key % 16).unwrap_or_default();
        let Some(limiter) = self.shards.get(position) else {
            return Ok(self.standing(self.rate.burst.get()));
        };
        let key = if limiter.len() < self.callers_max { key } else { 0 };
        match limiter.check_key(&key) {
            Ok(snapshot) => Ok(self.standing(snapshot.remaining_burst_capacity())),
            Err(refused) => Err(Exceeded {
                standing: self.standing(0),
                wait: refused.wait_time_from(clock.now()),
            }),
        }
    }

    fn standing(&self, remaining: u32) -> Standing {
        let used = self.rate.burst.get().saturating_sub(remaining);
        let reset = Duration::from_secs(60).saturating_mul(used) / self.rate.per_minute.get();
        Standing { class: self.name, policy: self.policy.clone(), remaining, reset }
    }
}

// === impl Standing ===

impl Standing {
    /// Writes the headers that tell the caller.
    pub(crate) fn tell(&self, headers: &mut HeaderMap) {
        let text = format!("\"{}\";r={};t={}", self.class, self.remaining, seconds(self.reset));
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(RATELIMIT, value);
        }
        headers.insert(RATELIMIT_POLICY, self.policy.clone());
    }
}

// === impl Exceeded ===

impl Exceeded {
    pub(crate) fn fault(&self) -> Fault {
        Fault::resource_exhausted(ErrorReason::RateLimited)
            .message(format!(
                "too many calls of the class {}: come again in {} s",
                self.standing.class,
                seconds(self.wait)
            ))
            .retry_after(self.wait)
    }

    /// Writes the headers that tell the caller.
    pub(crate) fn tell(&self, headers: &mut HeaderMap) {
        self.standing.tell(headers);
    }
}

/// Rounded up, so that nobody comes too early.
fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use chassis::{Principal, Scope};
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn from(address: &str) -> Extensions {
        let mut extensions = Extensions::new();
        extensions.insert(PeerAddr(SocketAddr::new(address.parse().unwrap(), 1)));
        extensions
    }

    fn nobody() -> Caller {
        Caller::new(Principal::Anonymous, None, Scope::Own(String::new()))
    }

    fn customer(id: &str) -> Caller {
        let principal = Principal::Customer { id: id.to_owned() };
        Caller::new(principal, None, Scope::Own(id.to_owned()))
    }

    fn rates(
        clock: &FakeRelativeClock,
        change: impl FnOnce(&mut Config),
    ) -> Rates<FakeRelativeClock> {
        let mut config = Config {
            expensive: Rate {
                per_minute: NonZeroU32::new(60).unwrap(),
                burst: NonZeroU32::new(2).unwrap(),
            },
            ..Config::default()
        };
        change(&mut config);
        Rates::with_clock(&config, clock.clone())
    }

    #[test]
    fn a_caller_has_a_burst_and_then_a_rate() {
        let clock = FakeRelativeClock::default();
        let rates = rates(&clock, |_| {});
        let (ana, here) = (customer("ana"), from("192.0.2.1"));
        let take = || rates.take(RateClass::Expensive, &ana, &here);
        let mut headers = HeaderMap::new();
        take().unwrap().unwrap().tell(&mut headers);
        assert_eq!(headers["ratelimit"], "\"expensive\";r=1;t=1");
        assert_eq!(headers["ratelimit-policy"], "\"expensive\";q=2;w=2");
        assert!(take().is_ok());
        let refused = take().unwrap_err();
        assert_eq!(refused.fault().retry_delay(), Some(Duration::from_secs(1)));
        clock.advance(Duration::from_secs(1));
        assert!(take().is_ok());
        assert!(take().is_err());
    }

    #[test]
    fn callers_do_not_use_up_each_others_rates() {
        let clock = FakeRelativeClock::default();
        let rates = rates(&clock, |_| {});
        let take = |caller: &Caller, address: &str| {
            rates.take(RateClass::Expensive, caller, &from(address)).is_ok()
        };
        for _ in 0..2 {
            assert!(take(&nobody(), "192.0.2.1"));
        }
        assert!(!take(&nobody(), "192.0.2.1"), "one address");
        assert!(take(&nobody(), "192.0.2.2"), "another address");
        assert!(take(&customer("ana"), "192.0.2.1"), "who is known is not the address");
        assert!(take(&nobody(), "2001:db8::1") && take(&nobody(), "2001:db8::2"));
        assert!(!take(&nobody(), "2001:db8::3"), "one /64");
    }

    #[test]
    fn this_machine_is_not_limited_unless_asked() {
        let clock = FakeRelativeClock::default();
        let open = rates(&clock, |_| {});
        let strict = rates(&clock, |config| config.limit_loopback = true);
        let here = from("127.0.0.1");
        for _ in 0..10 {
            assert!(open.take(RateClass::Expensive, &nobody(), &here).unwrap().is_none());
        }
        let passed =
            (0..10).filter(|_| strict.take(RateClass::Expensive, &nobody(), &here).is_ok());
        assert_eq!(passed.count(), 2);
    }

    #[test]
    fn strangers_do_not_fill_the_memory() {
        let clock = FakeRelativeClock::default();
        let rates = rates(&clock, |config| config.callers_max = 16 * SHARDS);
        for caller in 0..10_000 {
            let _refused =
                rates.take(RateClass::Read, &customer(&caller.to_string()), &from("192.0.2.1"));
        }
        let known = |rates: &Rates<FakeRelativeClock>| -> usize {
            rates.classes.iter().flatten().flat_map(|class| &class.shards).map(Limiter::len).sum()
        };
        assert!(known(&rates) <= 17 * SHARDS, "{}", known(&rates));
        clock.advance(Duration::from_secs(3_600));
        rates.forget();
        assert_eq!(known(&rates), 0);
    }
}
