//! Who plays in the rows: a product of a line, kinds of callers, and the rooms that the rows name.

use std::sync::{Mutex, PoisonError};

use harness::{Client, Line, Product, Satellites, User};
use serde_json::{Value, json};

/// A kind of caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    Anonymous,
    /// No login, but the token of the conversation `<visit>`.
    Guest,
    /// Logged in with a role that has no permission.
    Outsider,
    /// Logged in, in no room.
    Stranger,
    /// In all rooms but the conversation.
    Member,
    /// In the member's private rooms too; not among [`Caller::ALL`].
    Colleague,
    /// Serves the conversation.
    Agent,
    /// Has every permission, is in no room.
    Admin,
}

/// Where a row plays.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stage {
    /// The newest line and its own services.
    Newest,
    /// The newest line with services of ours.
    Own,
    /// What shipped as 7.0.
    Old,
    /// The newest line with gateway and services of ours in one process.
    All,
}

/// A product with everybody in place.
pub(crate) struct Cast {
    pub(crate) product: Product,
    users: [(Caller, User); 6],
    /// What stands in angle brackets, and what for.
    names: Vec<(&'static str, String)>,
}

impl Caller {
    pub(crate) const ALL: [Self; 7] = [
        Self::Anonymous,
        Self::Guest,
        Self::Outsider,
        Self::Stranger,
        Self::Member,
        Self::Agent,
        Self::Admin,
    ];
}

impl Stage {
    /// Plays a row on the newest line, beside its own services and with ours in one process.
    pub(crate) fn newest(row: impl Fn(&Cast)) {
        for stage in [Self::Newest, Self::All] {
            stage.play(&row);
        }
    }

    /// Plays a row; one after the other, because some events reach everybody.
    pub(crate) fn play(self, row: impl FnOnce(&Cast)) {
        static CASTS: [Mutex<Option<Cast>>; 4] = [const { Mutex::new(None) }; 4];
        let mut cast = CASTS[self as usize]
            .lock()
            // A row that has failed must not take the others with it.
            .unwrap_or_else(PoisonError::into_inner);
        row(cast.get_or_insert_with(|| Cast::start(self)));
    }
}

impl Cast {
    fn start(stage: Stage) -> Self {
        let (line, satellites) = match stage {
            Stage::Newest => (Line::V8, Satellites::Theirs),
            Stage::Own => (Line::V8, Satellites::Ours),
            Stage::Old => (Line::V6_14, Satellites::Theirs),
            Stage::All => (Line::V8, Satellites::All),
        };
        let binary = env!("CARGO_BIN_EXE_ddp-edge");
        let limits = [("DDP_EDGE_RATE_LIMITS", "false")];
        let product = Product::start(binary, line, satellites, &limits);
        let user = |caller, roles: &[&str]| (caller, present(&product, roles));
        let users = [
            user(Caller::Outsider, &["outsider"]),
            user(Caller::Stranger, &["user"]),
            user(Caller::Member, &["user"]),
            user(Caller::Colleague, &["user"]),
            user(Caller::Agent, &["user", "livechat-agent"]),
            user(Caller::Admin, &["user", "admin"]),
        ];
        let [_, _, (_, member), (_, other), (_, agent), _] = &users;
        let token = product.user(&[]).token;
        let visit = json!({
            "open": true, "v": {"_id": "v", "token": token},
            "servedBy": {"_id": agent.id, "username": agent.username}
        });
        let private = product.room("p", &[member, other]);
        let discussion = json!({"prid": private});
        let names = vec![
            ("<public>", product.room("c", &[member])),
            ("<direct>", product.room("d", &[member, other])),
            ("<discussion>", product.room_with("p", &[], &discussion)),
            ("<visit>", product.room_with("l", &[], &visit)),
            ("<call>", call(&product, &private)),
            ("<private>", private),
            ("<member>", member.id.clone()),
            ("<username>", member.username.clone()),
            ("<agent>", agent.id.clone()),
            ("<other>", other.id.clone()),
            ("<token>", token),
            ("<missing>", "no-such-room".to_owned()),
        ];
        Self {
            product,
            users,
            names,
        }
    }

    /// A text of a row with ids in the place of names; `<self>` is the caller's own.
    pub(crate) fn fill(&self, text: &str, caller: Caller) -> String {
        let own = self.user(caller).map_or("nobody", |user| &user.id);
        let filled = text.replace("<self>", own);
        self.names
            .iter()
            .fold(filled, |text, (name, id)| text.replace(name, id))
    }

    pub(crate) fn user(&self, caller: Caller) -> Option<&User> {
        let found = self.users.iter().find(|(kind, _)| *kind == caller);
        found.map(|(_, user)| user)
    }

    /// A raw socket and one in SockJS framing.
    pub(crate) fn sockets(&self, caller: Caller) -> [Client; 2] {
        let port = self.product.gateway.port;
        [Client::open(port), Client::open_sockjs(port)].map(|mut client| {
            if let Some(user) = self.user(caller) {
                client.login(&user.token);
            }
            client
        })
    }

    /// What a caller says beside the event's name.
    pub(crate) fn extra(&self, caller: Caller) -> Value {
        if caller != Caller::Guest {
            return json!([]);
        }
        let token = self.fill("<token>", caller);
        json!([{"token": token, "visitorToken": token}])
    }
}

/// A user who is online on a device of his own, so that the coming and going of a row's sockets is no news.
fn present(product: &Product, roles: &[&str]) -> User {
    let online = json!({"status": "online", "statusConnection": "online"});
    let user = product.user_with(roles, &online);
    let device = json!({"id": format!("device of {}", user.id), "instanceId": "elsewhere", "status": "online"});
    product.ask(&json!({
        "cmd": "write", "collection": "usersSessions", "filter": {"_id": user.id},
        "update": {"$set": {"connections": [device]}}
    }));
    user
}

/// A conference in a room.
fn call(product: &Product, rid: &str) -> String {
    let call = format!("call-of-{rid}");
    product.ask(&json!({
        "cmd": "write", "collection": "rocketchat_video_conference", "filter": {"_id": call},
        "update": {"$set": {"type": "videoconference", "rid": rid, "users": [], "status": 1}}
    }));
    call
}
