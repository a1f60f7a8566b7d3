//! The backplane event `stream`: what other processes emit on a stream, and what we relay for clients (streams.md 4.2).

use protocol::ddp::{ejson, encode::quoted};

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
}

impl Relays {
    /// `process`: our `origin`, a name that nobody else has.
    pub(crate) fn new(process: String) -> Self {
        Self {
            process,
            objects: false,
        }
    }

    /// Reads a relay of somebody else; `None` for our own and for what makes no sense.
    pub(crate) fn read(&mut self, args: &str) -> Option<Relayed> {
        let first = ejson::at(args, 0, &[])?;
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

    /// Arguments of a relay to be broadcast.
    pub(crate) fn write(&self, relayed: &Relayed) -> String {
        let (stream, event) = (quoted(&relayed.stream), quoted(&relayed.event));
        if self.objects {
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

    fn typing() -> Relayed {
        Relayed {
            stream: "notify-room".into(),
            event: "r1/user-activity".into(),
            args: r#"["bob",["user-typing"]]"#.into(),
        }
    }

    #[test]
    fn both_forms_are_understood() {
        let mut relays = Relays::new("us".into());
        let array = r#"[["notify-room","r1/user-activity",["bob",["user-typing"]]]]"#;
        assert_eq!(relays.read(array), Some(typing()));
        let object = r#"[{"stream":"notify-room","eventName":"r1/user-activity","args":["bob",["user-typing"]],"origin":"other"}]"#;
        assert_eq!(relays.read(object), Some(typing()));
        assert_eq!(relays.read(r#"[["notify-room","x",{}]]"#), None);
        assert_eq!(relays.read("[]"), None);
    }

    #[test]
    fn the_form_that_peers_use_is_used_and_our_own_origin_ignored() {
        let mut relays = Relays::new("us".into());
        assert_eq!(
            relays.write(&typing()),
            r#"[["notify-room","r1/user-activity",["bob",["user-typing"]]]]"#
        );
        relays.read(r#"[{"stream":"a","eventName":"b","args":[],"origin":"other"}]"#);
        let text = relays.write(&typing());
        assert!(text.starts_with(r#"[{"stream":"notify-room","#), "{text}");
        assert_eq!(relays.read(&text), None);
    }
}
