//! Everything at once, in random order, against what is simply true: nobody keeps what the last verdict denied, nobody
//! gets it, and nothing is left when all are gone.

use harness::Dice;
use store::Room;

use super::*;

const USERS: [&str; 4] = ["u0", "u1", "u2", "u3"];
const ROOMS: [&str; 6] = ["r0", "r1", "r2", "r3", "r4", "r5"];
const PERMISSION: &str = "view-privileged-setting";

/// What another process hears of a change before or after us: so much earlier or later, at most.
const SKEW_MS: usize = 1_500;

fn world() -> World {
    let room = |(number, id): (usize, &&str)| {
        let room = Room {
            id: (*id).into(),
            kind: if number % 3 == 0 { "c" } else { "p" }.into(),
            // Of every second room there is a discussion.
            parent: (number % 2 == 1).then(|| ROOMS[number - 1].to_owned()),
            ..Room::default()
        };
        ((*id).to_owned(), room)
    };
    World {
        rooms: ROOMS.iter().enumerate().map(room).collect(),
        tokens: USERS
            .iter()
            .map(|user| (format!("t-{user}"), (*user).to_owned()))
            .collect(),
        ..World::default()
    }
}

/// One run: what it does comes out of the seed.
struct Run {
    stage: Stage,
    dice: Dice,
    /// Changes of the world that are still to come, and events of changes that were.
    due: Vec<(std::time::Instant, Due)>,
    /// When the last change of each document was over: those of one document stay in order.
    over: HashMap<String, std::time::Instant>,
}

enum Due {
    Change(Change),
    Event(&'static str, String),
}

#[derive(Clone)]
enum Change {
    Member(String, String, bool),
    Kind(String, &'static str),
    Permission(String, bool),
    Anonymous(bool),
    Token(String, bool),
}

impl Run {
    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.dice.roll(from.len())]
    }

    fn chance(&mut self, of_hundred: usize) -> bool {
        self.dice.roll(100) < of_hundred
    }

    fn client(&mut self) -> Option<Place> {
        let clients = self
            .stage
            .clients
            .iter()
            .filter(|(_, client)| !client.closed);
        let mut open: Vec<_> = clients.map(|(place, _)| *place).collect();
        open.sort_unstable_by_key(|place| place.generation);
        if open.is_empty() {
            return None;
        }
        Some(open[self.dice.roll(open.len())])
    }

