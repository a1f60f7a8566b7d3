//! From a packet to what it means here.

use std::{
    borrow::Cow,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use bytestring::ByteString;
use protocol::moleculer::{
    self, DecodeError, Disconnect, Discover, Heartbeat, Info, Kind, Ping, Pong,
    Request as RequestPacket, Response, Version, decode, encode, event_name,
};

use crate::{
    answer::{Address, received, refuse, respond},
    bus::Bus,
    calls::Context,
    error::{ErrorKind, ServiceError},
    fault::Fault,
    handled::Arrivals,
    incoming::{Event, GapCause, GapScope, Incoming, Request},
    measured::{Measured, Side},
    reply::Reply,
    waiting::Waiting,
};

/// Handles a batch of EVENT packets: one lock and one wake-up per inbox.
pub(super) fn events(bus: &Bus, batch: &[Bytes]) {
    let now = Instant::now();
    let bytes = batch.iter().map(Bytes::len).sum();
    bus.counters().packets_in(Kind::Event, batch.len(), bytes);
    let listeners = bus.core().listeners();
    let mut senders: Vec<Arc<str>> = Vec::new();
    let mut filled: Vec<(&Arc<Waiting>, Vec<Incoming>)> = Vec::new();
    let mut arrivals = Arrivals::new(bus.meters(), bus.uplink(), now);
    for payload in batch {
        // Looked at once, for all that is read of it and spliced.
        let text = ByteString::try_from(payload.clone()).unwrap_or_default();
        let packet = match moleculer::Event::decode(&text) {
            Ok(packet) => packet,
            Err(error) => {
                bus.counters().dropped(Kind::Event, error);
                if let Some(name) = event_name(payload)
                    && let Some((name, inboxes)) = listeners.get_key_value(&*name)
                {
                    for (service, _) in inboxes {
                        arrivals.fail(name, service);
                    }
                }
                continue;
            }
        };
        let Some((name, inboxes)) = listeners.get_key_value(&*packet.event) else {
            continue;
        };
        let is_padded = is_padded(payload, packet.data.len() + packet.meta.len());
        let args = match is_padded {
            true => packet.data.into(),
            false => text.slice_ref(packet.data),
        };
        let sender = intern(bus, &mut senders, packet.sender);
        let from_us = *sender == *bus.node_id();
        let meta = match packet.meta {
            "{}" => Bytes::from_static(b"{}"),
            meta => kept(payload, meta, is_padded),
        };
        for (service, waiting) in inboxes {
            if !packet.groups.is_empty() && !packet.groups.iter().any(|group| group == service) {
                continue;
            }
            let incoming = Incoming::Event(Event {
                name,
                args: args.clone(),
                sender: sender.clone(),
                from_us,
                meta: meta.clone(),
                received: now,
                handled: arrivals.add(name, service, packet.caller.as_deref(), &meta),
            });
            match filled
                .iter_mut()
                .find(|(known, _)| Arc::ptr_eq(known, waiting))
            {
                Some((_, batch)) => batch.push(incoming),
                None => filled.push((waiting, vec![incoming])),
            }
        }
    }
    arrivals.begin();
    for (waiting, batch) in filled {
        bus.fill(waiting, batch, now);
    }
    drop(arrivals);
    let mut core = bus.core();
    for sender in senders {
        core.registry.sent_to_us(&sender, now);
    }
}

/// A batch has few senders: one allocation for each, none for those that are known.
fn intern(bus: &Bus, senders: &mut Vec<Arc<str>>, sender: Cow<'_, str>) -> Arc<str> {
    if let Some(known) = senders.iter().find(|known| ***known == *sender) {
        return known.clone();
    }
    let id = bus
        .core()
        .registry
        .id(&sender)
        .unwrap_or_else(|| sender.as_ref().into());
    senders.push(id.clone());
    id
}

/// Whether so many bytes of a packet are a small part of it. A slice keeps the whole: what is counted is not what is held
/// then.
fn is_padded(payload: &Bytes, bytes: usize) -> bool {
    payload.len() > bytes + PADDING_BYTES_MAX
}

/// A part of a packet, by itself where the rest is to go.
fn kept(payload: &Bytes, part: &str, is_padded: bool) -> Bytes {
    match is_padded {
        true => Bytes::copy_from_slice(part.as_bytes()),
        false => payload.slice_ref(part.as_bytes()),
    }
}

/// Handles any other packet.
pub(super) fn packet(bus: &Bus, kind: Kind, is_targeted: bool, payload: Bytes) {
    bus.counters().packets_in(kind, 1, payload.len());
    let now = Instant::now();
    let handled = match kind {
        Kind::Discover => discover(bus, is_targeted, &payload, now),
        Kind::Info => info(bus, &payload, now),
        Kind::Heartbeat => heartbeat(bus, &payload, now),
        Kind::Disconnect => disconnect(bus, &payload, now),
        Kind::Ping => ping(bus, &payload),
        Kind::Pong => pong(bus, &payload, now),
        Kind::Request => request(bus, &payload, now),
        Kind::Response => response(bus, &payload),
        Kind::Event => Ok(()),
    };
    if let Err(error) = handled {
        bus.counters().dropped(kind, error);
    }
}

fn discover(bus: &Bus, is_targeted: bool, payload: &[u8], now: Instant) -> Result<(), DecodeError> {
    let packet: Discover<'_> = decode(payload)?;
    if packet.sender == bus.node_id() {
        return Ok(());
    }
    if bus.core().registry.may_tell(now) {
        bus.send_info_to(&packet.sender);
    }
    if is_targeted {
        let mut core = bus.core();
        if let Some(since) = core.registry.handle_targeted_discover(&packet.sender, now) {
            core.tell_gap(
                since,
                GapScope::Node(packet.sender.as_ref().into()),
                GapCause::Forgotten,
                now,
            );
        }
    }
    Ok(())
}

fn info(bus: &Bus, payload: &[u8], now: Instant) -> Result<(), DecodeError> {
    let packet: Info<'_> = decode(payload)?;
    if packet.sender == bus.node_id() {
        let ours = bus.network().map(|network| network.instance.as_str());
        if packet.instance_id.as_deref() != ours {
            let count = bus.counters().conflicts.fetch_add(1, Relaxed) + 1;
            if count.is_power_of_two() {
                tracing::error!(count, "another process uses our node id");
            }
        }
        return Ok(());
    }
    {
        let mut core = bus.core();
        let changes = core.registry.handle_info(packet, now);
        core.apply(changes, now);
    }
    bus.announce_if_due();
    Ok(())
}

fn heartbeat(bus: &Bus, payload: &[u8], now: Instant) -> Result<(), DecodeError> {
    let packet: Heartbeat<'_> = decode(payload)?;
    let is_stranger = packet.sender != bus.node_id() && {
        let mut core = bus.core();
        !core
            .registry
            .handle_heartbeat(&packet.sender, packet.cpu, now)
            && core.registry.may_ask(now)
    };
    if is_stranger {
        let ask = encode(&Discover {
            ver: Version,
            sender: bus.node_id().into(),
        });
        let _ = bus.uplink().send(Kind::Discover, Some(&packet.sender), ask);
    }
    Ok(())
}

fn disconnect(bus: &Bus, payload: &[u8], now: Instant) -> Result<(), DecodeError> {
    let packet: Disconnect<'_> = decode(payload)?;
    if packet.sender != bus.node_id() {
        let mut core = bus.core();
        let change = core.registry.handle_disconnect(&packet.sender, now);
        core.apply(change, now);
    }
    Ok(())
}

fn ping(bus: &Bus, payload: &[u8]) -> Result<(), DecodeError> {
    let packet: Ping<'_> = decode(payload)?;
    if packet.sender != bus.node_id() {
        let pong = encode(&Pong {
            time: packet.time,
            id: packet.id,
            arrived: Some(unix_ms()),
            ver: Version,
            sender: bus.node_id().into(),
        });
        let _ = bus.uplink().send(Kind::Pong, Some(&packet.sender), pong);
    }
    Ok(())
}

fn pong(bus: &Bus, payload: &[u8], now: Instant) -> Result<(), DecodeError> {
    let packet: Pong<'_> = decode(payload)?;
    let mut core = bus.core();
    core.registry.handle_pong(&packet.sender, now);
    core.settle(&packet.sender, now);
    Ok(())
}

/// Every request is answered: here if it makes no sense, else by whoever holds the [`Request`].
fn request(bus: &Bus, payload: &Bytes, now: Instant) -> Result<(), DecodeError> {
    let packet: RequestPacket<'_> = decode(payload)?;
    if packet.seq.is_some_and(|seq| seq > 0.0) {
        // The rest of a streamed request, whose first frame was answered.
        return Ok(());
    }
    let parts = [packet.meta, packet.params].into_iter().flatten();
    let is_padded = is_padded(payload, parts.map(|part| part.get().len()).sum());
    let mut meta = match packet.meta {
        Some(meta) => kept(payload, meta.get(), is_padded),
        None => Bytes::from_static(b"{}"),
    };
    let to = Address {
        node: packet.sender.to_string(),
        id: packet.id.to_string(),
        meta: meta.clone(),
    };
    let (service, action, waiting, sender) = {
        let mut core = bus.core();
        core.registry.sent_to_us(&packet.sender, now);
        let sender = core
            .registry
            .id(&packet.sender)
            .unwrap_or_else(|| packet.sender.as_ref().into());
        match core.local_action(&packet.action) {
            Some((local, action)) => (local.service.name, action, local.waiting.clone(), sender),
            None => {
                drop(core);
                refuse(bus.uplink(), &to, Fault::NotFound, &packet.action);
                return Ok(());
            }
        }
    };
    let params = match packet.params {
        Some(params) if params.get().starts_with('[') && packet.stream != Some(true) => {
            params.get()
        }
        _ => {
            let error = ServiceError::plain("TypeError", "params is not an array");
            respond(bus.uplink(), &to, &Err(error), action);
            return Ok(());
        }
    };
    // 0 means no deadline, absent our own.
    let timeout = match packet.timeout {
        None => Some(bus.config().request_timeout),
        Some(ms) => Duration::try_from_secs_f64(ms / 1e3)
            .ok()
            .filter(|timeout| !timeout.is_zero()),
    };
    let deadline = timeout.and_then(|timeout| now.checked_add(timeout));
    let Some(key) = bus.owed().begin(to, action, deadline) else {
        return Ok(());
    };
    // Saturates; a level of nonsense is refused where the nested call is made.
    let level = packet.level.map_or(1, |level| level as u32);
    let caller = packet.caller.as_deref();
    let measured = Measured::begin(bus.meters(), Side::Here, action, caller, level, &mut meta);
    let request = Request {
        action,
        params: kept(payload, params, is_padded),
        sender,
        context: Context {
            id: packet.id.to_string(),
            request_id: packet.request_id.unwrap_or_else(|| packet.id.to_string()),
            level,
            service,
            deadline,
            meta,
        },
        reply: Reply::remote(bus.owed().clone(), key, measured),
    };
    bus.fill(&waiting, [Incoming::Request(Box::new(request))], now);
    Ok(())
}

fn response(bus: &Bus, payload: &Bytes) -> Result<(), DecodeError> {
    let packet: Response<'_> = decode(payload)?;
    let outcome = match packet.error {
        _ if packet.stream == Some(true) => Err(ErrorKind::Malformed),
        _ if packet.success => Ok(packet
            .data
            .map(|data| payload.slice_ref(data.get().as_bytes()))),
        // The callee's clock was a little faster than ours.
        Some(error) if error.kind.as_deref() == Some("REQUEST_TIMEOUT") => Err(ErrorKind::Timeout),
        Some(error) => Err(ErrorKind::Refused(Box::new(received(&error)))),
        None => Err(ErrorKind::Malformed),
    };
    // Late answers end here.
    bus.core().calls.settle(&packet.id, outcome);
    Ok(())
}

/// What a packet says besides what is kept of it: ids, names, groups, tracing.
const PADDING_BYTES_MAX: usize = 4_096;

/// Now, in milliseconds since 1970.
pub(super) fn unix_ms() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_millis() as f64)
}
