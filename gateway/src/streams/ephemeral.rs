//! `notify.ephemeralMessage(uid, rid, msg)` (streams.md 8.3): a message from `rocket.cat` that only one user sees.

use std::borrow::Cow;

use protocol::ddp::ejson;

/// The user who is meant.
pub(crate) fn user(args: &str) -> Option<Cow<'_, str>> {
    ejson::at(args, 0, &[]).and_then(ejson::string)
}

/// What he sees.
pub(crate) struct Message<'a> {
    args: &'a str,
    /// Raw JSON object.
    message: &'a str,
}

impl<'a> Message<'a> {
    /// `None` without a message.
    pub(crate) fn parse(args: &'a str) -> Option<Self> {
        let message = ejson::at(args, 2, &[]);
        let is_object = |text: &&str| text.starts_with('{') && text.ends_with('}');
        let message = message.filter(is_object)?;
        Some(Self { args, message })
    }

    /// The arguments of his `message`, `now` in ms since 1970.
    pub(crate) fn args(&self, now: u128) -> String {
        let date = format!("{{\"$date\":{now}}}");
        let id = format!("\"{now}\"");
        let defaults = [
            ("groupable", "false"),
            ("u", r#"{"_id":"rocket.cat","username":"rocket.cat"}"#),
            ("private", "true"),
            ("_id", &id),
            ("rid", ejson::at(self.args, 1, &[]).unwrap_or("null")),
            ("ts", &date),
            ("_updatedAt", &date),
        ];
        let mut text = String::from("[{");
        for (name, value) in defaults {
            if ejson::field(self.message, name).is_none() {
                text.push_str(&format!("\"{name}\":{value},"));
            }
        }
        // What the message says itself comes behind the defaults that it leaves.
        let inside = self.message[1..self.message.len() - 1].trim();
        if inside.is_empty() {
            text.pop();
        }
        text.push_str(inside);
        text.push_str("}]");
        text
    }
}
