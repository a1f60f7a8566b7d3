//! EVENT, the packet that arrives by the hundred thousand: a scanner that looks at nothing twice.
//!
//! Most events reach nobody on this node, so what `data` says is not checked: whoever splices it into other texts does that.

use std::{borrow::Cow, ops::Range};

use memchr::memchr;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{DecodeError, Version, is_node_id};
use crate::ddp::{blocks::Blocks, walk};

/// An event as it arrives.
#[derive(Debug)]
pub struct Event<'a> {
    pub event: Cow<'a, str>,
    /// From the bracket that opens an array to the one that closes it, byte for byte; what stands between is not checked
    /// to be JSON.
    pub data: &'a str,
    /// Only services with these names; empty means all.
    pub groups: Vec<String>,
    /// True: for every subscriber. False: for one subscriber of each group.
    pub broadcast: bool,
    /// The same of an object; `{}` when absent.
    pub meta: &'a str,
    /// The service in whose handler it was sent.
    pub caller: Option<Cow<'a, str>>,
    pub sender: Cow<'a, str>,
}

impl<'a> Event<'a> {
    /// Reads an event packet; of a member that comes twice the last one counts, as in JavaScript.
    ///
    /// # Errors
    /// As [`decode`](super::decode).
    pub fn decode(payload: &'a str) -> Result<Self, DecodeError> {
        let mut event = Self {
            event: Cow::Borrowed(""),
            data: "",
            groups: Vec::new(),
            broadcast: false,
            meta: "{}",
            caller: None,
            sender: Cow::Borrowed(""),
        };
        let mut version = "";
        let mut members = Members::new(payload.as_bytes())?;
        while let Some(Member { key, value }) = members.next()? {
            let value = payload.get(value).ok_or(DecodeError::Malformed)?;
            match key {
                b"event" => event.event = text(value)?,
                b"data" if value.starts_with('[') => event.data = value,
                b"groups" if value != "null" => {
                    event.groups =
                        serde_json::from_str(value).map_err(|_| DecodeError::Malformed)?;
                }
                b"broadcast" => event.broadcast = value == "true",
                b"meta" if value.starts_with('{') => event.meta = value,
                // Nearly always null, and making an error of that would cost a sixth of the whole packet.
                b"caller" if value.starts_with('"') => event.caller = text(value).ok(),
                b"ver" => version = value,
                b"sender" => event.sender = text(value)?,
                _ => {}
            }
        }
        if version != r#""4""# {
            return Err(DecodeError::WrongVersion);
        }
        if event.event.is_empty() || event.data.is_empty() || !is_node_id(&event.sender) {
            return Err(DecodeError::Malformed);
        }
        Ok(event)
    }
}

/// The name of an event, whatever is wrong with what follows it; `None` where there is no plain name.
pub fn event_name(payload: &[u8]) -> Option<Cow<'_, str>> {
    let mut members = Members::new(payload).ok()?;
    loop {
        let Member { key, value } = members.next().ok()??;
        if key == b"event" {
            return text(std::str::from_utf8(payload.get(value)?).ok()?).ok();
        }
    }
}

/// An event as we send it; serialises to the packet.
#[derive(Debug, Serialize)]
pub struct Emission<'a> {
    pub id: &'a str,
    pub event: &'a str,
    pub data: &'a RawValue,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub groups: &'a [&'a str],
    pub broadcast: bool,
    pub meta: &'a RawValue,
    pub level: u32,
    pub tracing: Option<bool>,
    #[serde(rename = "parentID")]
    pub parent_id: Option<&'a str>,
    #[serde(rename = "requestID")]
    pub request_id: Option<&'a str>,
    pub caller: Option<&'a str>,
    #[serde(rename = "needAck")]
    pub need_ack: Option<bool>,
    pub ver: Version,
    pub sender: &'a str,
}

/// A string value; escapes are rare and cost an allocation.
fn text(value: &str) -> Result<Cow<'_, str>, DecodeError> {
    let inner = value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    match inner {
        Some(inner) if memchr(b'\\', inner.as_bytes()).is_none() => Ok(Cow::Borrowed(inner)),
        _ => serde_json::from_str(value)
            .map(Cow::Owned)
            .map_err(|_| DecodeError::Malformed),
    }
}

/// One member of an object.
struct Member<'a> {
    /// Escapes left in.
    key: &'a [u8],
    /// Where it stands in the payload.
    value: Range<usize>,
}

/// The members of one JSON object, in order.
struct Members<'a> {
    payload: &'a [u8],
    blocks: Blocks<'a>,
    at: usize,
    is_first: bool,
}

impl<'a> Members<'a> {
    fn new(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let payload = payload.trim_ascii_end();
        let at = walk::skip_space(payload, 0);
        match payload.get(at..).unwrap_or_default() {
            [b'{', ..] => Ok(Self {
                payload,
                blocks: Blocks::new(payload, at),
                at: at + 1,
                is_first: true,
            }),
            // As real peers do: an empty packet lacks its version.
            b"null" => Err(DecodeError::WrongVersion),
            _ => Err(DecodeError::Malformed),
        }
    }

