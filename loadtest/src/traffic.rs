//! What is published and when.

use std::time::{Duration, Instant};

use crate::backend::{Backend, Names};
use crate::scenario::{Interest, Load, Scenario};
use crate::tally::{Marker, Tally};
use crate::topics::{event_name, topic_count, typing_event};

/// What a document is without its filler, roughly; the filler makes up the size that a scenario asks for.
const DOCUMENT_BYTES: usize = 250;

/// The publisher of one run.
pub(crate) struct Traffic {
    load: Load,
    interest: Interest,
    names: Names,
    unwanted_per_event: u32,
    typing_per_event: u32,
    topics: u32,
    next_topic: u32,
    started: Instant,
    published: u64,
    unwanted: u64,
    filler: String,
    /// The whole argument list of an event for nobody.
    nobody: Vec<u8>,
    /// Reused for every event.
    data: Vec<u8>,
    packet: Vec<u8>,
}

impl Traffic {
    pub(crate) fn new(scenario: &Scenario, names: Names, users: usize, now: Instant) -> Self {
        let mut traffic = Self {
            load: scenario.load,
            interest: scenario.interest,
            names,
            unwanted_per_event: scenario.unwanted_per_event,
            typing_per_event: scenario.typing_per_event,
            topics: topic_count(scenario.interest, users) as u32,
            next_topic: 0,
            started: now,
            published: 0,
            unwanted: 0,
            filler: "x".repeat(scenario.message_bytes.saturating_sub(DOCUMENT_BYTES)),
            nobody: Vec::new(),
            data: Vec::new(),
            packet: Vec::new(),
        };
        let room = format!("{}nobody", traffic.names.room_prefix);
        traffic.push_room_message(
            &room,
            &Marker {
                topic: 0,
                number: 0,
                sent: 0,
            },
        );
        traffic.nobody = std::mem::take(&mut traffic.data);
        traffic
    }

    /// Events published for somebody and for nobody.
    pub(crate) fn published(&self) -> (u64, u64) {
        (self.published, self.unwanted)
    }

    /// Whether readers set the pace, not the clock.
    pub(crate) fn fills_a_window(&self) -> bool {
        matches!(self.load, Load::InFlight(_))
    }

    /// Nobody types any more.
    pub(crate) fn calm(&mut self) {
        self.typing_per_event = 0;
    }

    /// Publishes what is due at `now`.
    pub(crate) fn publish_due(&mut self, now: Instant, backend: &mut Backend, tally: &mut Tally) {
        let elapsed = now.saturating_duration_since(self.started);
        for _ in 0..owed(self.load, elapsed, self.published, tally.in_flight) {
            for _ in 0..self.unwanted_per_event {
                backend.broadcast(&mut self.packet, "watch.messages", &self.nobody);
            }
            self.unwanted += u64::from(self.unwanted_per_event);
            let topic = self.next_topic;
            self.next_topic = (topic + 1) % self.topics;
            let Some(marker) = tally.publish(topic) else {
                continue;
            };
            self.published += 1;
            if self.typing_per_event > 0 {
                self.push_typing(topic);
                for _ in 0..self.typing_per_event {
                    backend.broadcast(&mut self.packet, "stream", &self.data);
                }
            }
            self.data.clear();
            match self.interest {
                Interest::Rooms { .. } => {
                    let room = self.names.room(topic);
                    self.push_room_message(&room, &marker);
                }
                Interest::OwnUser => self.push_notification(&marker),
                Interest::Watched { .. } => self.push_status(&marker),
            }
            backend.broadcast(&mut self.packet, event_name(self.interest), &self.data);
        }
    }

    /// How long the publisher may sleep at `now` if nothing arrives.
    pub(crate) fn idle_for(&self, now: Instant) -> Duration {
        let longest = Duration::from_millis(5);
        let elapsed = now.saturating_duration_since(self.started);
        due(self.load, self.published)
            .map_or(longest, |due| due.saturating_sub(elapsed).min(longest))
    }

