//! INFO: what a node offers.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
    ser::{SerializeMap, SerializeStruct},
};
use serde_json::value::RawValue;

use super::{Packet, Version, lenient};

/// What a peer says about itself.
#[derive(Debug, Deserialize)]
pub struct Info<'a> {
    /// `None`: the node is known, but offers nothing.
    pub services: Option<Vec<ServiceEntry>>,
    #[serde(default, deserialize_with = "lenient")]
    pub hostname: Option<String>,
    /// UUID of the process start.
    #[serde(rename = "instanceID", default, deserialize_with = "lenient")]
    pub instance_id: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    pub seq: Option<f64>,
    /// Only people read it: whatever is wrong with it, the node counts.
    #[serde(borrow)]
    client: Option<&'a RawValue>,
    #[expect(dead_code, reason = "decoding it is the check")]
    ver: Version,
    #[serde(borrow)]
    pub sender: Cow<'a, str>,
}

impl Info<'_> {
    /// What the peer runs on: `type` and `version` of its client, at most 64 bytes of plain text.
    pub fn client(&self) -> Option<String> {
        #[derive(Deserialize)]
        struct Client<'a> {
            #[serde(borrow)]
            r#type: Cow<'a, str>,
            #[serde(borrow)]
            version: Cow<'a, str>,
        }
        let client: Client<'_> = serde_json::from_str(self.client?.get()).ok()?;
        let text = format!("{} {}", client.r#type, client.version);
        let is_plain = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
        (text.len() <= 64 && text.bytes().all(is_plain)).then_some(text)
    }
}

impl<'a> Packet<'a> for Info<'a> {
    fn sender(&self) -> &str {
        &self.sender
    }
}

/// One service of a peer.
#[derive(Debug, Deserialize)]
pub struct ServiceEntry {
    name: Option<String>,
    #[serde(rename = "fullName")]
    full_name: Option<String>,
    /// Full names of the callable actions, and of the events.
    #[serde(default, deserialize_with = "offers")]
    pub actions: Vec<Offer>,
    #[serde(default, deserialize_with = "offers")]
    pub events: Vec<Offer>,
}

impl ServiceEntry {
    /// The service's name; `None` makes the entry useless.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref().or(self.full_name.as_deref())
    }
}

/// An action or an event; only the values of the maps are read, never their keys (backplane.md 5.3).
#[derive(Debug, Deserialize)]
pub struct Offer {
    /// An action without a name is not callable.
    pub name: Option<String>,
    /// Of an event: the group it is balanced in, unless it is the service's name.
    pub group: Option<String>,
    visibility: Option<String>,
}

impl Offer {
    /// Whether peers may use it.
    pub fn is_public(&self) -> bool {
        !matches!(self.visibility.as_deref(), Some("private" | "protected"))
    }
}

/// Reads the values of an object, or the elements of an array.
fn offers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Offer>, D::Error> {
    struct Offers;
    impl<'de> Visitor<'de> for Offers {
        type Value = Vec<Offer>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object or an array")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(Vec::new())
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut offers = Vec::new();
            while let Some((_, offer)) = map.next_entry::<IgnoredAny, Option<Offer>>()? {
                offers.extend(offer);
            }
            Ok(offers)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut offers = Vec::new();
            while let Some(offer) = seq.next_element::<Option<Offer>>()? {
                offers.extend(offer);
            }
            Ok(offers)
        }
    }
    deserializer.deserialize_any(Offers)
}

/// Our own INFO; serialises to the packet.
#[derive(Debug)]
pub struct Announcement<'a> {
    /// Name, full action names, event names.
    pub services: &'a [(&'a str, &'a [&'a str], &'a [&'a str])],
    pub hostname: &'a str,
    /// `type`, `version` and `langVersion` of the client.
    pub client: (&'a str, &'a str, &'a str),
    pub instance_id: &'a str,
    pub seq: u64,
    pub sender: &'a str,
}

impl Serialize for Announcement<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Empty {}
        #[derive(Serialize)]
        struct Client<'a> {
            r#type: &'a str,
            version: &'a str,
            #[serde(rename = "langVersion")]
            lang_version: &'a str,
        }
        #[derive(Serialize)]
        struct Service<'a> {
            name: &'a str,
            #[serde(rename = "fullName")]
            full_name: &'a str,
            settings: Empty,
            metadata: Empty,
            actions: Actions<'a>,
            events: Events<'a>,
        }
        let services: Vec<_> = self
            .services
            .iter()
            .map(|(name, actions, events)| Service {
                name,
                full_name: name,
                settings: Empty {},
                metadata: Empty {},
                actions: Actions(actions),
                events: Events(events),
            })
            .collect();
        let (kind, version, lang_version) = self.client;
        let mut info = serializer.serialize_struct("INFO", 10)?;
        info.serialize_field("services", &services)?;
        info.serialize_field("ipList", &[(); 0])?;
        info.serialize_field("hostname", self.hostname)?;
        info.serialize_field(
            "client",
            &Client {
                r#type: kind,
                version,
                lang_version,
            },
        )?;
        info.serialize_field("config", &Empty {})?;
        info.serialize_field("instanceID", self.instance_id)?;
        info.serialize_field("metadata", &Empty {})?;
        info.serialize_field("seq", &self.seq)?;
        info.serialize_field("ver", &Version)?;
        info.serialize_field("sender", self.sender)?;
        info.end()
    }
}

/// `{"service.method":{"rawName":"method","name":"service.method"}}`
struct Actions<'a>(&'a [&'a str]);

impl Serialize for Actions<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Action<'a> {
            #[serde(rename = "rawName")]
            raw_name: &'a str,
            name: &'a str,
        }
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for name in self.0 {
            let raw_name = name.split_once('.').map_or(*name, |(_, method)| method);
            map.serialize_entry(name, &Action { raw_name, name })?;
        }
        map.end()
    }
}

/// `{"event":{"name":"event"}}`
struct Events<'a>(&'a [&'a str]);

impl Serialize for Events<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Event<'a> {
            name: &'a str,
        }
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for name in self.0 {
            map.serialize_entry(name, &Event { name })?;
        }
        map.end()
    }
}
