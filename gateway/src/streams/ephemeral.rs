//! `notify.ephemeralMessage(uid, rid, msg)` (streams.md 8.3): a message from `rocket.cat` that only one user sees.

use std::borrow::Cow;

use protocol::ddp::ejson;

/// The user who is meant.
pub(crate) fn user(args: &str) -> Option<Cow<'_, str>> {
    ejson::at(args, 0, &[]).and_then(ejson::string)
}

/// The arguments of his `message`, `now` in ms since 1970; `None` without a message.
pub(crate) fn message(args: &str, now: u128) -> Option<String> {
    let message = ejson::at(args, 2, &[]).filter(|message| message.starts_with('{'))?;
    let inside = message.strip_prefix('{')?.strip_suffix('}')?.trim();
    let date = format!("{{\"$date\":{now}}}");
    let id = format!("\"{now}\"");
    let defaults = [
        ("groupable", "false"),
        ("u", r#"{"_id":"rocket.cat","username":"rocket.cat"}"#),
        ("private", "true"),
        ("_id", &id),
        ("rid", ejson::at(args, 1, &[]).unwrap_or("null")),
        ("ts", &date),
        ("_updatedAt", &date),
    ];
    let mut text = String::from("[{");
    for (name, value) in defaults {
        if ejson::field(message, name).is_none() {
            text.push_str(&format!("\"{name}\":{value},"));
        }
    }
    // What the message says itself comes behind the defaults that it leaves.
    if inside.is_empty() {
        text.pop();
    }
    text.push_str(inside);
    text.push_str("}]");
    Some(text)
}
