//! Which fields of a document leave the store: the contract's projections.

use bson::{Bson, Document, RawDocument};

/// Fields of a room that clients may see: projection R, services.md 7.4.
pub const ROOM_FIELDS: &[&str] = &[
    "_id",
    "name",
    "fname",
    "t",
    "cl",
    "u",
    "lm",
    "teamId",
    "teamMain",
    "topic",
    "announcement",
    "announcementDetails",
    "muted",
    "unmuted",
    "_updatedAt",
    "archived",
    "description",
    "default",
    "customFields",
    "lastMessage",
    "retention",
    "prid",
    "avatarETag",
    "usersCount",
    "msgs",
    "tags",
    "sms",
    "code",
    "joinCodeRequired",
    "open",
    "label",
    "ro",
    "reactWhenReadOnly",
    "sysMes",
    "sentiment",
    "streamingOptions",
    "broadcast",
    "encrypted",
    "e2eKeyId",
    "livechatData",
    "priorityId",
    "priorityWeight",
    "slaId",
    "estimatedWaitingTimeQueue",
    "v",
    "departmentId",
    "servedBy",
    "source",
    "transcriptRequest",
    "onHold",
    "metrics",
    "ts",
    "waitingResponse",
    "queuedAt",
    "federated",
    "usernames",
    "uids",
    "queue",
    "callDuration",
    "callTotalHoldTime",
    "callWaitingTime",
    "usersWaitingForE2EKeys",
];

/// Fields of a subscription that its user may see: projection S, services.md 7.3.
pub const SUBSCRIPTION_FIELDS: &[&str] = &[
    "_id",
    "t",
    "ts",
    "ls",
    "lr",
    "name",
    "fname",
    "rid",
    "code",
    "f",
    "u",
    "open",
    "alert",
    "roles",
    "unread",
    "prid",
    "userMentions",
    "groupMentions",
    "archived",
    "audioNotificationValue",
    "desktopNotifications",
    "mobilePushNotifications",
    "emailNotifications",
    "desktopPrefOrigin",
    "mobilePrefOrigin",
    "emailPrefOrigin",
    "unreadAlert",
    "_updatedAt",
    "blocked",
    "blocker",
    "autoTranslate",
    "autoTranslateLanguage",
    "disableNotifications",
    "hideUnreadStatus",
    "hideMentionStatus",
    "muteGroupMentions",
    "ignored",
    "E2EKey",
    "E2ESuggestedKey",
    "tunread",
    "tunreadGroup",
    "tunreadUser",
    "department",
    "v",
    "onHold",
    "oldRoomKeys",
];

/// Fields of the own user document that a client gets after its login: streams.md 6.3.
pub(crate) const USER_DOCUMENT_FIELDS: &[&str] = &[
    "_id",
    "name",
    "username",
    "nickname",
    "emails",
    "status",
    "statusDefault",
    "statusText",
    "statusConnection",
    "bio",
    "avatarOrigin",
    "utcOffset",
    "language",
    "settings",
    "enableAutoAway",
    "idleTimeLimit",
    "roles",
    "active",
    "defaultRoom",
    "customFields",
    "requirePasswordChange",
    "requirePasswordChangeReason",
    "statusLivechat",
    "banners",
    "oauth.authorizedClients",
    "_updatedAt",
    "avatarETag",
    "openBusinessHours",
    "services.totp.enabled",
    "services.email2fa.enabled",
    "extension",
];

/// Where a user keeps the login tokens.
pub(crate) const LOGIN_TOKENS: &str = "services.resume.loginTokens";

/// The part of `document` that `fields` name; `_id` always comes. A field may be a dotted path through sub-documents
/// and arrays of them, as in MongoDB. Fields keep the document's order.
pub fn project(document: &Document, fields: &[&str]) -> Document {
    document
        .iter()
        .filter_map(|(key, value)| {
            if key == "_id" || fields.contains(&key.as_str()) {
                return Some((key.clone(), value.clone()));
            }
            let below: Vec<&str> = fields
                .iter()
                .filter_map(|field| field.strip_prefix(key.as_str())?.strip_prefix('.'))
                .collect();
            Some((key.clone(), part(value, &below)?))
        })
        .collect()
}

/// The part of a value below which something is wanted; `None` if there can be nothing.
fn part(value: &Bson, below: &[&str]) -> Option<Bson> {
    match value {
        _ if below.is_empty() => None,
        Bson::Document(inner) => {
            let mut inner = project(inner, below);
            if !below.contains(&"_id") {
                inner.remove("_id");
            }
            Some(Bson::Document(inner))
        }
        Bson::Array(elements) => Some(Bson::Array(
            elements
                .iter()
                .filter_map(|element| part(element, below))
                .collect(),
        )),
        _ => None,
    }
}

/// The login tokens of a user.
pub(crate) fn login_tokens(user: &RawDocument) -> impl Iterator<Item = &RawDocument> {
    let tokens = user
        .get_document("services")
        .and_then(|services| services.get_document("resume"))
        .and_then(|resume| resume.get_array("loginTokens"));
    tokens
        .ok()
        .into_iter()
        .flatten()
        .filter_map(|token| token.ok()?.as_document())
}