    fn push_typing(&mut self, topic: u32) {
        self.data.clear();
        let event = typing_event(&self.names, topic);
        let relay = format!(r#"[["notify-room","{event}",["user-1",["user-typing"],{{}}]]]"#);
        self.data.extend_from_slice(relay.as_bytes());
    }

    fn push_room_message(&mut self, room: &str, marker: &Marker) {
        let Self { data, filler, .. } = self;
        let milliseconds = marker.sent / 1_000_000;
        data.extend_from_slice(br#"[{"message":{"_id":""#);
        marker.push(data);
        data.extend_from_slice(
            format!(
                r#"","rid":"{room}","msg":"{filler}","ts":{{"$date":{milliseconds}}},"u":{{"_id":"user-0","username":"user-0","name":"User 0"}},"_updatedAt":{{"$date":{milliseconds}}},"urls":[],"mentions":[],"channels":[],"md":[]}}}}]"#
            )
            .as_bytes(),
        );
    }

    fn push_notification(&mut self, marker: &Marker) {
        let Self {
            data,
            filler,
            names,
            ..
        } = self;
        data.extend_from_slice(
            format!(r#"["{}{}",{{"_id":""#, names.user_prefix, marker.topic).as_bytes(),
        );
        marker.push(data);
        data.extend_from_slice(
            format!(
                r#"","title":"User 0","text":"{filler}","payload":{{"rid":"room-0","type":"d"}}}}]"#
            )
            .as_bytes(),
        );
    }

    fn push_status(&mut self, marker: &Marker) {
        let user = format!("{}{}", self.names.user_prefix, marker.topic);
        self.data.extend_from_slice(
            format!(
                r#"[{{"user":{{"_id":"{user}","username":"{user}","status":"busy","statusText":""#
            )
            .as_bytes(),
        );
        marker.push(&mut self.data);
        self.data
            .extend_from_slice(br#""},"previousStatus":"online"}]"#);
    }
}

/// Events to publish `elapsed` after the start, when so many have been `published`.
fn owed(load: Load, elapsed: Duration, published: u64, in_flight: u32) -> u64 {
    let until_now = match load {
        Load::Nothing => 0,
        Load::InFlight(wanted) => return wanted.saturating_sub(in_flight).into(),
        Load::PerSecond(rate) => (elapsed.as_secs_f64() * rate) as u64,
        Load::Bursts { per_second, events } => {
            (elapsed.as_secs_f64() * per_second) as u64 * u64::from(events)
        }
    };
    until_now.saturating_sub(published)
}

/// When, after the start, the next event is due; `None` if it waits for readers.
fn due(load: Load, published: u64) -> Option<Duration> {
    match load {
        Load::Nothing | Load::InFlight(_) => None,
        Load::PerSecond(rate) => Some(Duration::from_secs_f64((published + 1) as f64 / rate)),
        Load::Bursts { per_second, events } => Some(Duration::from_secs_f64(
            (published / u64::from(events) + 1) as f64 / per_second,
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario;

    #[test]
    fn what_is_owed_follows_the_clock_or_the_readers() {
        let half = Duration::from_millis(500);
        assert_eq!(owed(Load::Nothing, half, 0, 0), 0);
        assert_eq!(owed(Load::InFlight(32), half, 1000, 30), 2);
        assert_eq!(owed(Load::InFlight(1), half, 1000, 1), 0);
        assert_eq!(owed(Load::PerSecond(50.0), half, 20, 9), 5);
        let bursts = Load::Bursts {
            per_second: 10.0,
            events: 5,
        };
        assert_eq!(owed(bursts, half, 20, 0), 5);
        assert_eq!(owed(bursts, Duration::from_millis(590), 25, 0), 0);
        assert_eq!(due(bursts, 25), Some(Duration::from_millis(600)));
        assert_eq!(
            due(Load::PerSecond(50.0), 4),
            Some(Duration::from_millis(100))
        );
        assert_eq!(due(Load::InFlight(1), 4), None);
    }

    #[test]
    fn a_document_is_valid_json_of_about_the_size_asked_for() {
        for scenario in scenario::all() {
            let mut traffic = Traffic::new(&scenario, Names::default(), 10, Instant::now());
            traffic.data.clear();
            let marker = Marker {
                topic: 3,
                number: 12_345,
                sent: 1_700_000_000_123_456_789,
            };
            traffic.push_room_message("room-3", &marker);
            let value: serde_json::Value = serde_json::from_slice(&traffic.data).unwrap();
            assert_eq!(value[0]["message"]["rid"], "room-3");
            assert!(
                traffic.data.len().abs_diff(scenario.message_bytes) < 80,
                "{} bytes",
                traffic.data.len()
            );
            traffic.data.clear();
            traffic.push_notification(&marker);
            let value: serde_json::Value = serde_json::from_slice(&traffic.data).unwrap();
            assert_eq!(value[0], "user-3");
            traffic.data.clear();
            traffic.push_status(&marker);
            let value: serde_json::Value = serde_json::from_slice(&traffic.data).unwrap();
            assert_eq!(value[0]["user"]["_id"], "user-3");
        }
    }
}
