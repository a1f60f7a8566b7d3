//! Which of several nodes gets a call.

use std::sync::Arc;

/// How calls are spread over the nodes that offer an action.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    #[default]
    RoundRobin,
    Random,
    /// The least busy of a few random nodes, by what their heartbeats say.
    CpuUsage,
    /// The nearest of a few random nodes, by their answers to our pings.
    Latency,
}

impl Strategy {
    /// One of these nodes, of which there is at least one. `load` is what the strategy looks at, where it is known.
    pub(super) fn choose<'a>(
        self,
        nodes: &'a [Arc<str>],
        turn: &mut usize,
        random: usize,
        load: impl Fn(&str) -> Option<f64>,
    ) -> Option<&'a Arc<str>> {
        // As peers sample.
        let sample = match self {
            Self::RoundRobin => {
                *turn = turn.wrapping_add(1);
                return nodes.get(turn.wrapping_sub(1) % nodes.len().max(1));
            }
            Self::Random => 1,
            Self::CpuUsage => 3,
            Self::Latency => 5,
        };
        let from = random % nodes.len().max(1);
        let sampled = nodes
            .iter()
            .cycle()
            .skip(from)
            .take(sample.min(nodes.len()));
        // Of equals, and where nothing is known, the first: a random one.
        sampled.min_by(|a, b| {
            let of = |node: &str| load(node).unwrap_or(f64::INFINITY);
            of(a).total_cmp(&of(b))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strategy_takes_the_best_of_its_sample() {
        let nodes: Vec<Arc<str>> = ["a", "b", "c", "d"].map(Into::into).into();
        let load = |node: &str| match node {
            "a" => Some(90.0),
            "b" => Some(5.0),
            "c" => Some(50.0),
            _ => None,
        };
        let chosen = |strategy: Strategy, random| {
            let chosen = strategy.choose(&nodes, &mut 0, random, load);
            chosen.unwrap().to_string()
        };
        for (strategy, expected) in [
            (Strategy::Random, ["a", "b", "c", "d"]),
            (Strategy::CpuUsage, ["b", "b", "c", "b"]),
            (Strategy::Latency, ["b", "b", "b", "b"]),
        ] {
            let all: Vec<_> = (0..4).map(|random| chosen(strategy, random)).collect();
            assert_eq!(all, expected, "{strategy:?}");
        }
        let mut turn = 0;
        let mut next = || {
            Strategy::RoundRobin
                .choose(&nodes, &mut turn, 0, load)
                .unwrap()
                .to_string()
        };
        assert_eq!(
            [next(), next(), next(), next(), next()],
            ["a", "b", "c", "d", "a"]
        );
    }

    #[test]
    fn where_nothing_is_known_any_node_will_do() {
        let nodes: Vec<Arc<str>> = ["a", "b"].map(Into::into).into();
        for strategy in [Strategy::CpuUsage, Strategy::Latency] {
            let chosen = |random| strategy.choose(&nodes, &mut 0, random, |_| None).cloned();
            assert_eq!(
                (chosen(0).as_deref(), chosen(1).as_deref()),
                (Some("a"), Some("b"))
            );
            assert_eq!(strategy.choose(&[], &mut 0, 7, |_| None), None);
        }
    }
}
