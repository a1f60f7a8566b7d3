//! What the bus thread knows, in owners that stand side by side: none of them knows another one, none waits, none reads a
//! clock or judges who may do what. `handlers` brings them together.

pub(crate) mod flaps;
pub(crate) mod gaps;
pub(crate) mod grants;
pub(crate) mod holds;
pub(crate) mod hubs;
pub(crate) mod instance;
pub(crate) mod joins;
pub(crate) mod known;
pub(crate) mod lanes;
pub(crate) mod logins;
pub(crate) mod looks;
pub(crate) mod mirrors;
pub(crate) mod my_messages;
pub(crate) mod people;
pub(crate) mod post;
pub(crate) mod recent;
pub(crate) mod rejudge;
pub(crate) mod relays;
pub(crate) mod rooms;
pub(crate) mod scopes;
pub(crate) mod spending;
mod waiting;

use std::{
    cell::{Cell, RefCell},
    sync::Arc,
    time::Instant,
};

use self::{
    flaps::Flaps,
    gaps::Gaps,
    grants::Grants,
    hubs::Hubs,
    instance::Document,
    joins::Joins,
    known::Known,
    lanes::Lanes,
    logins::Logins,
    looks::Looks,
    mirrors::Mirrors,
    my_messages::MyMessages,
    people::People,
    post::Post,
    recent::Recent,
    rejudge::Rejudge,
    relays::Relays,
    rooms::Rooms,
    scopes::Scopes,
    spending::{Payer, Spending},
};
use crate::{
    place::Place,
    streams::{line::Line, watch::Status},
};

/// Everything the bus thread owns. No guard is held across an await.
pub(crate) struct State {
    pub(crate) people: RefCell<People>,
    pub(crate) grants: RefCell<Grants>,
    pub(crate) recent: RefCell<Recent>,
    pub(crate) rejudge: RefCell<Rejudge>,
    pub(crate) known: KnownFacts,
    pub(crate) rooms: RefCell<Rooms>,
    /// For those who watch, by user.
    pub(crate) flaps: RefCell<Flaps<Arc<str>, Status>>,
    /// For everybody, by user: the arguments.
    pub(crate) statuses: RefCell<Flaps<Arc<str>, String>>,
    /// Who types what, by writer and event.
    pub(crate) typing: RefCell<Flaps<(Payer, String), Typing>>,
    /// What concerns everybody's rights.
    pub(crate) everybody: RefCell<Flaps<(), ()>>,
    pub(crate) scopes: RefCell<Scopes>,
    pub(crate) my_messages: RefCell<MyMessages>,
    pub(crate) hubs: RefCell<Hubs>,
    pub(crate) joins: RefCell<Joins>,
    pub(crate) lanes: RefCell<Lanes>,
    pub(crate) logins: RefCell<Logins>,
    pub(crate) looks: RefCell<Looks>,
    pub(crate) mirrors: RefCell<Mirrors>,
    pub(crate) relays: RefCell<Relays>,
    pub(crate) spending: RefCell<Spending>,
    pub(crate) gaps: RefCell<Gaps>,
    pub(crate) line: Cell<Line>,
    pub(crate) instance: RefCell<Document>,
    pub(crate) post: RefCell<Post>,
}

/// What somebody does in a room.
pub(crate) struct Typing {
    pub(crate) event: String,
    /// The arguments of the write, each raw JSON.
    pub(crate) args: Vec<String>,
    pub(crate) writer: Place,
    pub(crate) user: Option<Arc<str>>,
}

/// Facts of the store that rules read; each is dropped by the event that changes it.
pub(crate) struct KnownFacts {
    pub(crate) rooms: RefCell<Known<Option<Arc<store::Room>>>>,
    pub(crate) users: RefCell<Known<Option<Arc<store::User>>>>,
    /// Whether it is `true`.
    pub(crate) settings: RefCell<Known<bool>>,
}

impl KnownFacts {
    /// Forgets everything: events may have been missed.
    pub(crate) fn forget_all(&self) {
        self.rooms.borrow_mut().forget_all();
        self.users.borrow_mut().forget_all();
        self.settings.borrow_mut().forget_all();
    }
}

impl State {
    pub(crate) fn new(post: Post, process: String, logins_per_second: u32, now: Instant) -> Self {
        Self {
            people: RefCell::default(),
            grants: RefCell::default(),
            recent: RefCell::new(Recent::new(now)),
            rejudge: RefCell::default(),
            known: KnownFacts {
                rooms: RefCell::new(Known::new("room")),
                users: RefCell::new(Known::new("user")),
                settings: RefCell::new(Known::new("setting")),
            },
            rooms: RefCell::default(),
            flaps: RefCell::default(),
            statuses: RefCell::default(),
            typing: RefCell::default(),
            everybody: RefCell::default(),
            scopes: RefCell::default(),
            my_messages: RefCell::default(),
            hubs: RefCell::default(),
            joins: RefCell::default(),
            lanes: RefCell::default(),
            logins: RefCell::new(Logins::new(logins_per_second)),
            looks: RefCell::default(),
            mirrors: RefCell::default(),
            relays: RefCell::new(Relays::new(process)),
            spending: RefCell::default(),
            gaps: RefCell::default(),
            line: Cell::default(),
            instance: RefCell::default(),
            post: RefCell::new(post),
        }
    }

    /// How much each owner holds that grows with what is connected, asked or told.
    pub(crate) fn entries(&self) -> [(&'static str, usize); 17] {
        [
            ("people", self.people.borrow().len()),
            ("grants", self.grants.borrow().len()),
            ("rejudge", self.rejudge.borrow().len()),
            ("known_rooms", self.known.rooms.borrow().len()),
            ("known_users", self.known.users.borrow().len()),
            ("known_settings", self.known.settings.borrow().len()),
            ("rooms", self.rooms.borrow().len()),
            ("my_messages", self.my_messages.borrow().len()),
            ("flaps", self.flaps.borrow().len()),
            ("statuses", self.statuses.borrow().len()),
            ("typing", self.typing.borrow().len()),
            ("scopes", self.scopes.borrow().len()),
            ("joins", self.joins.borrow().len()),
            ("lanes", self.lanes.borrow().len()),
            ("logins", self.logins.borrow().len()),
            ("looks", self.looks.borrow().len()),
            ("spending", self.spending.borrow().len()),
        ]
    }
}
