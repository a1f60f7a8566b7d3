//! Which topics there are, who reads which, and how they are called on both sides of a gateway.

use crate::backend::Names;
use crate::scenario::Interest;

/// The backplane event that carries the documents of an interest.
pub(crate) fn event_name(interest: Interest) -> &'static str {
    match interest {
        Interest::Rooms { .. } => "watch.messages",
        Interest::OwnUser => "notify.desktop",
        Interest::Watched { .. } => "presence.status",
    }
}

/// Stream and event name under which a topic's messages reach a client.
pub(crate) fn stream_and_event(
    interest: Interest,
    names: &Names,
    topic: u32,
) -> (&'static str, String) {
    match interest {
        Interest::Rooms { .. } => ("stream-room-messages", names.room(topic)),
        Interest::OwnUser => (
            "stream-notify-user",
            format!("{}/notification", names.user(topic as usize)),
        ),
        Interest::Watched { .. } => ("stream-user-presence", names.user(topic as usize)),
    }
}

/// Event name of `stream-notify-room` under which a room hears who is typing.
pub(crate) fn typing_event(names: &Names, room: u32) -> String {
    format!("{}/user-activity", names.room(room))
}

/// How many topics there are for so many users.
pub(crate) fn topic_count(interest: Interest, users: usize) -> usize {
    match interest {
        Interest::Rooms { rooms, .. } => rooms,
        Interest::OwnUser => users,
        Interest::Watched { users, .. } => users,
    }
}

/// The topics of client number `client`: evenly spread, and not the same sets over and over.
pub(crate) fn topics_of(interest: Interest, client: usize, users: usize) -> Vec<u32> {
    match interest {
        Interest::Rooms { rooms, each } => {
            let stride = 1 + 2 * (client / rooms % 5);
            (0..each)
                .map(|index| ((client + index * stride) % rooms) as u32)
                .collect()
        }
        Interest::OwnUser => vec![(client % users) as u32],
        Interest::Watched { users, each } => (client * each..(client + 1) * each)
            .map(|watched| (watched % users) as u32)
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::scenario;

    #[test]
    fn every_scenario_spreads_its_clients_evenly_over_distinct_rooms() {
        for scenario in scenario::all() {
            let count = topic_count(scenario.interest, scenario.connections);
            let mut members = vec![0; count];
            for client in 0..scenario.connections {
                let topics = topics_of(scenario.interest, client, scenario.connections);
                let distinct: HashSet<_> = topics.iter().collect();
                assert_eq!(distinct.len(), topics.len(), "{}", scenario.name);
                topics
                    .iter()
                    .for_each(|&topic| members[topic as usize] += 1);
            }
            assert_eq!(
                members.iter().min(),
                members.iter().max(),
                "{}",
                scenario.name
            );
        }
    }
}