    /// `None` behind the last member.
    fn next(&mut self) -> Result<Option<Member<'a>>, DecodeError> {
        match self.peek() {
            Some(b'}') if self.at + 1 == self.payload.len() => return Ok(None),
            Some(b',') if !self.is_first => self.at += 1,
            _ if self.is_first => {}
            _ => return Err(DecodeError::Malformed),
        }
        self.is_first = false;
        if self.peek() != Some(b'"') {
            return Err(DecodeError::Malformed);
        }
        let key = self.at + 1;
        self.at = self.string_end()?;
        let key = self.payload.get(key..self.at - 1).unwrap_or_default();
        if self.peek() != Some(b':') {
            return Err(DecodeError::Malformed);
        }
        self.at += 1;
        let first = self.peek();
        let start = self.at;
        self.at = match first {
            Some(b'"') => self.string_end()?,
            Some(b'{' | b'[') => self
                .blocks
                .container_end(start)
                .ok_or(DecodeError::Malformed)?,
            _ => self.scalar_end()?,
        };
        let value = start..self.at;
        Ok(Some(Member { key, value }))
    }

    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        self.at = walk::skip_space(self.payload, self.at);
        self.payload.get(self.at).copied()
    }

    /// Behind the string that begins here.
    fn string_end(&mut self) -> Result<usize, DecodeError> {
        let quote = self.blocks.closing_quote(self.at);
        quote.map(|quote| quote + 1).ok_or(DecodeError::Malformed)
    }

    /// Behind the number or word that begins here.
    fn scalar_end(&self) -> Result<usize, DecodeError> {
        let rest = self.payload.get(self.at..).unwrap_or_default();
        let is_end = |byte: &u8| matches!(byte, b',' | b'}' | b']') || byte.is_ascii_whitespace();
        match rest.iter().position(is_end) {
            Some(len @ 1..) => Ok(self.at + len),
            _ => Err(DecodeError::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_found_without_its_value_being_complete() {
        assert_eq!(
            event_name(br#"{"id":"1","event":"watch.rooms","data":[{"#).as_deref(),
            Some("watch.rooms")
        );
        assert_eq!(
            event_name(br#" { "event" : "a\u0062" }"#).as_deref(),
            Some("ab")
        );
        for nameless in [
            "",
            "{",
            "null",
            "[]",
            r#"{"event":1}"#,
            r#"{"id":"e"}"#,
            r#"{"event":"x"#,
            r#"{"event"}"#,
        ] {
            assert_eq!(event_name(nameless.as_bytes()), None, "{nameless}");
        }
    }

    #[test]
    fn values_keep_their_bytes() {
        let packet = r#"{"data":[ {"a":"]}\"\\"} , 1.0 ],"x":{"y":["}"]},"event":"e","meta":null,"ver":"4","sender":"n"}"#;
        let event = Event::decode(packet).unwrap();
        assert_eq!(event.data, r#"[ {"a":"]}\"\\"} , 1.0 ]"#);
        assert_eq!((event.meta, event.broadcast), ("{}", false));
    }

    #[test]
    fn no_prefix_and_no_changed_byte_panics() {
        let packet =
            r#"{"event":"stream","data":[["x","ä\"",[{}]]],"groups":["a"],"ver":"4","sender":"n"}"#;
        for end in (0..packet.len()).filter(|end| packet.is_char_boundary(*end)) {
            assert!(Event::decode(&packet[..end]).is_err(), "{end}");
            for byte in [b'"', b'\\', b'{', b'}', b'[', b']', b',', 0xff, 0] {
                let mut changed = packet.as_bytes().to_vec();
                changed[end] = byte;
                let _ = Event::decode(&String::from_utf8_lossy(&changed));
                let _ = event_name(&changed);
            }
        }
    }

    #[test]
    fn only_what_is_bracketed_as_an_array_is_handed_out() {
        let packet = |data: &str| {
            [
                r#"{"event":"e","data":"#,
                data,
                r#","ver":"4","sender":"n"}"#,
            ]
            .concat()
        };
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        for good in [
            "[]",
            "[ 1 ]",
            r#"[["notify-room","x",[]]]"#,
            "[\"\u{e4}\"]",
            &deep,
        ] {
            assert_eq!(Event::decode(&packet(good)).unwrap().data, good);
        }
        for bad in [
            "", "{}", "null", "[", "[1]]", "[1][2]", "[1]2", "[\"]", "\"[]\"",
        ] {
            assert_eq!(
                Event::decode(&packet(bad)).unwrap_err(),
                DecodeError::Malformed,
                "{bad:?}"
            );
        }
    }
}
