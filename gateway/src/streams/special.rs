//! Events whose publications need more than a row (streams.md 8.2, 8.3, 8.5).

use std::{
    borrow::Cow,
    rc::Rc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use backplane::CallOptions;
use bytes::Bytes;
use protocol::ddp::ejson;

use super::{raw, table, translate::emit};
use crate::bus::Core;

/// Publishes what the event's code says; nothing for other events.
pub(crate) fn publish(core: &Rc<Core>, name: &str, args: &str, received: Instant) {
    match name {
        "presence.status" => presence_status(core, args, received),
        "notify.ephemeralMessage" => ephemeral_message(core, args, received),
        "notify.importedMessages" => imported_messages(core, args, received),
        "watch.settings" => setting(core, args, received),
        _ => {}
    }
}

fn send(
    core: &Core,
    stream: &'static str,
    event: &str,
    args: impl FnOnce() -> String,
    received: Instant,
) {
    if let Some(stream) = table::stream(stream) {
        emit(core, stream, event, || Bytes::from(args()), None, received);
    }
}

/// `presence.status({user})`: the user's own data, then everybody's `user-status`.
fn presence_status(core: &Core, args: &str, received: Instant) {
    let field = |name| raw::at(args, 0, &["user", name]);
    let text = |name| field(name).and_then(ejson::string);
    let (Some(id), Some(status), Some(_)) = (text("_id"), text("status"), text("username")) else {
        return;
    };
    let Some(code) = status_code(&status) else {
        return;
    };
    let data = || {
        let (mut diff, mut unset) = (
            format!("\"status\":{}", field("status").unwrap_or("null")),
            String::new(),
        );
        for name in ["statusText", "statusSource", "statusExpiresAt"] {
            match field(name) {
                Some("\"\"") => {
                    unset.push_str(if unset.is_empty() { "" } else { "," });
                    unset.push_str(&format!("\"{name}\":1"));
                }
                Some(value) => diff.push_str(&format!(",\"{name}\":{value}")),
                None => {}
            }
        }
        let id = field("_id").unwrap_or("null");
        format!("[{{\"type\":\"updated\",\"id\":{id},\"diff\":{{{diff}}},\"unset\":{{{unset}}}}}]")
    };
    send(
        core,
        "notify-user",
        &format!("{id}/userData"),
        data,
        received,
    );
    // Users whose presence is restricted are not told to everybody.
    if raw::at(args, 0, &["hasVisibilityRestrictions"]) == Some("true") {
        return;
    }
    let tuple = || {
        let or_null = |name| field(name).unwrap_or("null");
        let mut tuple = format!(
            "[[{},{},{code},{},{},{}",
            or_null("_id"),
            or_null("username"),
            or_null("statusText"),
            or_null("name"),
            or_null("roles"),
        );
        // Newer presence services know source and expiry.
        if field("statusSource").is_some() || field("statusExpiresAt").is_some() {
            tuple.push_str(&format!(
                ",{},{}",
                or_null("statusSource"),
                or_null("statusExpiresAt")
            ));
        }
        tuple.push_str("]]");
        tuple
    };
    send(core, "notify-logged", "user-status", tuple, received);
}

fn status_code(status: &str) -> Option<u8> {
    match status {
        "offline" | "disabled" => Some(0),
        "online" => Some(1),
        "away" => Some(2),
        "busy" => Some(3),
        _ => None,
    }
}

/// `notify.ephemeralMessage(uid, rid, msg)`: a message from `rocket.cat` that only one user sees.
fn ephemeral_message(core: &Core, args: &str, received: Instant) {
    let Some(user) = raw::at(args, 0, &[]).and_then(ejson::string) else {
        return;
    };
    let Some(message) = raw::at(args, 2, &[]).filter(|message| message.starts_with('{')) else {
        return;
    };
    let rid = raw::at(args, 1, &[]).unwrap_or("null");
    let whole = || {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_millis());
        let date = format!("{{\"$date\":{now}}}");
        let defaults: [(&str, Cow<'_, str>); 7] = [
            ("groupable", "false".into()),
            (
                "u",
                r#"{"_id":"rocket.cat","username":"rocket.cat"}"#.into(),
            ),
            ("private", "true".into()),
            ("_id", format!("\"{now}\"").into()),
            ("rid", rid.into()),
            ("ts", date.as_str().into()),
            ("_updatedAt", date.as_str().into()),
        ];
        let mut text = String::from("[{");
        for (name, value) in defaults
            .iter()
            .filter(|(name, _)| ejson::field(message, name).is_none())
        {
            text.push_str(&format!("\"{name}\":{value},"));
        }
        // What the message says itself comes behind the defaults that it leaves.
        match message
            .strip_prefix('{')
            .and_then(|inside| inside.strip_suffix('}'))
            .map(str::trim)
        {
            Some(inside) if !inside.is_empty() => text.push_str(inside),
            _ => {
                text.pop();
            }
        }
        text.push_str("}]");
        text
    };
    send(
        core,
        "notify-user",
        &format!("{user}/message"),
        whole,
        received,
    );
}

/// `notify.importedMessages({roomIds})`: one event per room.
fn imported_messages(core: &Core, args: &str, received: Instant) {
    for room in
        ejson::elements(raw::at(args, 0, &["roomIds"]).unwrap_or("")).filter_map(ejson::string)
    {
        send(
            core,
            "notify-room",
            &format!("{room}/messagesImported"),
            || "[null]".to_owned(),
            received,
        );
    }
}

/// `watch.settings({clientAction, setting})`; an enterprise setting's value depends on the licence.
fn setting(core: &Rc<Core>, args: &str, received: Instant) {
    let Some(setting) = raw::at(args, 0, &["setting"]).filter(|setting| setting.starts_with('{'))
    else {
        return;
    };
    let action = raw::at(args, 0, &["clientAction"]).unwrap_or("null");
    if ejson::field(setting, "hidden") == Some("true") {
        return;
    }
    if action == "\"removed\"" || ejson::field(setting, "enterprise") != Some("true") {
        let value = ejson::field(setting, "value");
        publish_setting(core, action, setting, value, received);
        return;
    }
    let (core_, action, setting) = (core.clone(), action.to_owned(), setting.to_owned());
    core.spawn(async move {
        let asked = core_
            .bus
            .call(
                "ee-settings.changeSettingValue",
                &format!("[{setting}]"),
                CallOptions::default(),
            )
            .await;
        let told = match &asked {
            Ok(Some(value)) => std::str::from_utf8(value).ok(),
            Ok(None) => ejson::field(&setting, "value"),
            Err(_) => ejson::field(&setting, "invalidValue"),
        };
        publish_setting(&core_, &action, &setting, told, received);
        core_.outgoing.borrow_mut().flush();
    });
}

fn publish_setting(
    core: &Core,
    action: &str,
    setting: &str,
    value: Option<&str>,
    received: Instant,
) {
    let told = || {
        let mut text = String::from("{");
        let field = |name| ejson::field(setting, name);
        let editor = field("editor").filter(|_| field("type") == Some("\"color\""));
        let members = [
            ("_id", field("_id")),
            ("value", value),
            ("editor", editor),
            ("properties", field("properties")),
            ("enterprise", field("enterprise")),
            ("requiredOnWizard", field("requiredOnWizard")),
        ];
        for (name, value) in members {
            if let Some(value) = value {
                text.push_str(&format!(
                    "{}\"{name}\":{value}",
                    if text.len() > 1 { "," } else { "" }
                ));
            }
        }
        text.push('}');
        text
    };
    if ejson::field(setting, "public") == Some("true") {
        send(
            core,
            "notify-all",
            "public-settings-changed",
            || format!("[{action},{}]", told()),
            received,
        );
        let wrapped = || format!("[[\"public-settings-changed\",[{action},{}]]]", told());
        send(core, "notify-all", "public-info", wrapped, received);
    }
    send(
        core,
        "notify-logged",
        "private-settings-changed",
        || format!("[{action},{}]", told()),
        received,
    );
}
