//! When the bus thread pauses so that more events gather for its next batch, as network drivers moderate interrupts: where
//! events come alone each of them costs a wake-up of two threads, a third of its whole way.

use std::time::{Duration, Instant};

/// Events a second above which pauses begin.
const EVENTS_PER_SECOND: u32 = 5_000;

/// The rate is that of the last so long: a burst in a quiet hour is over before it counts.
const WINDOW: Duration = Duration::from_millis(5);

/// Shortest time from one batch to the next under load, and so the most that an event waits here. Of one event per user at
/// 20,000 a second 150 µs leave 8 % more CPU, and more time buys little.
const SPACING: Duration = Duration::from_micros(200);

/// Measures how fast events come.
pub(super) struct Moderation {
    window: Instant,
    /// Events since the window began.
    events: u64,
    /// What the last whole window has shown.
    is_busy: bool,
}

impl Moderation {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            window: now,
            events: 0,
            is_busy: false,
        }
    }

    /// How long to wait at `now`, when so many events have been handled that were taken at `taken`.
    pub(super) fn pause(&mut self, events: usize, taken: Instant, now: Instant) -> Duration {
        let elapsed = taken.saturating_duration_since(self.window);
        if elapsed >= WINDOW {
            // What came since the window began, over the whole time since: silence counts as such.
            let allowed = elapsed * EVENTS_PER_SECOND;
            self.is_busy = Duration::from_secs(self.events) > allowed;
            (self.window, self.events) = (taken, 0);
        }
        self.events += events as u64;
        if events > 0 && self.is_busy {
            SPACING.saturating_sub(now.saturating_duration_since(taken))
        } else {
            Duration::ZERO
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HANDLED: Duration = Duration::from_micros(20);

    /// The pauses after batches of so many events, so far apart.
    fn pauses(batches: impl IntoIterator<Item = (usize, Duration)>) -> Vec<Duration> {
        let mut now = Instant::now();
        let mut moderation = Moderation::new(now);
        let pause = |(events, after)| {
            now += after;
            moderation.pause(events, now, now + HANDLED)
        };
        batches.into_iter().map(pause).collect()
    }

    #[test]
    fn a_steady_stream_of_events_is_gathered_once_it_has_lasted_a_window() {
        let pauses = pauses([(1, Duration::from_micros(50)); 400]);
        let first = pauses.iter().position(|pause| !pause.is_zero());
        assert_eq!(first, Some(99), "5 ms at 50 µs each");
        let spaced = SPACING - HANDLED;
        assert!(pauses[99..].iter().all(|pause| *pause == spaced));
    }

    #[test]
    fn a_batch_that_took_longer_than_the_spacing_is_followed_by_the_next_at_once() {
        let start = Instant::now();
        let mut moderation = Moderation::new(start);
        let mut now = start;
        for _ in 0..100 {
            now += Duration::from_millis(1);
            assert_eq!(moderation.pause(100, now, now + SPACING), Duration::ZERO);
        }
    }

    #[test]
    fn a_burst_in_a_quiet_hour_makes_nobody_wait() {
        let burst = [
            (100, Duration::from_secs(1)),
            (100, Duration::from_millis(6)),
        ];
        let batches = burst.into_iter().chain([(1, Duration::from_secs(1)); 5]);
        let pauses = pauses(batches);
        assert!(pauses[0].is_zero());
        assert!(pauses[2..].iter().all(Duration::is_zero), "{pauses:?}");
    }

    #[test]
    fn what_is_no_event_is_never_followed_by_a_pause() {
        let mut now = Instant::now();
        let mut moderation = Moderation::new(now);
        for _ in 0..1_000 {
            now += Duration::from_micros(20);
            moderation.pause(1, now, now);
            assert!(moderation.pause(0, now, now).is_zero());
        }
    }

    proptest! {
        #[test]
        fn slow_events_never_wait_and_no_pause_is_longer_than_the_spacing(
            batches in prop::collection::vec((0_usize..50, 0_u64..20_000), 1..300),
        ) {
            let mut before = Duration::ZERO;
            let slow = batches.iter().map(|&(events, extra)| {
                // At the earliest when the limit allows another event behind the batch before.
                let after = before + Duration::from_micros(extra);
                before = Duration::from_secs(1) * u32::try_from(events).unwrap() / EVENTS_PER_SECOND;
                (events, after)
            });
            prop_assert!(pauses(slow).iter().all(Duration::is_zero));
            let fast = batches.iter().map(|&(events, after)| (events, Duration::from_micros(after)));
            prop_assert!(pauses(fast).iter().all(|pause| *pause <= SPACING));
        }
    }
}
