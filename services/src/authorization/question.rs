//! What authorization can be asked (services.md 3.1), read strictly: a parameter of the wrong type is an error, because a
//! wrong guess here would be a right that nobody gave.

use backplane::ServiceError;
use serde_json::{Map, Value};
use store::Room;

use crate::{
    errors::{invalid_param, plain},
    params::{Params, optional_text},
};

pub(super) enum Question {
    Permission {
        /// Nobody has no permission.
        user: Option<Asker>,
        permissions: Vec<String>,
        /// The room whose roles count too.
        scope: Option<String>,
        need: Need,
    },
    Room(Asked),
    ReadRoom(Asked),
    RoomId {
        room: Option<String>,
        user: Option<String>,
    },
    RoomIds {
        rooms: Vec<String>,
        user: Option<String>,
    },
    Conference {
        rooms: Vec<String>,
        members: Vec<String>,
        user: Option<String>,
    },
    AnyRole {
        user: Option<Asker>,
        roles: Vec<String>,
        scope: Option<String>,
    },
    Restrict {
        role: String,
        permissions: Vec<String>,
    },
    PublicRoles,
}

/// How many of the permissions are needed.
#[derive(Clone, Copy)]
pub(super) enum Need {
    All,
    One,
}

/// Whose permissions are asked about.
pub(super) struct Asker {
    pub(super) id: String,
    /// Given by newer callers; they win over the stored ones.
    pub(super) roles: Option<Vec<String>>,
}

/// A question about a room that the caller describes.
pub(super) struct Asked {
    /// As far as the caller describes it, else empty; `None` if only `extra` tells which room is meant.
    pub(super) room: Option<Room>,
    pub(super) user: Option<String>,
    /// The user came with nothing but an id: if there is no such user, that is an error, not a no.
    pub(super) is_bare: bool,
    pub(super) extra: Extra,
}

/// What the caller knows besides room and user.
#[derive(Default)]
pub(super) struct Extra {
    /// The whole of it, for the judge of omnichannel rooms: an object or `null`.
    pub(super) value: Value,
    /// `rid`: the room that is meant if none is described.
    pub(super) room: Option<String>,
    /// `includeInvitations`: who is invited counts as a member.
    pub(super) with_invitations: bool,
}

impl Question {
    /// # Errors
    /// `invalid-param`.
    pub(super) fn parse(action: &str, params: &Params) -> Result<Self, ServiceError> {
        let user = asker(params.get(0));
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let scope = || params.optional_text(2).map(owned);
        Ok(match action {
            "authorization.hasPermission" => Self::Permission {
                user: user?,
                permissions: vec![params.text(1).ok_or_else(invalid_param)?.to_owned()],
                scope: scope()?,
                need: Need::One,
            },
            "authorization.hasAllPermission" => Self::Permission {
                user: user?,
                permissions: names(params, 1)?,
                scope: scope()?,
                need: Need::All,
            },
            "authorization.hasAtLeastOnePermission" => Self::Permission {
                user: user?,
                permissions: names(params, 1)?,
                scope: scope()?,
                need: Need::One,
            },
            "authorization.hasAnyRole" => Self::AnyRole {
                user: user?,
                roles: names(params, 1)?,
                scope: scope()?,
            },
            "authorization.canAccessRoom" => Self::Room(Asked::parse(params)?),
            "authorization.canReadRoom" => Self::ReadRoom(Asked::parse(params)?),
            "authorization.canAccessRoomId" => Self::RoomId {
                room: params.optional_text(0).map(owned)?,
                user: asker(params.get(1))?.map(|user| user.id),
            },
            "authorization.canAccessRoomIds" => Self::RoomIds {
                rooms: names(params, 0)?,
                user: asker(params.get(1))?.map(|user| user.id),
            },
            "authorization.canAccessConference" => Self::conference(params)?,
            "authorization.addRoleRestrictions" => Self::Restrict {
                role: params.text(0).ok_or_else(invalid_param)?.to_owned(),
                permissions: names(params, 1)?,
            },
            "authorization.getUsersFromPublicRoles" => Self::PublicRoles,
            _ => return Err(plain("unknown action")),
        })
    }