    fn step(&mut self) {
        match self.dice.roll(12) {
            0 | 1 => {
                let place = self.stage.open();
                if self.chance(80) {
                    let user = self.pick(&USERS);
                    self.stage.log_in(place, &format!("t-{user}"));
                }
            }
            2..=5 => {
                let Some(place) = self.client() else { return };
                // A session asks one thing at a time.
                if self.stage.clients[&place].calls as usize
                    > self.stage.clients[&place].answers.len()
                {
                    return;
                }
                let room = self.pick(&ROOMS);
                let user = self.stage.clients[&place].user.clone();
                let (name, params) = match self.dice.roll(5) {
                    0 | 1 => ("stream-room-messages", format!(r#"["{room}"]"#)),
                    2 => ("stream-notify-room", format!(r#"["{room}/user-activity"]"#)),
                    3 => (
                        "stream-notify-logged",
                        r#"["private-settings-changed"]"#.into(),
                    ),
                    _ => {
                        let user = user.map_or_else(|| "u0".into(), |user| user.id.clone());
                        ("stream-notify-user", format!(r#"["{user}/rooms-changed"]"#))
                    }
                };
                self.stage.subscribe(place, name, &params);
            }
            6 => {
                let Some(place) = self.client() else { return };
                let mut subs: Vec<_> = self.stage.clients[&place].live.keys().copied().collect();
                subs.sort_unstable_by_key(|sub| sub.0);
                if let Some(sub) = subs.first() {
                    self.stage.unsubscribe((place, *sub));
                }
            }
            7 => {
                if let Some(place) = self.client() {
                    self.stage.close(place);
                }
            }
            _ => self.change(),
        }
    }

    /// Something becomes true or untrue; its event comes a little earlier or later.
    fn change(&mut self) {
        let (user, room) = (self.pick(&USERS).to_owned(), self.pick(&ROOMS).to_owned());
        let on = self.chance(50);
        let (change, event, args) = match self.dice.roll(8) {
            0..=3 => {
                let status = match self.dice.roll(4) {
                    0 if !on => r#","status":"INVITED""#,
                    _ => "",
                };
                let action = match (on, status) {
                    (true, _) => "inserted",
                    (false, "") => "removed",
                    (false, _) => "updated",
                };
                let args = format!(
                    r#"[{{"clientAction":"{action}","subscription":{{"_id":"s","rid":"{room}","u":{{"_id":"{user}"}}{status}}}}}]"#
                );
                (Change::Member(room, user, on), "watch.subscriptions", args)
            }
            4 => {
                let kind = if on { "c" } else { "p" };
                let prid = self.stage.script.world.borrow().rooms[&room].parent.clone();
                let prid = prid.map_or_else(String::new, |id| format!(r#","prid":"{id}""#));
                let args = format!(
                    r#"[{{"clientAction":"updated","room":{{"_id":"{room}","t":"{kind}"{prid}}}}}]"#
                );
                (Change::Kind(room, kind), "watch.rooms", args)
            }
            5 => {
                let (event, args) = if self.chance(50) {
                    let args = format!(
                        r#"[{{"clientAction":"updated","id":"{user}","diff":{{"roles":[]}},"unset":{{}}}}]"#
                    );
                    ("watch.users", args)
                } else {
                    (
                        "permission.changed",
                        r#"[{"clientAction":"updated","data":{}}]"#.into(),
                    )
                };
                (Change::Permission(user, on), event, args)
            }
            6 => {
                let args = format!(
                    r#"[{{"clientAction":"updated","setting":{{"_id":"Accounts_AllowAnonymousRead","value":{on}}}}}]"#
                );
                (Change::Anonymous(on), "watch.settings", args)
            }
            _ => {
                let args = format!(r#"[{{"clientAction":"updated","id":"{user}"}}]"#);
                (Change::Token(user, on), "watch.users", args)
            }
        };
        let document = match &change {
            Change::Member(room, user, _) => format!("{room} {user}"),
            Change::Kind(id, _) | Change::Permission(id, _) | Change::Token(id, _) => id.clone(),
            Change::Anonymous(_) => "setting".into(),
        };
        let start = self
            .over
            .get(&document)
            .map_or_else(now, |over| now().max(*over));
        // We read tokens and memberships from the database itself, in which they stand before anybody tells of them; what
        // another process answers may be older than the event.
        let stored = matches!(change, Change::Token(..) | Change::Member(..));
        let (early, late) = if stored || self.chance(50) {
            (0, SKEW_MS)
        } else {
            (SKEW_MS, 0)
        };
        let change_at = start + Duration::from_millis(self.dice.roll(early + 1) as u64);
        let event_at = start + Duration::from_millis(self.dice.roll(late + 1) as u64);
        self.over.insert(document, change_at.max(event_at));
        self.due.push((change_at, Due::Change(change)));
        self.due.push((event_at, Due::Event(event, args)));
    }

    fn due(&mut self) {
        let now = now();
        let mut at = 0;
        while at < self.due.len() {
            if self.due[at].0 > now {
                at += 1;
                continue;
            }
            match self.due.remove(at).1 {
                Due::Change(change) => self.apply(change),
                Due::Event(name, args) => self.stage.event(name, args),
            }
        }
    }

    fn apply(&self, change: Change) {
        let mut world = self.stage.script.world.borrow_mut();
        match change {
            Change::Member(room, user, true) => drop(world.members.insert((room, user))),
            Change::Member(room, user, false) => drop(world.members.remove(&(room, user))),
            Change::Kind(room, kind) => world.set_kind(&room, kind),
            Change::Permission(user, true) => {
                world.permissions.insert((user, PERMISSION.into()));
            }
            Change::Permission(user, false) => {
                world.permissions.remove(&(user, PERMISSION.to_owned()));
            }
            Change::Anonymous(on) => {
                world
                    .settings
                    .insert("Accounts_AllowAnonymousRead".into(), on);
            }
            Change::Token(user, true) => {
                world.tokens.insert(format!("t-{user}"), user);
            }
            Change::Token(user, false) => {
                world.tokens.remove(&format!("t-{user}"));
            }
        }
    }

    async fn pass(&mut self, time: Duration) {
        let until = now() + time;
        while now() < until {
            self.due();
            self.stage.pass(Duration::from_millis(20)).await;
        }
    }

    /// What is live must be allowed by what is true, and who follows rooms follows exactly his.
    fn assert_true(&self) {
        let world = self.stage.script.world.borrow();
        for client in self.stage.clients.values().filter(|client| !client.closed) {
            let user = client.user.as_ref().map(|user| &*user.id);
            if let Some(user) = &client.user {
                assert_eq!(
                    world.tokens.get(&user.hashed_token).map(String::as_str),
                    Some(&*user.id),
                    "a login without a token"
                );
            }
            for topic in client.live.values().flatten() {
                let (id, what) = topic.stream.split(&topic.event);
                let allowed = match (topic.stream.name(), what) {
                    ("room-messages" | "notify-room", _) => world.can_access(id, user),
                    ("notify-logged", _) => user.is_some_and(|user| {
                        world
                            .permissions
                            .contains(&(user.to_owned(), PERMISSION.to_owned()))
                    }),
                    ("notify-user", _) => user == Some(id),
                    other => panic!("{other:?}"),
                };
                assert!(allowed, "{user:?} still has {topic:?}");
                if what == Some("rooms-changed") {
                    for room in ROOMS {
                        let is_member = world.members.contains(&(room.to_owned(), id.to_owned()));
                        let follows = self.stage.core.state.rooms.borrow().is_in(id, room);
                        assert_eq!(follows, is_member, "{id} in {room}");
                    }
                }
            }
        }
    }
}

async fn run(seed: u64) {
    let mut run = Run {
        stage: Stage::new(seed, world()),
        dice: Dice::new(seed ^ 0xACCE55),
        due: Vec::new(),
        over: HashMap::new(),
    };
    for _ in 0..8 {
        let slowness = [0, 20, 400, 3_000][run.dice.roll(4)];
        run.stage.script.slowness.set(slowness);
        run.stage.script.failing.set([0, 0, 100][run.dice.roll(3)]);
        for _ in 0..40 {
            run.step();
            let pause = run.dice.roll(120);
            run.pass(Duration::from_millis(pause as u64)).await;
        }
        // Everything that was asked is answered, everything that was touched judged once more, and what the store could
        // not tell swept.
        run.stage.script.slowness.set(20);
        run.stage.script.failing.set(0);
        run.pass(Duration::from_secs(10)).await;
        run.stage.pass_quietly(Duration::from_secs(65)).await;
        run.assert_true();
    }
    let places: Vec<_> = run.stage.clients.keys().copied().collect();
    for place in places {
        run.stage.close(place);
    }
    run.pass(Duration::from_secs(10)).await;
    run.stage.assert_empty();
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn nobody_keeps_what_the_last_verdict_denied() {
    let seeds = match std::env::var("DDP_EDGE_TEST_SEED") {
        Ok(seed) => vec![seed.parse().expect("a number")],
        Err(_) => (1..=24).collect(),
    };
    for seed in seeds {
        println!("DDP_EDGE_TEST_SEED={seed}");
        run(seed).await;
    }
}
