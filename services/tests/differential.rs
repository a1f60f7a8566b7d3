//! The same random questions about the same random workspaces, asked of authorization and of a naive model that was written
//! from the contract (services.md 3 and 13): one function per rule, everything looked up by searching lists.

mod common;

use backplane::{Incoming, Service};
use common::World;
use harness::Dice;
use serde_json::{Value, json};
use services::{accounts, authorization};
use store::{
    MongoConfig, Store,
    bson::{Bson, Document},
    ejson,
};

const USERS: [&str; 5] = ["ann", "bob", "cid", "dan", "nobody"];
const ROLES: [&str; 5] = ["admin", "user", "guest", "moderator", "odd-role"];
const ROOMS: [&str; 9] = ["r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "no-room"];
const PERMISSIONS: [&str; 9] = [
    "view-c-room",
    "view-p-room",
    "view-d-room",
    "view-l-room",
    "view-joined-room",
    "preview-c-room",
    "create-c",
    "view-x-room",
    "no-permission",
];

#[tokio::test]
async fn authorization_agrees_with_the_contract_on_random_workspaces() {
    for seed in 0..60 {
        let store = Store::embedded(None).unwrap();
        compare(seed, store, 150).await;
    }
}

#[tokio::test]
async fn it_agrees_on_mongodb_too() {
    let server = tokio::task::spawn_blocking(harness::MongoServer::start)
        .await
        .unwrap();
    for seed in 1_000..1_004 {
        let url = server.url(&format!("differential_{}_{seed}", std::process::id()));
        let config = MongoConfig {
            url,
            ..MongoConfig::default()
        };
        compare(seed, Store::mongo(config).await.unwrap(), 150).await;
    }
}

async fn compare(seed: u64, store: Store, questions: usize) {
    let mut dice = Dice::new(seed);
    let model = Model::draw(&mut dice);
    let (logins, rules) = (
        accounts::Config::default(),
        authorization::Config::default(),
    );
    let world = World::start_on(store, logins, rules).await;
    start_judge(&world);
    world.insert(model.documents()).await;
    for role in &model.restricted {
        let params = json!([role.0, role.1]);
        world
            .ask("authorization.addRoleRestrictions", &params)
            .await
            .unwrap();
    }
    for _ in 0..questions {
        let (action, params) = question(&mut dice, &model);
        let ours = world.may(action, params.clone()).await;
        let expected = model.answer(action, &params);
        assert_eq!(ours, expected, "seed {seed}: {action} {params}\n{model:#?}");
    }
}

/// The monolith's judge: lets into rooms that say so, and whoever has the token.
fn start_judge(world: &World) {
    let mut inbox = world.bus.announce(Service {
        name: "authorization-livechat",
        actions: vec!["authorization-livechat.canAccessRoom"],
        events: vec![],
    });
    tokio::spawn(async move {
        loop {
            if let Incoming::Request(request) = inbox.recv().await {
                let params: Value = serde_json::from_slice(&request.params).unwrap();
                let verdict = judge(&params[0], &params[2]);
                request.respond(Ok(Some(verdict.to_string().into())));
            }
        }
    });
}

fn judge(room: &Value, extra: &Value) -> bool {
    room["own"] == "yes" || extra["token"] == "t1"
}

/// A workspace as lists of documents.
#[derive(Debug)]
struct Model {
    users: Vec<Value>,
    rooms: Vec<Value>,
    subscriptions: Vec<Value>,
    permissions: Vec<Value>,
    roles: Vec<Value>,
    teams: Vec<Value>,
    members: Vec<Value>,
    settings: Vec<Value>,
    restricted: Vec<(&'static str, Vec<&'static str>)>,
}

impl Model {
    fn draw(dice: &mut Dice) -> Self {
        let users = USERS[..4].iter().map(|id| {
            let roles = match dice.roll(6) {
                0 => json!(null),
                1 => json!("admin"),
                _ => json!(dice.some(&ROLES)),
            };
            json!({ "_id": id, "username": id, "roles": roles })
        });
        let users = users.collect();
        let rooms = ROOMS[..8].iter().map(|id| {
            let mut room =
                json!({ "_id": id, "t": *dice.pick(&["c", "c", "p", "p", "d", "l", "v", "x"]) });
            let odd = [
                json!(7),
                json!({ "a": 1 }),
                json!(false),
                json!(""),
                json!(null),
            ];
            match dice.roll(5) {
                0 => room["teamId"] = json!(*dice.pick(&["open", "closed", "no-team"])),
                1 => room["teamId"] = dice.pick(&odd).clone(),
                _ => {}
            }
            match dice.roll(4) {
                0 | 1 => room["prid"] = json!(*dice.pick(&ROOMS)),
                2 => room["prid"] = dice.pick(&odd).clone(),
                _ => {}
            }
            if dice.roll(2) == 0 {
                room["own"] = json!(*dice.pick(&["yes", "no"]));
            }
            room
        });
        let rooms = rooms.collect();
        let mut subscriptions = Vec::new();
        for room in ROOMS {
            for user in USERS {
                if dice.roll(3) > 0 {
                    continue;
                }
                let mut subscription =
                    json!({ "rid": room, "u": { "_id": user }, "roles": dice.some(&ROLES) });
                match dice.roll(6) {
                    0 => subscription["status"] = json!(*dice.pick(&["INVITED", "BANNED", "NEXT"])),
                    1 => subscription["status"] = json!(null),
                    2 => subscription["invited"] = json!(true),
                    _ => {}
                }
                subscriptions.push(subscription);
            }
        }
        let permissions = PERMISSIONS[..8].iter().map(|id| {
            let roles = dice.some(&ROLES);
            json!({ "_id": id, "roles": roles })
        });
        let permissions = permissions.collect();
        let roles = ROLES.iter().map(|id| {
            let scope = dice
                .pick(&[
                    json!("Users"),
                    json!("Subscriptions"),
                    json!(7),
                    json!(null),
                ])
                .clone();
            json!({ "_id": id, "name": id, "scope": scope })
        });
        let roles = roles.collect();
        let members = ["open", "closed", "no-team"].into_iter().flat_map(|team| {
            let users = dice.some(&USERS);
            users
                .into_iter()
                .map(move |user| json!({ "teamId": team, "userId": user }))
        });
        let members = members.collect();
        let anonymous = dice
            .pick(&[json!(true), json!(false), json!("true")])
            .clone();
        Self {
            users,
            rooms,
            subscriptions,
            permissions,
            roles: dice.some::<Value>(&Vec::from_iter::<Vec<Value>>(roles)),
            teams: vec![
                json!({ "_id": "open", "type": 0 }),
                json!({ "_id": "closed", "type": 1 }),
            ],
            members,
            settings: vec![json!({ "_id": "Accounts_AllowAnonymousRead", "value": anonymous })],
            restricted: match dice.roll(3) {
                0 => vec![("guest", dice.some(&PERMISSIONS))],
                _ => vec![],
            },
        }
    }

    fn documents(&self) -> Vec<(&'static str, Document)> {
        let lists = [
            ("user", &self.users),
            ("room", &self.rooms),
            ("subscription", &self.subscriptions),
            ("role", &self.roles),
            ("team", &self.teams),
            ("member", &self.members),
            ("setting", &self.settings),
            ("permission", &self.permissions),
        ];
        let document = |value: &Value| match ejson::from_text(&value.to_string()).unwrap() {
            Bson::Document(document) => document,
            other => panic!("{other}"),
        };
        lists
            .into_iter()
            .flat_map(|(name, list)| list.iter().map(move |value| (name, document(value))))
            .collect()
    }

    fn answer(&self, action: &str, params: &Value) -> Result<bool, String> {
        let user = params[0]["_id"].as_str().or(params[0].as_str());
        match action {
            "hasPermission" | "hasAllPermission" | "hasAtLeastOnePermission" => {
                let Some(user) = user else { return Ok(false) };
                let mut roles = match params[0]["roles"].as_array() {
                    Some(roles) => texts(roles),
                    None => self.own_roles(user),
                };
                if let Some(room) = params[2].as_str() {
                    roles.extend(self.roles_in(room, user));
                }
                let has = |permission: &Value| self.has(&roles, permission.as_str().unwrap());
                Ok(match (action, params[1].as_array()) {
                    ("hasAllPermission", Some(list)) => list.iter().all(has),
                    (_, Some(list)) => list.iter().any(has),
                    (_, None) => has(&params[1]),
                })
            }
            "hasAnyRole" => {
                let Some(user) = user else { return Ok(false) };
                Ok(texts(params[1].as_array().unwrap()).iter().any(|wanted| {
                    self.roles
                        .iter()
                        .filter(|role| role["_id"] == *wanted)
                        .any(|role| match (role["scope"].as_str(), params[2].as_str()) {
                            (Some("Subscriptions"), None) => false,
                            (Some("Subscriptions"), Some(room)) => {
                                self.roles_in(room, user).contains(wanted)
                            }
                            _ => self.own_roles(user).contains(wanted),
                        })
                }))
            }
            "canAccessRoom" => self.access_described(params),
            "canReadRoom" => {
                if !self.access_described(params)? {
                    return Ok(false);
                }
                let room = self.described(&params[0]);
                let (Some(room), Some(user)) = (room, params[1]["_id"].as_str()) else {
                    return Ok(true);
                };
                Ok(room["t"] != "c"
                    || self.has(&self.own_roles(user), "preview-c-room")
                    || self.is_member(room["_id"].as_str().unwrap(), user, false))
            }
            "canAccessRoomId" => self.access_id(&params[0], params[1].as_str()),
            "canAccessRoomIds" => {
                let (ids, user) = (params[0].as_array().unwrap(), params[1].as_str());
                if ids.is_empty() || user.is_none() || ids.iter().any(|id| self.room(id).is_none())
                {
                    return Ok(false);
                }
                for id in ids {
                    if !self.access_id(id, user)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            "canAccessConference" => {
                let Some(user) = params[1].as_str() else {
                    return Ok(false);
                };
                let call = &params[0];
                if call["users"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .any(|member| member["_id"] == user)
                {
                    return Ok(true);
                }
                Ok(self.access_id(&call["rid"], Some(user))?
                    || self.access_id(&call["discussionRid"], Some(user))?)
            }
            other => panic!("no such action: {other}"),
        }
    }

    fn access_described(&self, params: &Value) -> Result<bool, String> {
        let user = params[1]["_id"].as_str();
        let is_bare = params[1].as_object().is_some_and(|user| user.len() == 1);
        if let Some(user) = user.filter(|_| is_bare)
            && !self.users.iter().any(|known| known["_id"] == user)
        {
            return Err("User not found".to_owned());
        }
        Ok(self.access(self.described(&params[0]), user, &params[2], 0))
    }

    /// A room without a type is judged as the stored one.
    fn described<'a>(&'a self, room: &'a Value) -> Option<&'a Value> {
        match room {
            Value::Null => None,
            room if room["t"].is_null() => self.room(&room["_id"]),
            room => Some(room),
        }
    }

    fn access_id(&self, id: &Value, user: Option<&str>) -> Result<bool, String> {
        let Some(room) = self.room(id) else {
            return Ok(false);
        };
        if let Some(user) = user
            && !self.users.iter().any(|known| known["_id"] == user)
        {
            return Err("User not found".to_owned());
        }
        Ok(self.access(Some(room), user, &Value::Null, 0))
    }

    fn access(&self, room: Option<&Value>, user: Option<&str>, extra: &Value, depth: u32) -> bool {
        if let Some(room) = room {
            if self.is_open(room, user) || self.is_joined(room, user, extra) {
                return true;
            }
            let parent = room["prid"].as_str().and_then(|_| self.room(&room["prid"]));
            if depth < 8 && parent.is_some() && self.access(parent, user, &Value::Null, depth + 1) {
                return true;
            }
            if room["t"] != "l" && room["t"] != "v" {
                return false;
            }
        }
        let given = room
            .map(|room| &room["_id"])
            .filter(|id| id.as_str().is_some_and(|id| !id.is_empty()));
        let Some(stored) = self.room(given.unwrap_or_else(|| &extra["rid"])) else {
            return false;
        };
        (stored["t"] == "l" || stored["t"] == "v") && judge(stored, extra)
    }

    fn is_open(&self, room: &Value, user: Option<&str>) -> bool {
        if room["t"] != "c" {
            return false;
        }
        let by_right = match user {
            Some(user) => self.has(&self.own_roles(user), "view-c-room"),
            None => self.settings[0]["value"] == true,
        };
        match &room["teamId"] {
            Value::Null => by_right,
            Value::String(none) if none.is_empty() => by_right,
            Value::String(team)
                if self
                    .teams
                    .iter()
                    .any(|known| known["_id"] == *team && known["type"] == 0) =>
            {
                by_right
            }
            Value::String(team) => user.is_some_and(|user| {
                self.members
                    .iter()
                    .any(|member| member["teamId"] == *team && member["userId"] == user)
            }),
            _ => false,
        }
    }

    fn is_joined(&self, room: &Value, user: Option<&str>, extra: &Value) -> bool {
        let (Some(id), Some(user)) = (room["_id"].as_str(), user) else {
            return false;
        };
        let roles = self.own_roles(user);
        let by_type = format!("view-{}-room", room["t"].as_str().unwrap());
        self.is_member(id, user, extra["includeInvitations"] == true)
            && (self.has(&roles, "view-joined-room") || self.has(&roles, &by_type))
    }

    fn is_member(&self, room: &str, user: &str, or_invited: bool) -> bool {
        self.subscriptions.iter().any(|subscription| {
            let is_invited = match subscription.get("status") {
                Some(status) => status == "INVITED",
                None => subscription.get("invited").is_some(),
            };
            let is_plain =
                subscription.get("status").is_none() && subscription.get("invited").is_none();
            subscription["rid"] == room
                && subscription["u"]["_id"] == user
                && (is_plain || or_invited && is_invited)
        })
    }

    fn own_roles(&self, user: &str) -> Vec<String> {
        let user = self.users.iter().find(|known| known["_id"] == user);
        user.and_then(|user| user["roles"].as_array())
            .map(|roles| texts(roles))
            .unwrap_or_default()
    }

    fn roles_in(&self, room: &str, user: &str) -> Vec<String> {
        if !self.is_member(room, user, false) {
            return Vec::new();
        }
        let of =
            |subscription: &&Value| subscription["rid"] == room && subscription["u"]["_id"] == user;
        let subscription = self.subscriptions.iter().find(of).unwrap();
        texts(subscription["roles"].as_array().unwrap())
    }

    fn has(&self, roles: &[String], permission: &str) -> bool {
        for (role, allowed) in &self.restricted {
            let concerns = roles.iter().any(|held| held == role) && !allowed.is_empty();
            if concerns && !allowed.contains(&permission) {
                return false;
            }
        }
        self.permissions.iter().any(|known| {
            known["_id"] == permission
                && texts(known["roles"].as_array().unwrap())
                    .iter()
                    .any(|role| roles.contains(role))
        })
    }

    fn room(&self, id: &Value) -> Option<&Value> {
        self.rooms.iter().find(|room| room["_id"] == *id)
    }
}

fn texts(list: &[Value]) -> Vec<String> {
    list.iter()
        .map(|text| text.as_str().unwrap().to_owned())
        .collect()
}

fn question(dice: &mut Dice, model: &Model) -> (&'static str, Value) {
    let user = |dice: &mut Dice| match dice.roll(8) {
        0 => json!(null),
        1 => json!(""),
        _ => json!(*dice.pick(&USERS)),
    };
    let with_roles = |dice: &mut Dice| match dice.roll(3) {
        0 => json!({ "_id": *dice.pick(&USERS), "roles": dice.some(&ROLES) }),
        1 => json!({ "_id": *dice.pick(&USERS) }),
        _ => user(dice),
    };
    let scope = |dice: &mut Dice| match dice.roll(2) {
        0 => json!(null),
        _ => json!(*dice.pick(&ROOMS)),
    };
    match dice.roll(9) {
        0 => (
            "hasPermission",
            json!([with_roles(dice), *dice.pick(&PERMISSIONS), scope(dice)]),
        ),
        1 => (
            "hasAllPermission",
            json!([with_roles(dice), dice.some(&PERMISSIONS), scope(dice)]),
        ),
        2 => (
            "hasAtLeastOnePermission",
            json!([with_roles(dice), dice.some(&PERMISSIONS), scope(dice)]),
        ),
        3 => {
            let mut user = user(dice);
            if user == "" {
                user = json!(null);
            }
            ("hasAnyRole", json!([user, dice.some(&ROLES), scope(dice)]))
        }
        4 => (
            "canAccessRoomId",
            json!([*dice.pick(&ROOMS), user_or_none(dice)]),
        ),
        5 => {
            let count = dice.roll(4);
            let rooms: Vec<_> = (0..count).map(|_| *dice.pick(&ROOMS)).collect();
            ("canAccessRoomIds", json!([rooms, user_or_none(dice)]))
        }
        6 => {
            let users = dice
                .some(&USERS[..2])
                .into_iter()
                .map(|id| json!({ "_id": id }));
            let users: Vec<_> = users.collect();
            let call =
                json!({ "rid": *dice.pick(&ROOMS), "discussionRid": scope(dice), "users": users });
            ("canAccessConference", json!([call, user_or_none(dice)]))
        }
        asked => {
            let room = match dice.roll(5) {
                0 => json!(null),
                1 => json!({ "_id": *dice.pick(&ROOMS) }),
                2 => {
                    json!({ "_id": *dice.pick(&ROOMS), "t": *dice.pick(&["c", "p", "l"]), "prid": scope(dice) })
                }
                _ => dice.pick(&model.rooms).clone(),
            };
            let user = match dice.roll(4) {
                0 => json!(null),
                1 => json!({ "_id": *dice.pick(&USERS), "username": "x" }),
                _ => json!({ "_id": *dice.pick(&USERS) }),
            };
            let extra = match dice.roll(4) {
                0 => json!({ "rid": *dice.pick(&ROOMS), "token": *dice.pick(&["t1", "t2"]) }),
                1 => json!({ "includeInvitations": true }),
                _ => json!(null),
            };
            let action = if asked == 7 {
                "canAccessRoom"
            } else {
                "canReadRoom"
            };
            (action, json!([room, user, extra]))
        }
    }
}

fn user_or_none(dice: &mut Dice) -> Value {
    match dice.roll(6) {
        0 => json!(null),
        _ => json!(*dice.pick(&USERS)),
    }
}
