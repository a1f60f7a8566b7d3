//! Claims of 8.6 with two presence services that are killed, and a database that is frozen, when their time is up.

use std::time::{SystemTime, UNIX_EPOCH};

use harness::eventually;
use serde_json::{Value, json};

use super::{Network, Role};

const ENGINE: [(&str, &str); 1] = [("DDP_EDGE_PRESENCE_MODE", "engine")];

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap().as_millis()).unwrap()
}

/// Waits until the clock says so.
fn passes(time: u64) {
    eventually("the time of a claim", || (now() > time).then_some(()));
}

struct Claims {
    network: Network,
    user: String,
    /// Lines of the monolith that were looked at.
    heard: usize,
}

impl Claims {
    fn ask(&mut self, action: &str, params: &Value) -> Value {
        let action = format!("presence.{action}");
        let call = json!({ "cmd": "call", "action": action, "params": params });
        self.network.monolith.ask(&call)
    }

    fn takes(&mut self, action: &str, more: &Value) {
        let user = &self.user;
        let answer = self.ask(action, &json!([user, more]));
        assert_eq!(answer["result"], true, "{action} {more}: {answer}");
    }

    /// A manual status, covered by a call: what comes back is `away`, `lunch`.
    fn cover(&mut self, expires: &Value) {
        let params = json!([self.user, "away", "lunch"]);
        assert_eq!(self.ask("setStatus", &params)["result"], true);
        let call = json!({
            "statusDefault": "busy", "statusSource": "internal", "statusText": "on a call", "statusId": "c1",
            "statusExpiresAt": expires,
        });
        self.takes("setActiveState", &call);
    }

    /// What stands in the database of the user's status, but for the time of its change.
    fn stored(&mut self) -> Value {
        let user = self.network.find("users", json!({ "_id": self.user }));
        let fields = user.as_object().unwrap().iter();
        let fields = fields.filter(|(name, _)| {
            (name.starts_with("status") && *name != "statusLivechat") || *name == "previousState"
        });
        Value::Object(
            fields
                .map(|(name, is)| (name.clone(), is.clone()))
                .collect(),
        )
    }

    fn becomes(&mut self, wanted: &Value) {
        eventually(&format!("{wanted}"), || {
            (self.stored() == *wanted).then_some(())
        });
    }

    /// How often something was told of the user since the last look, up to this text.
    fn told_until(&mut self, text: &str) -> usize {
        let user = self.user.clone();
        eventually(&format!("{text} told"), || {
            let ask = json!({ "cmd": "received", "from": self.heard });
            let lines = self.network.monolith.ask(&ask)["received"].take();
            let lines = lines.as_array().unwrap();
            let told = lines.iter().filter(|line| {
                line["event"] == "presence.status" && line["args"][0]["user"]["_id"] == *user
            });
            let told: Vec<_> = told.map(|line| &line["args"][0]["user"]).collect();
            let is_over = told.last()?["statusText"] == text;
            is_over.then(|| {
                self.heard += lines.len();
                told.len()
            })
        })
    }

    fn write(&mut self, user: &str, update: Value) {
        let write = json!({ "cmd": "write", "collection": "users", "filter": { "_id": user }, "update": update });
        self.network.monolith.ask(&write);
    }

    fn expires_at(&mut self, time: u64) {
        let user = self.user.clone();
        self.write(
            &user,
            json!({ "$set": { "statusExpiresAt": { "$date": time } } }),
        );
    }

    /// Two services that start together.
    fn serve(&mut self) -> [Role; 2] {
        let mut roles = [(); 2].map(|()| self.network.starting_with("presence", &ENGINE));
        for role in &mut roles {
            role.edge.wait_for_ok(role.port, "/readyz");
        }
        self.network.wait_for("presence", 2);
        roles
    }
}

#[test]
fn a_claim_ends_once_whatever_happens_when_its_time_is_up() {
    let network = Network::start();
    let mut it = Claims {
        network,
        user: "claimant".to_owned(),
        heard: 0,
    };
    let bot =
        json!({ "$set": { "username": "claimant", "name": "C", "type": "bot", "roles": ["bot"] } });
    it.write("claimant", bot);
    let hour = || now() + 3_600_000;
    let date = |time: u64| json!({ "$date": time });
    // The end of a claim shows nobody without a connection, not even a bot (services.md 4.6).
    let restored = json!({
        "status": "offline", "statusConnection": "offline", "statusDefault": "away", "statusText": "lunch",
        "statusSource": "manual",
    });
    let cleared = json!({ "status": "offline", "statusConnection": "offline", "statusDefault": "online", "statusText": "" });
    let [first, second] = it.serve();

    // E11.
    for expiry in [json!({ "$date": 1_000 }), json!("2040-01-01"), json!(9e15)] {
        let state = json!({ "statusDefault": "busy", "statusSource": "internal", "statusExpiresAt": expiry });
        let user = it.user.clone();
        let refused = it.ask("setActiveState", &json!([user, state]));
        assert_eq!(
            refused["error"], "statusExpiresAt must be a future date",
            "{state}"
        );
    }
    // E12.
    let later = hour();
    let params = json!([it.user, "away", "short", date(later)]);
    assert_eq!(it.ask("setStatus", &params)["result"], true);
    let call = json!({ "statusDefault": "busy", "statusSource": "internal", "statusId": "c1" });
    it.takes("setActiveState", &call);
    assert_eq!(it.stored()["previousState"]["statusExpiresAt"], date(later));
    let user = it.user.clone();
    it.write(
        &user,
        json!({ "$set": { "previousState.statusExpiresAt": date(1_000) } }),
    );
    it.takes("endActiveState", &json!("c1"));
    assert_eq!(it.stored(), cleared);
    it.told_until("");

    // Nobody is there when the time comes; both of those who come then find it.
    it.cover(&date(hour()));
    assert_eq!(it.told_until("on a call"), 2);
    for mut role in [first, second] {
        role.edge.kill9();
    }
    it.network.wait_for("presence", 0);
    it.expires_at(1_000);
    let [first, second] = it.serve();
    it.becomes(&restored);
    assert_eq!(it.told_until("lunch"), 1);

    // The database stands still when the time comes.
    let soon = now() + 3_000;
    it.cover(&date(soon));
    assert_eq!(it.told_until("on a call"), 2);
    it.network.mongo.freeze();
    passes(soon + 500);
    it.network.mongo.thaw();
    it.becomes(&restored);
    assert_eq!(it.told_until("lunch"), 1);

    // Another process has moved it to later: it waits.
    let soon = now() + 3_000;
    it.cover(&date(soon));
    let later = hour();
    it.expires_at(later);
    let bob = it.network.find("users", json!({ "username": "bob" }))["_id"].take();
    let behind = json!([bob, "busy", "bob's", date(soon + 100)]);
    assert_eq!(it.ask("setStatus", &behind)["result"], true);
    eventually("the end of a later claim", || {
        let bob = it.network.find("users", json!({ "username": "bob" }));
        (bob["statusText"] == "").then_some(())
    });
    assert_eq!(it.stored()["statusExpiresAt"], date(later));
    assert_eq!(it.stored()["previousState"]["statusText"], "lunch");
    assert_eq!(it.told_until("on a call"), 2);

    // To earlier, and died before it could say so.
    it.expires_at(1_000);
    let mut first = first;
    first.edge.kill9();
    it.becomes(&restored);
    assert_eq!(it.told_until("lunch"), 1);
    drop((first, second));
}
