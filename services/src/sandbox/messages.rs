//! Writing, changing, deleting and reading messages.

use backplane::ServiceError;
use serde_json::{Value, json};
use store::{
    Update, User,
    bson::{Bson, DateTime, Document, doc},
    ejson,
};

use super::{
    args::match_failed,
    workspace::{Call, Outcome, Workspace},
};
use crate::{errors::unavailable, now_ms};

/// The real setting's default (`Message_MaxAllowedSize`), in characters.
const MESSAGE_CHARS_MAX: usize = 5_000;
/// Characters of an id that a client may choose.
const ID_CHARS_MAX: usize = 100;
const HISTORY_DEFAULT: u32 = 20;
const HISTORY_MAX: u32 = 100;
/// What the console's flood writes: messages of 32 kB.
const FLOOD_MESSAGES: usize = 50;
const FLOOD_REPEATS: usize = 2_000;

impl Workspace {
    pub(super) async fn send_message(&self, call: &Call<'_>) -> Outcome {
        let (room, text) = (call.args.member(0, "rid")?, call.args.member(0, "msg")?);
        let message = call.args.get(0).ok_or_else(match_failed)?;
        let id = optional_text(message, "_id")?.filter(|id| !id.is_empty());
        if id.is_some_and(|id| id.chars().count() > ID_CHARS_MAX) {
            return Err(match_failed());
        }
        let thread = optional_text(message, "tmid")?;
        if text.chars().count() > MESSAGE_CHARS_MAX {
            return Err(call.error(
                "error-message-size-exceeded",
                "Message size exceeds Message_MaxAllowedSize",
            ));
        }
        self.open_room(call, room).await?;
        if let Some(id) = id
            && self.store.message(id).await.map_err(unavailable)?.is_some()
        {
            // A client that asks again after a lost answer: the message is there, once.
            return Ok(None);
        }
        let mut document = new_message(room, &call.user, text);
        if let Some(id) = id {
            document.insert("_id", id);
        }
        if let Some(thread) = thread {
            document.insert("tmid", thread);
        }
        self.post(document).await
    }

    /// Stores a message and moves its room on; the result is the message.
    pub(super) async fn post(&self, mut document: Document) -> Outcome {
        let id = self
            .store
            .insert_message(document.clone())
            .await
            .map_err(unavailable)?;
        document.insert("_id", id);
        let (room, user) = (
            text(&document, "rid"),
            document
                .get_document("u")
                .map(|u| text(u, "_id"))
                .unwrap_or_default(),
        );
        let ts = document
            .get_datetime("ts")
            .copied()
            .unwrap_or_else(|_| DateTime::now());
        let update = Update {
            set: doc! { "lm": ts, "lastMessage": document.clone() },
            increment: vec![("msgs".to_owned(), 1)],
            ..Update::default()
        };
        self.store
            .update_room(&room, update)
            .await
            .map_err(unavailable)?;
        let others = Update {
            set: doc! { "alert": true, "open": true },
            increment: vec![("unread".to_owned(), 1)],
            ..Update::default()
        };
        self.store
            .update_other_subscriptions(&room, &user, others)
            .await
            .map_err(unavailable)?;
        Ok(Some(ejson::to_text(&document)))
    }

    /// `[id]` → the message, from a room that this user may see.
    pub(super) async fn single_message(&self, call: &Call<'_>) -> Outcome {
        let message = self.store.message(call.args.text(0)?).await;
        let Some(message) = message.map_err(unavailable)? else {
            return Err(call.error("error-not-found", "No message found with the id"));
        };
        self.open_room(call, &text(&message, "rid")).await?;
        Ok(Some(ejson::to_text(&message)))
    }

    pub(super) async fn update_message(&self, call: &Call<'_>) -> Outcome {
        let (id, new) = (call.args.member(0, "_id")?, call.args.member(0, "msg")?);
        if new.chars().count() > MESSAGE_CHARS_MAX {
            return Err(call.error(
                "error-message-size-exceeded",
                "Message size exceeds Message_MaxAllowedSize",
            ));
        }
        let Some(original) = self.store.message(id).await.map_err(unavailable)? else {
            return Ok(None);
        };
        if !is_author(&original, &call.user) || original.contains_key("t") {
            return Err(call.error("error-action-not-allowed", "Message editing not allowed"));
        }
        let room = text(&original, "rid");
        self.open_room(call, &room).await?;
        if text(&original, "msg") == new {
            return Ok(None);
        }
        let set = doc! { "msg": new, "editedAt": DateTime::now(), "editedBy": author(&call.user) };
        self.store
            .update_message(id, Update::set(set))
            .await
            .map_err(unavailable)?;
        self.renew_last_message(&room, 0).await?;
        Ok(None)
    }

    pub(super) async fn delete_message(&self, call: &Call<'_>) -> Outcome {
        let id = call.args.member(0, "_id")?;
        let refused = || call.error("error-action-not-allowed", "Not allowed");
        let message = self
            .store
            .message(id)
            .await
            .map_err(unavailable)?
            .ok_or_else(refused)?;
        let room = text(&message, "rid");
        let own = is_author(&message, &call.user) && self.can_access(&room, &call.user.id).await;
        if !own
            && !self
                .has_permission(&call.user.id, "delete-message", Some(&room))
                .await
        {
            return Err(refused());
        }
        if self.store.delete_message(id).await.map_err(unavailable)? {
            self.renew_last_message(&room, -1).await?;
            self.bus.broadcast(
                "notify.deleteMessage",
                &json!([room, { "_id": id }]).to_string(),
            );
        }
        Ok(None)
    }

