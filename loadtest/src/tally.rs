//! What the whole swarm has got so far: counted once per message, so it is kept cheap.

use std::collections::VecDeque;

use anyhow::Result;
use memchr::memmem::Finder;
use serde_json::Value;

use crate::backend::Names;
use crate::node::unix_nanos;
use crate::report::{Faults, Histogram};
use crate::scenario::Interest;
use crate::sequence::Verdict;
use crate::topics;

/// The marker that every published document carries: it survives any escaping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marker {
    pub(crate) topic: u32,
    pub(crate) number: u64,
    /// When it was published, in nanoseconds since 1970.
    pub(crate) sent: u64,
}

/// Counters of the swarm, and what is still on its way.
pub(crate) struct Tally {
    pub(crate) delivered: u64,
    /// Reads that brought at least one message.
    pub(crate) reads: u64,
    pub(crate) latency: Histogram,
    pub(crate) faults: Faults,
    pub(crate) in_flight: u32,
    /// Deliveries that are owed for everything published.
    pub(crate) expected: u64,
    distinct: u64,
    topics: Vec<TopicState>,
    interest: Interest,
    names: Names,
    finder: Finder<'static>,
    before_read: u64,
}

/// What was published on one topic and not yet read by all of its subscribers.
#[derive(Default)]
struct TopicState {
    subscribers: u32,
    published: u64,
    /// Readers still missing, of the messages from `published - outstanding.len()` on.
    outstanding: VecDeque<u32>,
}

impl Tally {
    /// `topics` is 0 when somebody else publishes.
    pub(crate) fn new(topics: usize, interest: Interest, names: Names) -> Self {
        Self {
            delivered: 0,
            reads: 0,
            latency: Histogram::default(),
            faults: Faults::default(),
            in_flight: 0,
            expected: 0,
            distinct: 0,
            topics: (0..topics).map(|_| TopicState::default()).collect(),
            interest,
            names,
            finder: Finder::new("lt~"),
            before_read: 0,
        }
    }

    /// Forgets what was counted during the warm-up; sequences go on.
    pub(crate) fn begin_measuring(&mut self) {
        self.delivered = 0;
        self.reads = 0;
        self.latency = Histogram::default();
    }

    pub(crate) fn publishes(&self) -> bool {
        !self.topics.is_empty()
    }

    /// Deliveries that are owed and have not come.
    pub(crate) fn missing(&self) -> u64 {
        self.expected.saturating_sub(self.distinct)
    }

    pub(crate) fn add_subscriber(&mut self, topic: u32) {
        if let Some(topic) = self.topics.get_mut(topic as usize) {
            topic.subscribers += 1;
        }
    }

    /// Takes a client out that will not read: nothing is owed to it.
    pub(crate) fn remove_subscriber(&mut self, topic: u32) {
        if let Some(topic) = self.topics.get_mut(topic as usize) {
            topic.subscribers -= 1;
        }
    }

    /// Numbers a message about to be published; `None` for a topic nobody is subscribed to.
    pub(crate) fn publish(&mut self, topic: u32) -> Option<Marker> {
        let state = self
            .topics
            .get_mut(topic as usize)
            .filter(|state| state.subscribers > 0)?;
        let number = state.published;
        state.published += 1;
        state.outstanding.push_back(state.subscribers);
        self.expected += u64::from(state.subscribers);
        self.in_flight += 1;
        Some(Marker {
            topic,
            number,
            sent: unix_nanos(),
        })
    }

    /// The time that all messages of a read are stamped with.
    pub(crate) fn begin_read(&mut self) -> u64 {
        self.before_read = self.delivered;
        unix_nanos()
    }

    pub(crate) fn end_read(&mut self) {
        if self.delivered > self.before_read {
            self.reads += 1;
        }
    }

    pub(crate) fn find_marker(&self, payload: &[u8]) -> Option<Marker> {
        let at = self.finder.find(payload)?;
        Marker::parse(&payload[at..])
    }

    /// Counts one delivery.
    pub(crate) fn deliver(&mut self, marker: &Marker, verdict: Verdict, now: u64) {
        self.delivered += 1;
        self.latency.record(now.saturating_sub(marker.sent));
        match verdict {
            Verdict::InOrder => {}
            Verdict::Gap(missing) => self.faults.gaps += missing,
            Verdict::Reordered => self.faults.reorders += 1,
            Verdict::Duplicate => {
                self.faults.duplicates += 1;
                return;
            }
        }
        self.distinct += 1;
        if let Some(state) = self.topics.get_mut(marker.topic as usize) {
            let first = state.published - state.outstanding.len() as u64;
            let index = usize::try_from(marker.number.wrapping_sub(first)).unwrap_or(usize::MAX);
            match state.outstanding.get_mut(index) {
                Some(readers @ 1..) => *readers -= 1,
                _ => {
                    return self.stray(|| {
                        format!(
                            "message {} of topic {} was not owed",
                            marker.number, marker.topic
                        )
                    });
                }
            }
            while state.outstanding.front() == Some(&0) {
                state.outstanding.pop_front();
                self.in_flight -= 1;
            }
        }
    }

