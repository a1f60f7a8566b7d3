//! What the bus can bring: every sample of every event of the table, and how the network changes.

use std::sync::Arc;

use backplane::{Event, Gap, GapCause, GapScope, Handled, Incoming, NodeInfo};
use bytes::Bytes;

use crate::{
    handlers::core::now,
    streams::{samples::samples, topic::Topic},
};

/// One thing that the bus brings.
pub(super) struct Case {
    pub(super) kind: String,
    /// Where it is heard, besides what everybody of `u1` and `r1` hears.
    pub(super) topics: Vec<Topic>,
    pub(super) bytes: usize,
    /// It, or the same of somebody else.
    pub(super) happens: Box<dyn Fn(bool) -> Incoming>,
}

pub(super) fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for (name, args, published) in samples() {
        let number = all
            .iter()
            .filter(|case: &&Case| case.kind.starts_with(&format!("event {name} ")))
            .count()
            + 1;
        let topics = published
            .iter()
            .map(|(stream, event, _)| Topic::new(*stream, event));
        all.push(Case {
            kind: format!("event {name} {number}"),
            topics: topics.collect(),
            bytes: name.len() + args.len(),
            happens: Box::new(move |elsewhere| event(name, args, elsewhere)),
        });
    }
    let node = |elsewhere| NodeInfo {
        id: Arc::from(if elsewhere { "warm" } else { "node" }),
        instance: None,
        hostname: None,
        client: None,
        local: false,
        available: true,
        services: ["meteor".into()].into(),
    };
    let mut change = |kind: &str, happens: Box<dyn Fn(bool) -> Incoming>| {
        all.push(Case {
            kind: kind.into(),
            topics: Vec::new(),
            bytes: 0,
            happens,
        });
    };
    change(
        "a node comes",
        Box::new(move |elsewhere| Incoming::NodeUp(node(elsewhere))),
    );
    change(
        "a node offers more",
        Box::new(move |elsewhere| Incoming::NodeOffers(node(elsewhere))),
    );
    change("the bus goes", Box::new(|_| Incoming::Down));
    change("the bus comes", Box::new(|_| Incoming::Up));
    change("the bus has settled", Box::new(|_| Incoming::Settled));
    let gap = |elsewhere| Gap {
        since: now(),
        scope: GapScope::All,
        cause: if elsewhere {
            GapCause::Forgotten
        } else {
            GapCause::PeerReturned
        },
    };
    change(
        "a gap",
        Box::new(move |elsewhere| Incoming::Gap(gap(elsewhere))),
    );
    all
}

fn event(name: &'static str, args: &'static str, elsewhere: bool) -> Incoming {
    let args = match elsewhere {
        true => args.replace("u1", "w1").replace("r1", "q1").into(),
        false => args.into(),
    };
    Incoming::Event(Event {
        name,
        args,
        sender: "peer".into(),
        from_us: false,
        meta: Bytes::from_static(b"{}"),
        received: now(),
        handled: Handled::default(),
    })
}
