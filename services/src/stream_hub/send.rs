//! Announcements onto the bus.

use backplane::{Bus, ErrorKind};
use serde_json::{json, value::to_raw_value};
use store::{Token, ejson};

use super::{metrics, rules::Announcement};

/// Where an event comes from, for its `meta`.
pub(super) enum Origin<'a> {
    /// The embedded feed, which never says a thing twice.
    Here,
    /// A change in the server's log.
    Log { term: i64, token: &'a Token },
    /// What is sent again because changes were missed.
    Gap { term: i64, id: &'a str },
}

/// Sends the events of one change in their order.
///
/// # Errors
/// The connection to the bus is lost: nothing says which nodes have heard what.
pub(super) fn send(
    bus: &Bus,
    announcements: &[Announcement],
    origin: &Origin<'_>,
) -> Result<usize, Disconnected> {
    let mut bytes = 0;
    for (n, Announcement { event, payload }) in announcements.iter().enumerate() {
        let args = format!("[{}]", ejson::to_text(payload));
        let meta = match origin {
            Origin::Here => json!({}),
            Origin::Log { term, token } => {
                json!({ "hub": { "term": term, "token": token.text(), "n": n } })
            }
            Origin::Gap { term, id } => json!({ "hub": { "term": term, "gap": id } }),
        };
        let meta = to_raw_value(&meta).expect("a JSON value is JSON");
        bytes += args.len();
        match bus.broadcast_with_meta(event, &args, &meta) {
            Ok(()) => metrics::event(event),
            // It will not become smaller by waiting.
            Err(ErrorKind::TooLarge) => {
                tracing::error!(
                    event,
                    bytes = args.len(),
                    "a change is larger than the bus carries: raise max_payload of nats-server"
                );
                metrics::too_large(event);
            }
            Err(_) => return Err(Disconnected),
        }
    }
    Ok(bytes)
}

/// There is no connection to the bus.
#[derive(Debug)]
pub(super) struct Disconnected;