    /// Looks once at the whole shape of a message: a marker alone would not show a wrong stream or key.
    pub(crate) fn check_shape(
        &mut self,
        marker: &Marker,
        messages: impl FnOnce() -> Result<Vec<String>>,
    ) {
        let (stream, event) = topics::stream_and_event(self.interest, &self.names, marker.topic);
        // Marked is a document's id, or the text of a status.
        let (place, id) = match self.interest {
            Interest::Watched { .. } => ("/fields/args/0/2", &*event),
            Interest::Rooms { .. } | Interest::OwnUser => ("/fields/args/0/_id", "id"),
        };
        let right = messages().is_ok_and(|messages| {
            messages.iter().all(|message| {
                serde_json::from_str::<Value>(message).is_ok_and(|message| {
                    message["msg"] == "changed"
                        && message["collection"] == *stream
                        && message["id"] == *id
                        && message["fields"]["eventName"] == *event
                        && message
                            .pointer(place)
                            .and_then(Value::as_str)
                            .is_some_and(|id| id.starts_with("lt~"))
                })
            })
        });
        if !right {
            self.stray(|| {
                format!(
                    "a message of topic {} is not a changed of {stream} {event}",
                    marker.topic
                )
            });
        }
    }

    pub(crate) fn stray(&mut self, reason: impl FnOnce() -> String) {
        self.faults.strays += 1;
        self.faults.explain(reason);
    }

    pub(crate) fn refuse(&mut self, reason: impl FnOnce() -> String) {
        self.faults.refused += 1;
        self.faults.explain(reason);
    }
}

impl Marker {
    /// Appends the text form.
    pub(crate) fn push(&self, out: &mut Vec<u8>) {
        let Self {
            topic,
            number,
            sent,
        } = self;
        out.extend_from_slice(format!("lt~{topic}~{number}~{sent}~").as_bytes());
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut numbers = bytes
            .strip_prefix(b"lt~")?
            .splitn(4, |&byte| byte == b'~')
            .map(decimal);
        Some(Self {
            topic: numbers.next()??.try_into().ok()?,
            number: numbers.next()??,
            sent: numbers.next()??,
        })
    }
}

fn decimal(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |number, &digit| {
        let digit = u64::from(digit.wrapping_sub(b'0'));
        if digit > 9 {
            None
        } else {
            number.checked_mul(10)?.checked_add(digit)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(subscribers: u32) -> Tally {
        let mut tally = Tally::new(1, Interest::Rooms { rooms: 1, each: 1 }, Names::default());
        (0..subscribers).for_each(|_| tally.add_subscriber(0));
        tally
    }

    #[test]
    fn a_marker_is_found_inside_an_escaped_frame() {
        let marker = Marker {
            topic: 3,
            number: 17,
            sent: 1_234,
        };
        let mut text = br#"a["{\"_id\":\""#.to_vec();
        marker.push(&mut text);
        text.extend_from_slice(br#"\",\"rid\":\"r\"}"]"#);
        assert_eq!(tally(1).find_marker(&text), Some(marker));
        assert_eq!(tally(1).find_marker(b"lt~3~x~1~"), None);
        assert_eq!(tally(1).find_marker(br#"{"msg":"ping"}"#), None);
    }

    #[test]
    fn a_message_is_in_flight_until_the_last_subscriber_has_it() {
        let mut tally = tally(2);
        let first = tally.publish(0).unwrap();
        let second = tally.publish(0).unwrap();
        assert_eq!((tally.in_flight, tally.missing()), (2, 4));
        tally.deliver(&first, Verdict::InOrder, first.sent);
        tally.deliver(&second, Verdict::InOrder, first.sent);
        tally.deliver(&second, Verdict::InOrder, first.sent);
        assert_eq!((tally.in_flight, tally.missing()), (2, 1));
        tally.deliver(&first, Verdict::InOrder, first.sent);
        assert_eq!((tally.in_flight, tally.missing()), (0, 0));
        assert!(!tally.faults.any());
    }

    #[test]
    fn a_duplicate_is_counted_and_pays_no_debt_and_a_message_never_owed_is_a_stray() {
        let mut tally = tally(1);
        let marker = tally.publish(0).unwrap();
        tally.deliver(&marker, Verdict::InOrder, marker.sent);
        tally.deliver(&marker, Verdict::Duplicate, marker.sent);
        assert_eq!((tally.faults.duplicates, tally.missing()), (1, 0));
        tally.deliver(
            &Marker {
                number: 9,
                ..marker
            },
            Verdict::Gap(8),
            marker.sent,
        );
        assert_eq!((tally.faults.gaps, tally.faults.strays), (8, 1));
    }

    #[test]
    fn a_message_of_the_wrong_stream_is_a_stray() {
        let message = |stream: &str| {
            format!(
                r#"{{"msg":"changed","collection":"{stream}","id":"id","fields":{{"eventName":"room-0","args":[{{"_id":"lt~0~0~1~"}}]}}}}"#
            )
        };
        let marker = Marker {
            topic: 0,
            number: 0,
            sent: 1,
        };
        let mut tally = tally(1);
        tally.check_shape(&marker, || Ok(vec![message("stream-room-messages")]));
        assert_eq!(tally.faults.strays, 0);
        tally.check_shape(&marker, || Ok(vec![message("stream-notify-room")]));
        assert_eq!(tally.faults.strays, 1);
    }
}
