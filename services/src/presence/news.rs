//! What happens around presence, read into strict types.

use std::sync::Arc;

use backplane::{Incoming, NodeInfo};
use serde_json::Value;

use super::command::SERVICE;
use crate::now_ms;

/// What whoever keeps house must know.
#[derive(Debug)]
pub(super) enum News {
    /// A node is gone: its id, its process, and when (ms since 1970).
    Lost {
        node: Arc<str>,
        instance: Option<String>,
        at: i64,
        /// It offered presence: what it was about to write nobody writes any more.
        served: bool,
    },
    /// The bus was away, or we were.
    Unsettled,
    /// A document of `instances` is gone.
    InstanceRemoved(String),
    /// An instance has so many sockets.
    Count(String, u32),
    /// A licence module is valid, or no longer.
    Licence(String, bool),
    /// A setting that presence follows has changed.
    Settings,
    /// A status expires then (ms since 1970).
    Expires(i64),
    /// Another presence service is there, or offers something else.
    Joined,
    /// A presence service of ours follows the rules of 8.6.
    Claims,
    /// Another one has stood still and made these connections late, by user and session.
    Doubtful(Vec<(String, String)>),
}

impl News {
    /// What concerns the house.
    pub(super) fn of(news: Incoming) -> Option<Self> {
        match news {
            Incoming::NodeDown { node, .. } => Some(Self::Lost {
                served: serves(&node),
                node: node.id,
                instance: node.instance,
                at: now_ms(),
            }),
            Incoming::NodeUp(node) | Incoming::NodeOffers(node) => {
                serves(&node).then_some(Self::Joined)
            }
            Incoming::Up | Incoming::Down | Incoming::Gap(_) => Some(Self::Unsettled),
            Incoming::Event(event) => {
                let args: Value = crate::json::read(event.args.as_bytes()).ok()?;
                Self::of_event(event.name, args.get(0)?)
            }
            _ => None,
        }
    }

    fn of_event(name: &str, event: &Value) -> Option<Self> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        match name {
            "watch.instanceStatus" => {
                let id = text(event.get("id")?)?;
                if event.get("clientAction")? == "removed" {
                    return Some(Self::InstanceRemoved(id));
                }
                let count = event.get("diff")?.get("extraInformation.conns")?.as_u64()?;
                Some(Self::Count(id, u32::try_from(count).unwrap_or(u32::MAX)))
            }
            "license.module" => {
                let valid = event.get("valid")?.as_bool()?;
                Some(Self::Licence(text(event.get("module")?)?, valid))
            }
            CLAIMS => Some(Self::Claims),
            DOUBTFUL => {
                let pairs = event.as_array()?.iter();
                let pairs =
                    pairs.filter_map(|pair| Some((text(pair.get(0)?)?, text(pair.get(1)?)?)));
                Some(Self::Doubtful(pairs.collect()))
            }
            "watch.settings" => {
                let id = event.get("setting")?.get("_id")?.as_str()?;
                [DISABLED, TROUBLESHOOT]
                    .contains(&id)
                    .then_some(Self::Settings)
            }
            _ => None,
        }
    }
}

fn serves(node: &NodeInfo) -> bool {
    node.services.iter().any(|name| **name == *SERVICE)
}

/// What our presence services tell each other: that they follow the rules of 8.6.
pub(super) const CLAIMS: &str = "presence.claims";
/// And which connections they made that may have ended while they stood still.
pub(super) const DOUBTFUL: &str = "presence.doubtful";
/// Nobody is told who is online, because the limit of connections is exceeded.
pub(super) const DISABLED: &str = "Presence_broadcast_disabled";
/// Nobody is told who is online, because an administrator wants that.
pub(super) const TROUBLESHOOT: &str = "Troubleshoot_Disable_Presence_Broadcast";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_say_what_happened_to_an_instance_and_to_the_licence() {
        let heard = |name, event| format!("{:?}", News::of_event(name, &event));
        for (name, event, news) in [
            (
                "watch.instanceStatus",
                json!({ "clientAction": "updated", "id": "i", "diff": { "extraInformation.conns": 7 } }),
                r#"Some(Count("i", 7))"#,
            ),
            (
                "watch.instanceStatus",
                json!({ "clientAction": "removed", "id": "i" }),
                r#"Some(InstanceRemoved("i"))"#,
            ),
            (
                "watch.instanceStatus",
                json!({ "clientAction": "updated", "id": "i", "diff": {} }),
                "None",
            ),
            (
                "license.module",
                json!({ "module": "scalability", "valid": true }),
                r#"Some(Licence("scalability", true))"#,
            ),
            (
                "watch.settings",
                json!({ "clientAction": "updated", "setting": { "_id": DISABLED, "value": true } }),
                "Some(Settings)",
            ),
            (
                "watch.settings",
                json!({ "clientAction": "updated", "setting": { "_id": "Site_Name" } }),
                "None",
            ),
            (
                DOUBTFUL,
                json!([["u", "s"], ["odd"], 7]),
                r#"Some(Doubtful([("u", "s")]))"#,
            ),
            ("watch.instanceStatus", json!([]), "None"),
        ] {
            assert_eq!(heard(name, event), news);
        }
    }
}
