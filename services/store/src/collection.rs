//! The collections, under the names they have in the customer's database (services.md 7).

use bson::{Bson, DateTime, Document};

use crate::{Error, ErrorKind};

/// A collection that some operation reads, writes or follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Collection {
    Users,
    Rooms,
    Subscriptions,
    Messages,
    Settings,
    Permissions,
    Roles,
    Teams,
    TeamMembers,
    Sessions,
    Instances,
    Statistics,
    Inquiries,
    DepartmentAgents,
    LoginServices,
    IntegrationHistory,
    Integrations,
    EmailInbox,
    Priorities,
    PbxEvents,
    Conferences,
    ServerEvents,
}

impl Collection {
    pub(crate) const ALL: [Self; 22] = [
        Self::Users,
        Self::Rooms,
        Self::Subscriptions,
        Self::Messages,
        Self::Settings,
        Self::Permissions,
        Self::Roles,
        Self::Teams,
        Self::TeamMembers,
        Self::Sessions,
        Self::Instances,
        Self::Statistics,
        Self::Inquiries,
        Self::DepartmentAgents,
        Self::LoginServices,
        Self::IntegrationHistory,
        Self::Integrations,
        Self::EmailInbox,
        Self::Priorities,
        Self::PbxEvents,
        Self::Conferences,
        Self::ServerEvents,
    ];

    /// Its name in the database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Users => "users",
            Self::Rooms => "rocketchat_room",
            Self::Subscriptions => "rocketchat_subscription",
            Self::Messages => "rocketchat_message",
            Self::Settings => "rocketchat_settings",
            Self::Permissions => "rocketchat_permissions",
            Self::Roles => "rocketchat_roles",
            Self::Teams => "rocketchat_team",
            Self::TeamMembers => "rocketchat_team_member",
            Self::Sessions => "usersSessions",
            Self::Instances => "instances",
            Self::Statistics => "rocketchat_statistics",
            Self::Inquiries => "rocketchat_livechat_inquiry",
            Self::DepartmentAgents => "rocketchat_livechat_department_agents",
            Self::LoginServices => "meteor_accounts_loginServiceConfiguration",
            Self::IntegrationHistory => "rocketchat_integration_history",
            Self::Integrations => "rocketchat_integrations",
            Self::EmailInbox => "rocketchat_email_inbox",
            Self::Priorities => "rocketchat_livechat_priority",
            Self::PbxEvents => "rocketchat_pbx_events",
            Self::Conferences => "rocketchat_video_conference",
            Self::ServerEvents => "rocketchat_server_events",
        }
    }

    /// The collection with this name in the database, if it is one of these.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|collection| collection.name() == name)
    }

    /// Whether the model layer keeps `_updatedAt` here (services.md 1.4).
    pub(crate) fn is_stamped(self) -> bool {
        !matches!(self, Self::Sessions | Self::Instances)
    }

    /// Gives a new document what it lacks of `_id` and `_updatedAt`, and returns the `_id`.
    pub(crate) fn complete(self, document: &mut Document) -> Result<String, Error> {
        let id = match document.get("_id") {
            Some(Bson::String(id)) => id.clone(),
            None => {
                let id = random_id();
                document.insert("_id", id.clone());
                id
            }
            Some(_) => {
                return Err(Error::new(
                    ErrorKind::Invalid,
                    "an `_id` that is not a string",
                ));
            }
        };
        if self.is_stamped() && !document.contains_key("_updatedAt") {
            document.insert("_updatedAt", DateTime::now());
        }
        Ok(id)
    }
}

/// A new document id of Meteor's kind: 17 characters that are hard to confuse when read aloud, about 99 random bits.
fn random_id() -> String {
    const ALPHABET: &[u8; 55] = b"23456789ABCDEFGHJKLMNPQRSTWXYZabcdefghijkmnopqrstuvwxyz";
    let mut id = String::with_capacity(17);
    let mut bytes = [0; 32];
    while id.len() < 17 {
        getrandom::fill(&mut bytes).expect("the operating system has a random source");
        // 220 is the largest multiple of 55 in a byte: what lies above would favour the first letters.
        let letters = bytes
            .iter()
            .filter(|&&byte| byte < 220)
            .map(|byte| char::from(ALPHABET[usize::from(byte % 55)]));
        id.extend(letters.take(17 - id.len()));
    }
    id
}
