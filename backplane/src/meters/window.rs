//! How long things took lately.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// The newest values of the last minute.
#[derive(Default)]
pub(super) struct Window {
    values: VecDeque<(Instant, f64)>,
}

/// What a window shows; there is at least one value.
pub(super) struct Shown {
    pub(super) min: f64,
    pub(super) max: f64,
    pub(super) mean: f64,
    pub(super) variance: f64,
    sorted: Vec<f64>,
}

impl Window {
    pub(super) fn push(&mut self, value: f64, now: Instant) {
        if self.values.len() == VALUES_MAX {
            self.values.pop_front();
        }
        self.values.push_back((now, value));
    }

    pub(super) fn show(&mut self, now: Instant) -> Option<Shown> {
        let is_old = |at: Instant| now.duration_since(at) > AGE_MAX;
        while self.values.front().is_some_and(|(at, _)| is_old(*at)) {
            self.values.pop_front();
        }
        let mut sorted: Vec<f64> = self.values.iter().map(|(_, value)| *value).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let count = sorted.len() as f64;
        let mean = sorted.iter().sum::<f64>() / count;
        let variance = sorted
            .iter()
            .map(|value| (value - mean).powi(2))
            .sum::<f64>()
            / count;
        Some(Shown {
            min: *sorted.first()?,
            max: *sorted.last()?,
            mean,
            variance,
            sorted,
        })
    }
}

impl Shown {
    pub(super) fn quantile(&self, share: f64) -> f64 {
        let rank = (share * self.sorted.len() as f64).ceil() as usize;
        self.sorted[rank.clamp(1, self.sorted.len()) - 1]
    }
}

/// As peers do.
const AGE_MAX: Duration = Duration::from_secs(60);
/// Of a busy minute the newest are enough.
const VALUES_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_shows_the_newest_values_of_a_minute() {
        let start = Instant::now();
        let mut window = Window::default();
        assert!(window.show(start).is_none());
        for value in 1..=1_000 {
            window.push(f64::from(value), start);
        }
        window.push(7.0, start + Duration::from_secs(30));
        let shown = window.show(start).unwrap();
        assert_eq!((shown.min, shown.max), (7.0, 1_000.0));
        let shown = window.show(start + Duration::from_secs(61)).unwrap();
        assert_eq!(
            (shown.min, shown.max, shown.mean, shown.variance),
            (7.0, 7.0, 7.0, 0.0)
        );
        assert_eq!((shown.quantile(0.5), shown.quantile(0.999)), (7.0, 7.0));
    }
}
