//! Events from their arrival to the end of their handling, as metrics and traces see them.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use protocol::moleculer::{DecodeError, Kind};

use crate::{meters::Meters, spans::Span, uplink::Uplink};

/// Comes with an event: it counts as handled when the last copy of this is dropped. Events that came together, of one name
/// and for one service, are measured as one.
#[derive(Clone, Default)]
pub struct Handled(Option<Arc<Together>>);

struct Together {
    counts: Counts,
    event: &'static str,
    service: &'static str,
    caller: String,
    arrived: Instant,
    count: AtomicU64,
    span: Span,
}

/// Where they are counted.
#[derive(Clone)]
struct Counts {
    meters: Arc<Meters>,
    uplink: Arc<Uplink>,
}

/// What came together, until it is given to those who listen.
pub(crate) struct Arrivals {
    counts: Counts,
    arrived: Instant,
    groups: Vec<Arc<Together>>,
}

impl Arrivals {
    pub(crate) fn new(meters: &Arc<Meters>, uplink: &Arc<Uplink>, arrived: Instant) -> Self {
        Self {
            counts: Counts {
                meters: meters.clone(),
                uplink: uplink.clone(),
            },
            arrived,
            groups: Vec::new(),
        }
    }

    /// One more event, sent from the handler of `caller`. Of several that are measured as one, the first one's `meta` names
    /// the parent.
    pub(crate) fn add(
        &mut self,
        event: &'static str,
        service: &'static str,
        caller: Option<&str>,
        meta: &[u8],
    ) -> Handled {
        let caller = caller.unwrap_or(NOBODY);
        let is_same = |group: &&Arc<Together>| {
            (group.event, group.service, &*group.caller) == (event, service, caller)
        };
        let known = self.groups.iter().find(is_same).cloned();
        let group = known.unwrap_or_else(|| {
            let group = Arc::new(Together {
                counts: self.counts.clone(),
                event,
                service,
                caller: caller.to_owned(),
                arrived: self.arrived,
                count: AtomicU64::new(0),
                span: Span::of_events(event, service, caller, meta),
            });
            self.groups.push(group.clone());
            group
        });
        group.count.fetch_add(1, Relaxed);
        Handled(Some(group))
    }

    /// One that nobody can handle: what it brings is no array.
    pub(crate) fn fail(&self, event: &str, service: &str) {
        self.counts.fail(labels(event, service, NOBODY));
    }

    /// Counts them: to be called before they are given to anybody.
    pub(crate) fn begin(&self) {
        for group in &self.groups {
            self.counts
                .meters
                .add_each(&[TOTAL, ACTIVE], &group.labels(), group.count());
        }
    }
}

impl Handled {
    /// What it brings cannot be read.
    pub(crate) fn fail(&self) {
        if let Some(together) = &self.0 {
            let counters = &together.counts.uplink.counters;
            counters.dropped(Kind::Event, DecodeError::Malformed);
            together.counts.fail(together.labels());
        }
    }
}

impl Counts {
    fn fail(&self, labels: [(&'static str, &str); 4]) {
        let error = [
            ("errorName", "TypeError"),
            ("errorCode", UNKNOWN),
            ("errorType", UNKNOWN),
        ];
        let labels = [&labels, &error[..]].concat();
        self.meters
            .add("moleculer_event_received_error_total", &labels, 1.0);
    }
}

impl Together {
    fn labels(&self) -> [(&'static str, &str); 4] {
        labels(self.event, self.service, &self.caller)
    }

    fn count(&self) -> f64 {
        self.count.load(Relaxed) as f64
    }
}

impl Drop for Together {
    fn drop(&mut self) {
        let (labels, now) = (self.labels(), Instant::now());
        let millis = now.duration_since(self.arrived).as_secs_f64() * 1e3;
        let meters = &self.counts.meters;
        meters.add(ACTIVE, &labels, -self.count());
        let count = self.count.load(Relaxed);
        self.span.counts(count);
        meters.observe("moleculer_event_received_time", &labels, millis, count, now);
    }
}

impl fmt::Debug for Handled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let together = self.0.as_ref().map(|group| group.count());
        f.debug_tuple("Handled").field(&together).finish()
    }
}

/// The group of a service is its name (backplane.md 4.4).
fn labels<'a>(event: &'a str, service: &'a str, caller: &'a str) -> [(&'static str, &'a str); 4] {
    [
        ("service", service),
        ("group", service),
        ("event", event),
        ("caller", caller),
    ]
}

const TOTAL: &str = "moleculer_event_received_total";
const ACTIVE: &str = "moleculer_event_received_active";
/// What peers' pages say where there is no caller, and no code of an error.
pub(crate) const NOBODY: &str = "null";
pub(crate) const UNKNOWN: &str = "undefined";