    /// `[call{rid, discussionRid?, users[{_id}]}, uid?]`
    fn conference(params: &Params) -> Result<Self, ServiceError> {
        let call = params.object(0)?.ok_or_else(invalid_param)?;
        let mut rooms = Vec::new();
        for name in ["rid", "discussionRid"] {
            rooms.extend(optional_text(call.get(name))?.map(str::to_owned));
        }
        let members = match call.get("users") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(users)) => users
                .iter()
                .map(|user| Ok(asker(Some(user))?.ok_or_else(invalid_param)?.id))
                .collect::<Result<_, ServiceError>>()?,
            Some(_) => return Err(invalid_param()),
        };
        Ok(Self::Conference {
            rooms,
            members,
            user: asker(params.get(1))?.map(|user| user.id),
        })
    }
}

impl Asked {
    fn parse(params: &Params) -> Result<Self, ServiceError> {
        let (user, is_bare) = match params.get(1) {
            // The original reads a member that a text does not have, so a text is nobody.
            None | Some(Value::String(_)) => (None, false),
            Some(Value::Object(user)) => (optional_text(user.get("_id"))?, user.len() == 1),
            Some(_) => return Err(invalid_param()),
        };
        Ok(Self {
            room: params.object(0)?.map(room).transpose()?,
            user: user.map(str::to_owned),
            is_bare,
            extra: params
                .object(2)?
                .map(Extra::parse)
                .transpose()?
                .unwrap_or_default(),
        })
    }
}

impl Extra {
    fn parse(extra: &Map<String, Value>) -> Result<Self, ServiceError> {
        Ok(Self {
            room: optional_text(extra.get("rid"))?.map(str::to_owned),
            with_invitations: extra.get("includeInvitations") == Some(&Value::Bool(true)),
            value: Value::Object(extra.clone()),
        })
    }
}

/// A user as an id, or as an object with one and maybe with roles.
fn asker(value: Option<&Value>) -> Result<Option<Asker>, ServiceError> {
    let (id, roles) = match value {
        Some(Value::Object(user)) => {
            let id = optional_text(user.get("_id"))?.ok_or_else(invalid_param)?;
            (Some(id), user.get("roles").filter(|roles| !roles.is_null()))
        }
        other => (optional_text(other)?, None),
    };
    let roles = roles.map(|roles| {
        let roles = roles.as_array().ok_or_else(invalid_param)?.iter();
        roles
            .map(|role| role.as_str().map(str::to_owned).ok_or_else(invalid_param))
            .collect()
    });
    let roles = roles.transpose()?;
    Ok(id.map(|id| Asker {
        id: id.to_owned(),
        roles,
    }))
}

/// A room as callers describe it: the members that rules read, or the whole document. What the database may hold in an
/// odd type is judged as [`Room`] says.
fn room(room: &Map<String, Value>) -> Result<Room, ServiceError> {
    let text = |name| {
        Ok(optional_text(room.get(name))?
            .unwrap_or_default()
            .to_owned())
    };
    let team = match room.get("teamId") {
        None | Some(Value::Null) => None,
        Some(team) => Some(team.as_str().unwrap_or(Room::NO_TEAM).to_owned()),
    };
    let parent = room.get("prid").and_then(Value::as_str);
    Ok(Room {
        id: text("_id")?,
        kind: text("t")?,
        team: team.filter(|team| !team.is_empty()),
        parent: parent.filter(|id| !id.is_empty()).map(str::to_owned),
        has_abac: match room.get("abacAttributes") {
            None | Some(Value::Null) => false,
            Some(Value::Array(attributes)) => !attributes.is_empty(),
            Some(_) => true,
        },
        ..Room::default()
    })
}

fn names(params: &Params, index: usize) -> Result<Vec<String>, ServiceError> {
    Ok(params
        .names(index)?
        .into_iter()
        .map(str::to_owned)
        .collect())
}
