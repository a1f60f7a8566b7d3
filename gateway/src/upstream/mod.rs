//! The one door out of the gateway: calls and broadcasts on the bus, reads of the store. Nothing else in this crate names
//! `Bus` and `Store` to ask them something.
//!
//! Under test the far side is a script (`upstream/script.rs`), as `Io::Memory` is a socket.

pub(crate) mod documents;
mod error;
pub(crate) mod flights;
#[cfg(test)]
pub(crate) mod script;
mod traffic;

use std::{sync::Arc, time::Duration};

use backplane::{Bus, CallOptions, Complaints};
use bytes::Bytes;
use protocol::ddp::encode::quoted;
use store::{Conference, Instance, Room, StatusOwner, Store, User, bson::Bson};
use tokio::runtime;

pub(crate) use self::error::CallError;
use self::traffic::Traffic;
use crate::{metrics, readiness::Readiness};

/// The name of our service on the bus, the original's.
pub(crate) const SERVICE: &str = "streamer";

/// The service by which a monolith is known.
pub(crate) const MONOLITH: &str = "meteor";

/// Longest wait for a verdict; a client would not wait longer for its subscription.
const VERDICT_WITHIN: Duration = Duration::from_secs(10);

/// Something cannot be found out now: store or service away, or an answer that makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unknown;

/// Everybody behind this gateway.
pub(crate) struct Upstream {
    far: Far,
    /// What clients call, and what we ask ourselves: large or slow calls of clients must not stand in the way of verdicts,
    /// logins and presence.
    clients: Traffic,
    own: Traffic,
    complaints: Complaints,
}

enum Far {
    Real(Real),
    #[cfg(test)]
    Script(std::rc::Rc<script::Script>),
}

struct Real {
    bus: Bus,
    store: Store,
    /// The runtime that owns the store's connections.
    work: runtime::Handle,
    readiness: Readiness,
}

/// Reads the store, or the script.
macro_rules! read {
    ($self:ident, $store:ident => $real:expr, $world:ident => $scripted:expr) => {
        match &$self.far {
            Far::Real(real) => {
                $self
                    .read(real, move |$store| async move { $real.await })
                    .await
            }
            #[cfg(test)]
            Far::Script(script) => script.read(|$world| $scripted).await,
        }
    };
}

impl Upstream {
    pub(crate) fn new(bus: Bus, store: Store, work: runtime::Handle, readiness: Readiness) -> Self {
        Self::of(Far::Real(Real {
            bus,
            store,
            work,
            readiness,
        }))
    }

    #[cfg(test)]
    pub(crate) fn scripted(script: std::rc::Rc<script::Script>) -> Self {
        Self::of(Far::Script(script))
    }

    fn of(far: Far) -> Self {
        Self {
            far,
            clients: Traffic::default(),
            own: Traffic::default(),
            complaints: Complaints::default(),
        }
    }

    /// The name of our node.
    pub(crate) fn node_id(&self) -> &str {
        match &self.far {
            Far::Real(real) => real.bus.node_id(),
            #[cfg(test)]
            Far::Script(_) => "node",
        }
    }

    /// Whether somebody offers this action now.
    pub(crate) fn offers(&self, action: &str) -> bool {
        match &self.far {
            Far::Real(real) => real.bus.has_action(action),
            #[cfg(test)]
            Far::Script(script) => script.offers(action),
        }
    }

    /// The nodes that are monoliths.
    pub(crate) fn monoliths(&self) -> Vec<Arc<str>> {
        match &self.far {
            Far::Real(real) => real.bus.nodes_with(MONOLITH),
            #[cfg(test)]
            Far::Script(script) => script.monoliths.borrow().clone(),
        }
    }

    /// Tells everybody who listens.
    pub(crate) fn broadcast(&self, event: &str, args: &str) {
        match &self.far {
            Far::Real(real) => real.bus.broadcast(event, args),
            #[cfg(test)]
            Far::Script(script) => script.broadcast(event, args),
        }
    }

    /// Tells everybody but ourselves, who know what we say.
    pub(crate) fn relay(&self, event: &str, args: &str) {
        match &self.far {
            Far::Real(real) => real.bus.relay(event, args, SERVICE),
            #[cfg(test)]
            Far::Script(script) => script.broadcast(event, args),
        }
    }

    /// Tells one node of each service that listens.
    pub(crate) fn emit(&self, event: &str, args: &str) {
        match &self.far {
            Far::Real(real) => real.bus.emit(event, args),
            #[cfg(test)]
            Far::Script(script) => script.broadcast(event, args),
        }
    }

    /// Calls an action with a raw JSON array.
    ///
    /// # Errors
    /// What the bus says, and [`CallError::TooMuch`] while too many calls, or too large ones, are under way.
    pub(crate) async fn call(
        &self,
        action: &str,
        params: &str,
    ) -> Result<Option<Bytes>, CallError> {
        self.call_within(&self.own, action, params, None).await
    }