    /// The room's preview after a message has changed or gone.
    async fn renew_last_message(&self, room: &str, count: i32) -> Result<(), ServiceError> {
        let newest = self.store.history(room, None, 1).await;
        let last = newest
            .map_err(unavailable)?
            .pop()
            .map_or(Bson::Null, Bson::from);
        let update = Update {
            set: doc! { "lastMessage": last },
            increment: vec![("msgs".to_owned(), count)],
            ..Update::default()
        };
        self.store
            .update_room(room, update)
            .await
            .map_err(unavailable)?;
        Ok(())
    }

    /// Writing needs a room that is there and may be seen.
    async fn open_room(&self, call: &Call<'_>, room: &str) -> Result<(), ServiceError> {
        if self.can_access(room, &call.user.id).await {
            return Ok(());
        }
        self.room_of(call, room).await?;
        Err(call.error("error-not-allowed", "Not allowed"))
    }

    /// The console's button, `[rid]`: long messages, so that a client that does not read gets a queue.
    pub(super) async fn flood(&self, call: &Call<'_>) -> Outcome {
        let room = call.args.text(0)?;
        self.open_room(call, room).await?;
        for number in 1..=FLOOD_MESSAGES {
            let text = format!("{number}: {}", "A long message. ".repeat(FLOOD_REPEATS));
            let message = new_message(room, &call.user, &text);
            // The room moves on once, with the last one.
            if number == FLOOD_MESSAGES {
                self.post(message).await?;
            } else {
                let stored = self.store.insert_message(message).await;
                stored.map_err(unavailable)?;
            }
        }
        Ok(None)
    }

    /// What a stalled client of the console gets, `[rid]`: as much as a flood, and none of it is kept.
    pub(super) async fn pour(&self, call: &Call<'_>) -> Outcome {
        let room = call.args.text(0)?;
        self.open_room(call, room).await?;
        let text = "A long message. ".repeat(FLOOD_REPEATS);
        for number in 0..FLOOD_MESSAGES {
            let message = json!({
                "_id": format!("pour-{number}"), "rid": room, "msg": text, "ts": { "$date": now_ms() },
                "u": { "_id": call.user.id, "username": call.user.username },
            });
            let event = json!([{ "clientAction": "inserted", "message": message }]);
            self.bus.broadcast("watch.messages", &event.to_string());
        }
        Ok(None)
    }

    /// `[rid, end?, limit?, ls?]`: the newest messages before `end`, newest first.
    pub(super) async fn load_history(&self, call: &Call<'_>) -> Outcome {
        let (room, end) = (call.args.text(0)?, call.args.date(1)?);
        let limit = match call.args.get(2) {
            None => HISTORY_DEFAULT,
            Some(limit) => u32::try_from(limit.as_u64().ok_or_else(match_failed)?)
                .unwrap_or(HISTORY_MAX)
                .min(HISTORY_MAX),
        };
        if !self.can_access(room, &call.user.id).await {
            return Ok(Some("false".to_owned()));
        }
        let messages = self
            .store
            .history(room, end, limit)
            .await
            .map_err(unavailable)?;
        Ok(Some(format!(
            r#"{{"messages":{},"unreadNotLoaded":0}}"#,
            list(&messages)
        )))
    }

    /// `[rid, start]`: what was written since.
    pub(super) async fn load_missed_messages(&self, call: &Call<'_>) -> Outcome {
        let room = call.args.text(0)?;
        let start = call.args.date(1)?.ok_or_else(match_failed)?;
        if !self.can_access(room, &call.user.id).await {
            return Ok(Some("false".to_owned()));
        }
        let messages = self
            .store
            .messages_after(room, start, HISTORY_MAX)
            .await
            .map_err(unavailable)?;
        Ok(Some(list(&messages)))
    }

    pub(super) async fn read_messages(&self, call: &Call<'_>) -> Outcome {
        let room = call.args.text(0)?;
        if !self.can_access(room, &call.user.id).await {
            self.store
                .room(room)
                .await
                .map_err(unavailable)?
                .ok_or_else(|| {
                    call.error("error-room-does-not-exist", "This room does not exist")
                })?;
            return Err(call.error("error-not-allowed", "Not allowed"));
        }
        let set = doc! { "unread": 0, "alert": false, "open": true, "ls": DateTime::now(), "userMentions": 0, "groupMentions": 0 };
        // Who only looks into a public room has nothing to mark.
        self.store
            .update_subscription(room, &call.user.id, Update::set(set))
            .await
            .map_err(unavailable)?;
        Ok(None)
    }
}

/// A message as the real server stores it; `_id` is given by the store.
pub(super) fn new_message(room: &str, user: &User, text: &str) -> Document {
    doc! {
        "rid": room,
        "msg": text,
        "ts": DateTime::from_millis(now_ms()),
        "u": author(user),
        "mentions": [],
        "channels": [],
        "urls": [],
    }
}

fn author(user: &User) -> Document {
    doc! { "_id": &user.id, "username": user.username.as_deref(), "name": user.name.as_deref() }
}

fn is_author(message: &Document, user: &User) -> bool {
    message
        .get_document("u")
        .is_ok_and(|u| text(u, "_id") == user.id)
}

fn text(document: &Document, field: &str) -> String {
    document.get_str(field).unwrap_or_default().to_owned()
}

fn list(documents: &[Document]) -> String {
    let texts: Vec<_> = documents.iter().map(ejson::to_text).collect();
    format!("[{}]", texts.join(","))
}

fn optional_text<'a>(object: &'a Value, name: &str) -> Result<Option<&'a str>, ServiceError> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_str().map(Some).ok_or_else(match_failed),
    }
}
