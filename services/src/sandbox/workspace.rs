//! Who calls, which method, and the answer's shape.

use std::sync::Arc;

use backplane::{Bus, CallOptions, Code, ErrorKind, MeteorError, ServiceError};
use bytes::Bytes;
use serde_json::{Value, json};
use store::{Store, User};

use super::args::Args;
use crate::{
    errors::{plain, unavailable},
    params::Params,
    serve::{self, Handler},
};

pub(super) struct Workspace {
    pub(super) bus: Bus,
    pub(super) store: Store,
}

/// One method call by somebody who is logged in.
pub(super) struct Call<'a> {
    pub(super) method: &'a str,
    pub(super) user: User,
    pub(super) args: Args,
}

/// A result as raw JSON; `None` is `undefined`.
pub(super) type Outcome = Result<Option<String>, ServiceError>;

impl Handler for Workspace {
    async fn handle_call(self: Arc<Self>, call: serve::Call) -> serve::Outcome {
        match call.action {
            "meteor.callMethodWithToken" => self.call_with_token(&call.params).await.map(Some),
            // No web client is served from here: there is no version to announce.
            "meteor.getAutoUpdateClientVersions" => Ok(Some(Bytes::from_static(b"{}"))),
            "meteor.getLoginServiceConfiguration" => Ok(Some(Bytes::from_static(b"[]"))),
            _ => Err(plain("unknown action")),
        }
    }
}

impl Workspace {
    pub(super) fn new(bus: Bus, store: Store) -> Self {
        Self { bus, store }
    }