    /// As [`Self::call`], with what a client has sent.
    pub(crate) async fn call_for_client(
        &self,
        action: &str,
        params: &str,
    ) -> Result<Option<Bytes>, CallError> {
        self.call_within(&self.clients, action, params, None).await
    }

    async fn call_within(
        &self,
        traffic: &Traffic,
        action: &str,
        params: &str,
        timeout: Option<Duration>,
    ) -> Result<Option<Bytes>, CallError> {
        let Some(_under_way) = traffic.enter(params.len()) else {
            metrics::call_refused();
            return Err(CallError::TooMuch);
        };
        let outcome = match &self.far {
            Far::Real(real) => {
                let options = CallOptions {
                    timeout,
                    ..CallOptions::default()
                };
                real.bus.call(action, params, options).await
            }
            #[cfg(test)]
            Far::Script(script) => script.call(action, params).await,
        };
        outcome.map_err(CallError::Failed)
    }

    /// Calls an action that answers yes or no.
    ///
    /// # Errors
    /// Where it cannot be known.
    pub(crate) async fn ask_bool(&self, action: &str, params: &str) -> Result<bool, Unknown> {
        match self
            .call_within(&self.own, action, params, Some(VERDICT_WITHIN))
            .await
        {
            Ok(Some(answer)) if *answer == *b"true" => Ok(true),
            Ok(Some(answer)) if *answer == *b"false" => Ok(false),
            // JavaScript's undefined and null are falsy, anything else is not an answer to this question.
            Ok(None) => Ok(false),
            Ok(Some(answer)) if *answer == *b"null" => Ok(false),
            Ok(Some(_)) => {
                self.complaints
                    .warn("answered neither true nor false", &action);
                Err(Unknown)
            }
            Err(error) => {
                self.complain("a verdict cannot be had", &error);
                Err(Unknown)
            }
        }
    }

    /// Calls an action whose answer is a value.
    ///
    /// # Errors
    /// Where it cannot be had.
    pub(crate) async fn ask(&self, action: &str, params: &str) -> Result<String, Unknown> {
        let within = Some(VERDICT_WITHIN);
        match self.call_within(&self.own, action, params, within).await {
            Ok(Some(answer)) => String::from_utf8(answer.into()).map_err(|_| Unknown),
            Ok(None) => Err(Unknown),
            Err(error) => {
                self.complain("an answer cannot be had", &error);
                Err(Unknown)
            }
        }
    }

    /// One line in the log, once a second at most for each `what`.
    pub(crate) fn complain(&self, what: &'static str, error: &CallError) {
        match error {
            CallError::TooMuch => self.complaints.warn(what, &"too many calls are under way"),
            CallError::Failed(error) => self.complaints.warn(what, error),
        }
    }

    /// A room as rules need it.
    pub(crate) async fn room(&self, id: &str) -> Result<Option<Room>, Unknown> {
        let id = id.to_owned();
        read!(self, store => store.room(&id), world => world.room(&id))
    }

    /// A conference as rules need it.
    pub(crate) async fn conference(&self, id: &str) -> Result<Option<Conference>, Unknown> {
        let id = id.to_owned();
        read!(self, store => store.conference(&id), world => world.conferences.get(&id).cloned())
    }

    /// A room as clients get it, raw JSON.
    pub(crate) async fn room_document(&self, id: &str) -> Result<Option<String>, Unknown> {
        let id = id.to_owned();
        read!(self, store => store.room_document(&id), world => world.room_document(&id))
    }

    /// The rooms in which a user is.
    pub(crate) async fn rooms_of_user(&self, user: &str) -> Result<Vec<String>, Unknown> {
        let user = user.to_owned();
        read!(self, store => store.rooms_of_user(&user), world => world.rooms_of_user(&user))
    }

    /// Everybody in a room, if this user is: so many at most.
    pub(crate) async fn members_for(
        &self,
        room: &str,
        user: &str,
        limit: u32,
    ) -> Result<Vec<String>, Unknown> {
        let (room, user) = (room.to_owned(), user.to_owned());
        read!(
            self,
            store => async {
                match store.subscription(&room, &user).await? {
                    Some(_) => store.some_members(&room, limit).await,
                    None => Ok(Vec::new()),
                }
            },
            world => world.members_for(&room, &user, limit as usize)
        )
    }

    /// A user as rules need him.
    pub(crate) async fn user(&self, id: &str) -> Result<Option<User>, Unknown> {
        let id = id.to_owned();
        read!(self, store => store.user(&id), world => world.user(&id))
    }

    /// These users as each of them gets himself after a login, raw JSON, in their order.
    pub(crate) async fn user_documents(
        &self,
        ids: Vec<String>,
    ) -> Result<Vec<Option<String>>, Unknown> {
        read!(self, store => store.user_documents(&ids), world => world.user_documents(&ids))
    }

    /// Which of these (user, token hash) are still logged in.
    pub(crate) async fn has_login_token(
        &self,
        logins: &[Arc<crate::link::User>],
    ) -> Result<Vec<bool>, Unknown> {
        let logins = logins.to_vec();
        read!(
            self,
            store => async {
                let pairs = logins.iter().map(|login| (&*login.id, &*login.hashed_token));
                store.has_login_token(&pairs.collect::<Vec<_>>()).await
            },
            world => world.has_login_token(&logins)
        )
    }

