//! Curves: one scenario with one quantity varied.

use crate::scenario::{self, Figure, Interest, Load, Scenario};

/// A quantity and its values.
pub(crate) struct Sweep {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// What is varied, as a label of an axis.
    pub(crate) axis: &'static str,
    /// The value, and the scenario with it.
    pub(crate) points: Vec<(usize, Scenario)>,
}

/// All curves. They end at 17,500 connections: where a process may open 20,000 files the gateway takes 17,696 and keeps the rest
/// for itself.
pub(crate) fn all() -> Vec<Sweep> {
    let named = |name| scenario::named(name).expect("one of our own names");
    let (one_room, rooms) = (named("w1"), named("rooms"));
    vec![
        sweep(
            "in-flight",
            "one room of 1,000: the more is waiting, the more shares a write",
            "messages in flight",
            &[1, 2, 4, 8, 16, 32, 64],
            |in_flight| Scenario {
                load: Load::InFlight(in_flight as u32),
                ..one_room
            },
        ),
        sweep(
            "rooms",
            "1,000 clients in so many rooms, 64 messages in flight",
            "rooms",
            &[1, 10, 100, 1000],
            |rooms| Scenario {
                interest: Interest::Rooms { rooms, each: 1 },
                load: Load::InFlight(64),
                ..one_room
            },
        ),
        sweep(
            "size",
            "one room of 1,000, 8 messages in flight",
            "bytes of a message",
            &[500, 1000, 2000, 4000, 8000, 16_000],
            |message_bytes| Scenario {
                load: Load::InFlight(8),
                message_bytes,
                ..one_room
            },
        ),
        sweep(
            "connections",
            "one room of everybody, 4 messages in flight",
            "connections",
            &[1000, 2000, 5000, 10_000, 17_500],
            |connections| Scenario {
                connections,
                load: Load::InFlight(4),
                ..one_room
            },
        ),
        sweep(
            "memory",
            "idle connections with one subscription and a browser's headers",
            "connections",
            &[1000, 2000, 5000, 10_000, 17_500],
            |connections| Scenario {
                connections,
                ..named("idle")
            },
        ),
        sweep(
            "subscriptions",
            "2,000 idle connections with a browser's headers",
            "subscriptions per user",
            &[1, 5, 11, 20, 35],
            |subscriptions| Scenario {
                connections: 2000,
                extra_subscriptions: subscriptions - 1,
                ..named("idle")
            },
        ),
        sweep(
            "servers",
            "100 rooms of 10 over so many servers behind one nats-server, all on one core, 200 messages in flight",
            "servers",
            &[1, 2, 4],
            |servers| Scenario { servers, ..rooms },
        ),
    ]
}

fn sweep(
    name: &'static str,
    title: &'static str,
    axis: &'static str,
    values: &[usize],
    scenario: impl Fn(usize) -> Scenario,
) -> Sweep {
    let points = values.iter().map(|&value| {
        let scenario = Scenario {
            name,
            title,
            ..scenario(value)
        };
        (value, scenario)
    });
    Sweep {
        name,
        title,
        axis,
        points: points.collect(),
    }
}

impl Sweep {
    pub(crate) fn figure(&self) -> Figure {
        self.points[0].1.figure
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::EXTRAS;

    #[test]
    fn every_point_of_a_curve_is_a_scenario_that_can_be_run() {
        for sweep in all() {
            for (value, scenario) in &sweep.points {
                let right = scenario.extra_subscriptions <= EXTRAS.len()
                    && scenario.servers <= scenario.connections
                    && scenario.figure == sweep.figure();
                assert!(right, "{} at {value}", sweep.name);
                if let Interest::Rooms { rooms, each } = scenario.interest {
                    assert!(each <= rooms && rooms <= scenario.connections);
                }
            }
        }
    }
}
