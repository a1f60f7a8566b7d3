//! A new client: from its socket to a session in the shard's slab.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use protocol::{close::CloseReason, outbox::Outbox, session::Session, sockjs::Framing};

use super::{
    Shard,
    entry::{Entry, Phase, Queued, Transport},
    now,
};
use crate::{
    admission::Seat,
    io::Io,
    link::{Connection, ToBus},
    metrics,
    place::Place,
};

/// What HTTP has found out about a client by the end of its handshake.
pub(crate) struct Arrival {
    pub(crate) framing: Framing,
    pub(crate) address: Option<std::net::IpAddr>,
    pub(crate) source: std::net::IpAddr,
    /// Raw JSON object.
    pub(crate) headers: String,
    #[cfg(feature = "echo")]
    pub(crate) echo: bool,
}

impl Shard {
    /// Opens a session on a socket whose handshake is done; `leftover` came behind the request.
    pub(crate) fn open(self: &Rc<Self>, io: Io, leftover: Bytes, arrival: Arrival, seat: Seat) {
        let now = now();
        let generation = self.generation.get().wrapping_add(1);
        self.generation.set(generation);
        let mut entries = self.entries.borrow_mut();
        let place = entries.vacant_entry();
        let connection = Arc::new(Connection {
            id: uuid::Uuid::new_v4().to_string(),
            instance: self.shared.instance.clone(),
            address: arrival.address,
            source: arrival.source,
            headers: self.intern(arrival.headers),
            place: Place {
                shard: self.index,
                slot: u32::try_from(place.key()).expect("a shard has fewer than 2^32 sockets"),
                generation,
            },
        });
        let session = Session::new(self.secret(), arrival.framing, self.limits.clone(), now);
        let due = session.poll_timeout();
        let entry = Rc::new(Entry {
            connection: connection.clone(),
            framing: arrival.framing,
            phase: Phase::Open.into(),
            session: session.into(),
            outbox: RefCell::new(Outbox::new(self.limits.outbox_bytes)),
            transport: RefCell::default(),
            user: RefCell::default(),
            topics: RefCell::default(),
            watching: RefCell::default(),
            reading: 0.into(),
            held: 0.into(),
            calls: 0.into(),
            running: None.into(),
            queued: Queued::No.into(),
            blocked: false.into(),
            timer: None.into(),
            #[cfg(feature = "echo")]
            echo: arrival.echo,
        });
        place.insert(entry.clone());
        drop(entries);

        let io = Rc::new(io);
        let reader =
            tokio::task::spawn_local(self.clone().read(entry.clone(), io.clone(), leftover));
        *entry.transport.borrow_mut() = Some(Transport {
            io,
            reader: reader.abort_handle(),
            writer: None,
            seat,
        });
        metrics::connection_opened();
        #[cfg(feature = "echo")]
        if entry.echo {
            return;
        }
        self.schedule(&entry, due);
        self.shared.to_bus.post(ToBus::Opened(connection), 0);
        self.step(&entry, |_| Ok(()));
        // Its handshake was under way when the order to drain came.
        if self.shared.readiness.is_closed() {
            self.close(&entry, CloseReason::Draining);
        }
    }

    /// `<node and shard tag>-<130 bits>`: a bearer secret, never the id that travels on the bus (resumption.md 6.4).
    pub(super) fn secret(&self) -> String {
        let mut random = [0; 18];
        getrandom::fill(&mut random).expect("the system has random numbers");
        let mut text = format!("{}-", self.shared.tags[usize::from(self.index)]);
        // 24 characters of 6 bits.
        BASE64_URL_SAFE_NO_PAD.encode_string(random, &mut text);
        text
    }

    pub(super) fn intern(&self, headers: String) -> Arc<str> {
        let mut known = self.headers.borrow_mut();
        if known.len() == known.capacity() {
            // What no connection has any more goes before the set grows.
            known.retain(|text| Arc::strong_count(text) > 1);
            if known.len() > known.capacity() / 2 {
                let more = known.len();
                known.reserve(more);
            }
        }
        known
            .get_or_insert_with(headers.as_str(), |text| Arc::from(text))
            .clone()
    }
}
