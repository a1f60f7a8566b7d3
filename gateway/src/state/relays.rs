//! The backplane event `stream`: what other processes emit on a stream, and what we relay for clients (streams.md 4.2).

use std::{borrow::Cow, sync::Arc};

use hashbrown::HashMap;
use protocol::ddp::{ejson, encode::quoted};

/// So many relays as objects show that a monolith writes them.
const OBJECTS_ENOUGH: u8 = 3;

/// What a relay says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Relayed<'a> {
    /// Stream without `stream-`.
    pub(crate) stream: Cow<'a, str>,
    pub(crate) event: Cow<'a, str>,
    /// Raw JSON array.
    pub(crate) args: &'a str,
}

/// Both forms of the relay, and which one the monoliths use.
#[derive(Debug)]
pub(crate) struct Relays {
    /// `origin` of the object form.
    process: String,
    /// The monoliths of the network, and what each has shown. Other streamers do not count: those of our kind follow us, and
    /// none of us would ever begin.
    monoliths: HashMap<Arc<str>, Shown>,
}

/// Which form a monolith writes. A process does not change its mind: an array settles it, and what others send under its
/// name does not.
#[derive(Clone, Copy, Debug)]
enum Shown {
    /// So many objects, and nothing else.
    Objects(u8),
    Array,
}

impl Relays {
    /// `process`: our `origin`, a name that nobody else has.
    pub(crate) fn new(process: String) -> Self {
        Self {
            process,
            monoliths: HashMap::new(),
        }
    }

    /// These are the monoliths now; whether they were others before.
    pub(crate) fn know(&mut self, monoliths: Vec<Arc<str>>) -> bool {
        let before = std::mem::take(&mut self.monoliths);
        let kept = |node: Arc<str>| {
            let shown = before.get(&node).copied();
            (node, shown.unwrap_or(Shown::Objects(0)))
        };
        self.monoliths = monoliths.into_iter().map(kept).collect();
        let are_same = |node| before.contains_key(node);
        before.len() != self.monoliths.len() || !self.monoliths.keys().all(are_same)
    }

    /// Reads a relay of this node; `None` for our own and for what makes no sense.
    pub(crate) fn read<'a>(&mut self, sender: &str, args: &'a str) -> Option<Relayed<'a>> {
        let first = ejson::at(args, 0, &[])?;
        let is_object = first.starts_with('{');
        let (stream, event, list) = if is_object {
            let origin = ejson::field(first, "origin").and_then(ejson::string);
            if origin.is_some_and(|origin| *origin == *self.process) {
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
        if let Some(shown) = self.monoliths.get_mut(sender) {
            *shown = match *shown {
                Shown::Objects(count) if is_object => Shown::Objects(count.saturating_add(1)),
                _ => Shown::Array,
            };
        }
        Some(Relayed {
            stream: ejson::string(stream)?,
            event: ejson::string(event)?,
            args: list,
        })
    }

    /// The object form if every monolith that has shown one has shown this one, and not only once: older ones throw at it.
    fn writes_objects(&self) -> bool {
        let mut shown = self
            .monoliths
            .values()
            .filter(|shown| !matches!(shown, Shown::Objects(0)))
            .peekable();
        shown.peek().is_some()
            && shown.all(|shown| matches!(shown, Shown::Objects(OBJECTS_ENOUGH..)))
    }

    /// Arguments of a relay to be broadcast.
    pub(crate) fn write(&self, relayed: &Relayed<'_>) -> String {
        let (stream, event) = (quoted(&relayed.stream), quoted(&relayed.event));
        if self.writes_objects() {
            let origin = quoted(&self.process);
            format!(
                "[{{\"stream\":{stream},\"eventName\":{event},\"args\":{},\"origin\":{origin}}}]",
                relayed.args
            )
        } else {
            format!("[[{stream},{event},{}]]", relayed.args)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typing() -> Relayed<'static> {
        Relayed {
            stream: "notify-room".into(),
            event: "r1/user-activity".into(),
            args: r#"["bob",["user-typing"]]"#,
        }
    }

    const OBJECT: &str = r#"[{"stream":"notify-room","eventName":"r1/user-activity","args":["bob",["user-typing"]],"origin":"other"}]"#;
    const ARRAY: &str = r#"[["notify-room","r1/user-activity",["bob",["user-typing"]]]]"#;

    fn knowing(monoliths: &[&str]) -> Relays {
        let mut relays = Relays::new("us".into());
        relays.know(monoliths.iter().map(|node| Arc::from(*node)).collect());
        relays
    }

    #[test]
    fn both_forms_are_understood() {
        let mut relays = knowing(&[]);
        assert_eq!(relays.read("n", ARRAY), Some(typing()));
        assert_eq!(relays.read("n", OBJECT), Some(typing()));
        assert_eq!(relays.read("n", r#"[["notify-room","x",{}]]"#), None);
        assert_eq!(relays.read("n", "[]"), None);
    }

    #[test]
    fn the_oldest_monolith_that_has_shown_a_form_chooses_it() {
        let mut relays = knowing(&["old", "new", "quiet"]);
        assert_eq!(relays.write(&typing()), ARRAY);
        for _ in 0..OBJECTS_ENOUGH {
            assert_eq!(relays.write(&typing()), ARRAY);
            relays.read("new", OBJECT);
        }
        assert!(relays.write(&typing()).starts_with(r#"[{"stream":"#));
        relays.read("old", ARRAY);
        assert_eq!(relays.write(&typing()), ARRAY);
        relays.know(vec!["new".into()]);
        let text = relays.write(&typing());
        assert!(text.starts_with(r#"[{"stream":"notify-room","#), "{text}");
        assert_eq!(relays.read("new", &text), None, "our own");
    }

    #[test]
    fn a_packet_of_somebody_who_is_no_monolith_changes_nothing() {
        let mut relays = knowing(&["old"]);
        relays.read("odd", OBJECT);
        assert_eq!(relays.write(&typing()), ARRAY);
        // Nor what one odd packet says under the name of one.
        relays.read("old", ARRAY);
        for _ in 0..2 * OBJECTS_ENOUGH {
            relays.read("old", OBJECT);
        }
        assert_eq!(relays.write(&typing()), ARRAY);
        // An upgrade is another process.
        relays.know(vec!["upgraded".into()]);
        for _ in 0..OBJECTS_ENOUGH {
            relays.read("upgraded", OBJECT);
        }
        assert_ne!(relays.write(&typing()), ARRAY);
    }
}