    /// Users as `presence.status` tells of them, with what is stored: an argument list each. Who does not exist is left
    /// out.
    pub(crate) async fn presence_of(&self, users: Vec<String>) -> Result<Vec<String>, Unknown> {
        read!(
            self,
            store => async {
                let owners = store.status_owners(&users).await?;
                Ok(owners.iter().map(presence_args).collect())
            },
            world => world.presence_of(&users)
        )
    }

    /// The value of a setting.
    pub(crate) async fn setting(&self, id: &str) -> Result<Option<Bson>, Unknown> {
        let id = id.to_owned();
        read!(self, store => store.setting(&id), world => world.setting(&id))
    }

    /// The version of the monolith, as it has told the store.
    pub(crate) async fn server_version(&self) -> Result<Option<String>, Unknown> {
        read!(self, store => store.server_version(), world => world.version.clone())
    }

    /// Whether the store answers.
    pub(crate) async fn ping(&self) -> Result<(), Unknown> {
        read!(self, store => store.ping(), _world => ())
    }

    /// Makes this process known in `instances`.
    pub(crate) async fn register_instance(&self, instance: &Instance) -> Result<(), Unknown> {
        let instance = instance.clone();
        read!(self, store => store.register_instance(&instance), _world => ())
    }

    /// Says that this process lives; `false` if it must register again.
    pub(crate) async fn instance_ping(&self, id: &str) -> Result<bool, Unknown> {
        let id = id.to_owned();
        read!(self, store => store.instance_ping(&id), _world => true)
    }

    /// Says how many sockets it has.
    pub(crate) async fn instance_connections(
        &self,
        id: &str,
        sockets: u32,
    ) -> Result<bool, Unknown> {
        let id = id.to_owned();
        read!(self, store => store.instance_connections(&id, sockets), _world => true)
    }

    /// Takes its document back.
    pub(crate) async fn remove_instance(&self, id: &str) -> Result<bool, Unknown> {
        let id = id.to_owned();
        read!(self, store => store.remove_instance(&id), _world => true)
    }

    /// Asks the store on the `work` runtime; the question goes on there even if nobody waits any more, because drivers
    /// do not like to be interrupted.
    async fn read<T, F>(&self, real: &Real, question: impl FnOnce(Store) -> F) -> Result<T, Unknown>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, store::Error>> + Send + 'static,
    {
        match real.work.spawn(question(real.store.clone())).await {
            Ok(Ok(answer)) => {
                real.readiness.store_answered();
                Ok(answer)
            }
            Ok(Err(error)) => {
                self.complaints.warn("the store did not answer", &error);
                Err(Unknown)
            }
            Err(_) => Err(Unknown),
        }
    }
}

/// A user as stored, in the form of `presence.status`.
fn presence_args(owner: &StatusOwner) -> String {
    let claim = &owner.status.claim;
    let shown = owner.status.shown.as_deref().unwrap_or("offline");
    let mut user = format!(
        "{{\"_id\":{},\"status\":{}",
        quoted(&owner.id),
        quoted(shown)
    );
    let texts = [
        ("username", &owner.username),
        ("statusText", &claim.text),
        ("statusSource", &claim.source),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            user.push_str(&format!(",\"{name}\":{}", quoted(text)));
        }
    }
    if let Some(expires) = claim.expires {
        user.push_str(&format!(",\"statusExpiresAt\":{{\"$date\":{expires}}}"));
    }
    format!("[{{\"user\":{user}}}}}]")
}

#[cfg(test)]
mod tests {
    use backplane::{Incoming, Service};

    use super::*;

    #[tokio::test]
    async fn a_relay_of_ours_reaches_our_neighbours_and_never_ourselves() {
        let bus = Bus::in_process("node".into());
        let announce = |name| {
            bus.announce(Service {
                name,
                actions: Vec::new(),
                events: vec!["stream"],
            })
        };
        let (mut ours, mut theirs) = (announce(SERVICE), announce("hub"));
        let store = Store::embedded(None).unwrap();
        let work = runtime::Handle::current();
        let upstream = Upstream::new(bus.clone(), store, work, Readiness::default());
        upstream.relay("stream", r#"[["notify-all","x",[]]]"#);
        // Behind it, and for everybody: what came before has been delivered.
        bus.broadcast("stream", "[1]");
        let heard = async |inbox: &mut backplane::Inbox| {
            let mut heard = Vec::new();
            while heard.last().is_none_or(|last| last != "[1]") {
                let mut batch = Vec::new();
                inbox.recv_batch(&mut batch).await;
                heard.extend(batch.into_iter().filter_map(|incoming| match incoming {
                    Incoming::Event(event) => Some(event.args.to_string()),
                    _ => None,
                }));
            }
            heard.len()
        };
        assert_eq!(heard(&mut theirs).await, 2);
        assert_eq!(heard(&mut ours).await, 1);
    }
}
