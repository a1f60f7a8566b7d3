//! The backplane event `stream`: what other processes emit on a stream, and what we relay for clients (streams.md 4.2).

use std::{
    collections::VecDeque,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use protocol::ddp::ejson;
use uuid::Uuid;

use super::raw;
use crate::access::quoted;

/// Our own relays come back within a batch or two; so many may be on their way.
const OWN_MAX: usize = 65_536;

/// What a relay says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Relayed {
    /// Stream without `stream-`.
    pub(crate) stream: String,
    pub(crate) event: String,
    /// Raw JSON array.
    pub(crate) args: String,
}

/// Both forms of the relay, and which one the peers use.
#[derive(Debug)]
pub(crate) struct Relays {
    /// `origin` of the object form.
    process: String,
    /// The object form has been seen: newer monoliths understand nothing else.
    objects: bool,
    /// Hashes of our own relays that have not come back yet. By content, because services that share our node (the
    /// sandbox) emit too.
    own: VecDeque<u64>,
}

impl Default for Relays {
    fn default() -> Self {
        Self {
            process: Uuid::new_v4().to_string(),
            objects: false,
            own: VecDeque::new(),
        }
    }
}

impl Relays {
    /// Reads a relay of somebody else; `None` for our own and for what makes no sense.
    pub(crate) fn read(&mut self, args: &str, from_us: bool) -> Option<Relayed> {
        if from_us && self.forget(args) {
            return None;
        }
        let first = raw::at(args, 0, &[])?;
        let (stream, event, list) = if first.starts_with('{') {
            self.objects = true;
            if ejson::field(first, "origin")
                .and_then(ejson::string)
                .is_some_and(|origin| *origin == *self.process)
            {
                return None;
            }
            (
                ejson::field(first, "stream")?,
                ejson::field(first, "eventName")?,
                ejson::field(first, "args")?,
            )
        } else {
            let mut parts = ejson::elements(first);
            (parts.next()?, parts.next()?, parts.next()?)
        };
        list.starts_with('[').then_some(())?;
        Some(Relayed {
            stream: ejson::string(stream)?.into_owned(),
            event: ejson::string(event)?.into_owned(),
            args: list.to_owned(),
        })
    }

    /// Arguments of a relay to be broadcast; it will be recognised when it comes back.
    pub(crate) fn write(&mut self, relayed: &Relayed) -> String {
        let (stream, event) = (quoted(&relayed.stream), quoted(&relayed.event));
        let text = if self.objects {
            let origin = quoted(&self.process);
            format!(
                "[{{\"stream\":{stream},\"eventName\":{event},\"args\":{},\"origin\":{origin}}}]",
                relayed.args
            )
        } else {
            format!("[[{stream},{event},{}]]", relayed.args)
        };
        if self.own.len() == OWN_MAX {
            self.own.pop_front();
        }
        self.own.push_back(hash(&text));
        text
    }

    /// Whether this is a relay of ours; it comes back once, and nearly always in the order in which they were sent.
    fn forget(&mut self, args: &str) -> bool {
        let hash = hash(args);
        let at = self.own.iter().position(|own| *own == hash);
        at.is_some_and(|at| self.own.remove(at).is_some())
    }
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typing() -> Relayed {
        Relayed {
            stream: "notify-room".into(),
            event: "r1/user-activity".into(),
            args: r#"["bob",["user-typing"]]"#.into(),
        }
    }

    #[test]
    fn both_forms_are_understood() {
        let mut relays = Relays::default();
        let array = r#"[["notify-room","r1/user-activity",["bob",["user-typing"]]]]"#;
        assert_eq!(relays.read(array, false), Some(typing()));
        let object = r#"[{"stream":"notify-room","eventName":"r1/user-activity","args":["bob",["user-typing"]],"origin":"other"}]"#;
        assert_eq!(relays.read(object, false), Some(typing()));
        assert_eq!(relays.read(r#"[["notify-room","x",{}]]"#, false), None);
        assert_eq!(relays.read("[]", false), None);
    }

    #[test]
    fn our_own_relays_are_ignored_once_in_either_form() {
        let mut relays = Relays::default();
        let text = relays.write(&typing());
        assert_eq!(
            text,
            r#"[["notify-room","r1/user-activity",["bob",["user-typing"]]]]"#
        );
        assert_eq!(relays.read(&text, true), None);
        // The same words from a service that shares our node.
        assert_eq!(relays.read(&text, true), Some(typing()));

        relays.read(
            r#"[{"stream":"a","eventName":"b","args":[],"origin":"other"}]"#,
            false,
        );
        let text = relays.write(&typing());
        assert!(text.starts_with(r#"[{"stream":"notify-room","#), "{text}");
        assert_eq!(relays.read(&text, false), None);
    }
}