    async fn call_with_token(&self, params: &Params) -> Result<Bytes, ServiceError> {
        let Some(method) = params.text(2) else {
            return Err(plain("a method has a name"));
        };
        let Some(args) = params.get(3).and_then(Value::as_array) else {
            return Err(plain("a method has arguments"));
        };
        let user = self.authenticate(params.text(0), params.text(1)).await?;
        let result = self.call(method, user, Args(args.clone())).await?;
        Ok(match result {
            Some(result) => format!(r#"{{"result":{result}}}"#).into(),
            None => Bytes::from_static(b"{}"),
        })
    }

    /// The user to whom id and hashed token belong together; a pair that does not match is anonymous, not an error.
    pub(super) async fn authenticate(
        &self,
        id: Option<&str>,
        hashed: Option<&str>,
    ) -> Result<Option<User>, ServiceError> {
        let (Some(id), Some(hashed)) = (id, hashed) else {
            return Ok(None);
        };
        let owner = self
            .store
            .user_by_token_hash(hashed)
            .await
            .map_err(unavailable)?;
        if owner.is_none_or(|owner| owner.user != id || !owner.active) {
            return Ok(None);
        }
        self.store.user(id).await.map_err(unavailable)
    }

    /// Runs one method as this user.
    ///
    /// # Errors
    /// Those of the method, in the shape a real server gives them.
    pub(super) async fn call(&self, method: &str, user: Option<User>, args: Args) -> Outcome {
        match method {
            "public-settings/get" => return self.public_settings(&args).await,
            "permissions/get" => return self.permissions(&args).await,
            // Nobody has no rooms, no presence and nothing to log out of.
            "rooms/get" | "subscriptions/get" if user.is_none() => {
                return Ok(Some("[]".to_owned()));
            }
            "logout"
            | "setUserStatus"
            | "UserPresence:setDefaultStatus"
            | "UserPresence:online"
            | "UserPresence:away"
                if user.is_none() =>
            {
                return Ok(None);
            }
            _ if !METHODS.contains(&method) => return Err(not_found(method)),
            _ => {}
        }
        let Some(user) = user else {
            return Err(invalid_user(method));
        };
        let call = Call { method, user, args };
        match method {
            "sendMessage" => self.send_message(&call).await,
            "updateMessage" => self.update_message(&call).await,
            "deleteMessage" => self.delete_message(&call).await,
            "loadHistory" => self.load_history(&call).await,
            "loadMissedMessages" => self.load_missed_messages(&call).await,
            "readMessages" => self.read_messages(&call).await,
            "rooms/get" => self.rooms(&call).await,
            "subscriptions/get" => self.subscriptions(&call).await,
            "getRoomById" => self.room_by_id(&call).await,
            "getRoomIdByNameOrId" => self.room_id_by_name_or_id(&call).await,
            "getRoomNameById" => self.room_name_by_id(&call).await,
            "getSingleMessage" => self.single_message(&call).await,
            "createDirectMessage" => self.create_direct_message(&call).await,
            "createChannel" => self.create_room(&call, "c").await,
            "createPrivateGroup" => self.create_room(&call, "p").await,
            "joinRoom" => self.join_room(&call).await,
            "leaveRoom" => self.leave_room(&call).await,
            "addUsersToRoom" => self.add_users_to_room(&call).await,
            "removeUserFromRoom" => self.remove_user_from_room(&call).await,
            "addRoomOwner" => self.add_room_owner(&call).await,
            "getUsersOfRoom" => self.users_of_room(&call).await,
            "setUserStatus" | "UserPresence:setDefaultStatus" => self.set_status(&call).await,
            "sandbox:flood" => self.flood(&call).await,
            "sandbox:pour" => self.pour(&call).await,
            "sandbox:dropSockets" => self.drop_sockets().await,
            // The gateway logs sockets out and knows which of them are away; a call by REST has no socket.
            _ => Ok(None),
        }
    }

    /// Whether the authorization service lets this user into the room; unknown means no.
    pub(super) async fn can_access(&self, room: &str, user: &str) -> bool {
        let params = json!([room, user]).to_string();
        let answer = self
            .bus
            .call(
                "authorization.canAccessRoomId",
                &params,
                CallOptions::default(),
            )
            .await;
        answer.is_ok_and(|answer| answer.is_some_and(|answer| answer == "true"))
    }

    /// Whether this user has the permission, in a room or in the workspace.
    pub(super) async fn has_permission(
        &self,
        user: &str,
        permission: &str,
        room: Option<&str>,
    ) -> bool {
        let params = json!([user, permission, room]).to_string();
        let answer = self
            .bus
            .call(
                "authorization.hasPermission",
                &params,
                CallOptions::default(),
            )
            .await;
        answer.is_ok_and(|answer| answer.is_some_and(|answer| answer == "true"))
    }

    /// The console's button: logs every user's sockets out, by the event that the real server sends.
    async fn drop_sockets(&self) -> Outcome {
        for user in self.store.users().await.map_err(unavailable)? {
            self.bus
                .broadcast("user.forceLogout", &json!([user.id]).to_string());
        }
        Ok(None)
    }

    /// `[status, text?, end?]`: the gateway answers it itself on a socket, without an end; REST brings it here.
    async fn set_status(&self, call: &Call<'_>) -> Outcome {
        let (status, text) = (call.args.text(0)?, call.args.optional_text(1)?);
        let end = call.args.get(2);
        let params = json!([call.user.id, status, text, end]).to_string();
        let answer = self
            .bus
            .call("presence.setStatus", &params, CallOptions::default())
            .await;
        match answer {
            Ok(answer) => Ok(answer.map(|answer| String::from_utf8_lossy(&answer).into_owned())),
            Err(error) => Err(match &error.kind {
                ErrorKind::Refused(refusal) => refusal.meteor().map(ServiceError::Meteor),
                _ => None,
            }
            .unwrap_or_else(|| plain(&error.to_string()))),
        }
    }
}

/// What needs a user.
const METHODS: &[&str] = &[
    "sendMessage",
    "updateMessage",
    "deleteMessage",
    "loadHistory",
    "loadMissedMessages",
    "readMessages",
    "rooms/get",
    "subscriptions/get",
    "getRoomById",
    "getRoomIdByNameOrId",
    "getRoomNameById",
    "getSingleMessage",
    "createDirectMessage",
    "createChannel",
    "createPrivateGroup",
    "joinRoom",
    "leaveRoom",
    "addUsersToRoom",
    "removeUserFromRoom",
    "addRoomOwner",
    "getUsersOfRoom",
    "logout",
    "sandbox:flood",
    "sandbox:pour",
    "sandbox:dropSockets",
    "setUserStatus",
    "UserPresence:setDefaultStatus",
    "UserPresence:online",
    "UserPresence:away",
];

impl Call<'_> {
    /// A Meteor error that names this method in its details, as the real server's do.
    pub(super) fn error(&self, code: &str, reason: &str) -> ServiceError {
        error(self.method, code, reason)
    }
}

fn error(method: &str, code: &str, reason: &str) -> ServiceError {
    let details = json!({ "method": method }).to_string();
    ServiceError::Meteor(MeteorError {
        error: Code::Text(code.to_owned()),
        reason: Some(reason.to_owned()),
        details: Some(details.into()),
    })
}

fn invalid_user(method: &str) -> ServiceError {
    error(method, "error-invalid-user", "Invalid user")
}

fn not_found(method: &str) -> ServiceError {
    // The name is the client's: cut, so that no error grows with it.
    let name: String = method.chars().take(100).collect();
    ServiceError::Meteor(MeteorError {
        error: Code::Number(404),
        reason: Some(format!("Method '{name}' is not implemented in the sandbox")),
        details: None,
    })
}
