//! Every metric of the hub.

use metrics::{counter, describe_counter, describe_gauge, gauge};
use store::{Change, ChangeKind};

use crate::now_ms;

pub(super) fn describe() {
    for (name, meaning) in [
        ("ddp_edge_hub_changes_total", "Changes read, by collection"),
        ("ddp_edge_hub_events_total", "Events sent, by name"),
        (
            "ddp_edge_hub_events_too_large_total",
            "Events larger than the bus carries",
        ),
        (
            "ddp_edge_hub_lookups_total",
            "Queries for what rules have asked",
        ),
        (
            "ddp_edge_hub_history_lost_total",
            "Times that changes were no longer kept",
        ),
        (
            "ddp_edge_hub_stream_reopened_total",
            "Change streams that broke and were opened again",
        ),
        (
            "ddp_edge_hub_changes_too_large_total",
            "Changes that the database could not tell",
        ),
    ] {
        describe_counter!(name, meaning);
    }
    describe_gauge!("ddp_edge_hub_leader", "1 while this hub works");
    describe_gauge!("ddp_edge_hub_term", "The term in which it works");
    describe_gauge!(
        "ddp_edge_hub_lag_seconds",
        "Whole seconds from the last change to its event; 0 while there is none"
    );
}

pub(super) fn change(change: &Change) {
    let op = match change.kind {
        ChangeKind::Inserted => "insert",
        ChangeKind::Updated { .. } => "update",
        ChangeKind::Replaced => "replace",
        ChangeKind::Removed => "delete",
    };
    counter!("ddp_edge_hub_changes_total", "collection" => change.collection.name(), "op" => op)
        .increment(1);
}

pub(super) fn event(name: &'static str) {
    counter!("ddp_edge_hub_events_total", "event" => name).increment(1);
}

/// An event that some node was not sent because it is larger than the bus carries.
pub(super) fn too_large(name: &'static str) {
    counter!("ddp_edge_hub_events_too_large_total", "event" => name).increment(1);
}

/// One query for what rules have asked.
pub(super) fn look_up() {
    counter!("ddp_edge_hub_lookups_total").increment(1);
}

/// The term this hub works in, or that it does not.
pub(super) fn leading(term: Option<i64>) {
    gauge!("ddp_edge_hub_leader").set(if term.is_some() { 1.0 } else { 0.0 });
    if let Some(term) = term {
        gauge!("ddp_edge_hub_term").set(term as f64);
    }
}

/// What has happened in this second since 1970 has been sent now; `None`: there is nothing to send.
pub(super) fn sent(happened: Option<u32>) {
    let lag = happened.map_or(0, |at| (now_ms() / 1_000 - i64::from(at)).max(0));
    gauge!("ddp_edge_hub_lag_seconds").set(lag as f64);
}

pub(super) fn history_lost() {
    counter!("ddp_edge_hub_history_lost_total").increment(1);
}

/// A change stream that broke and was opened again.
pub(super) fn reopened() {
    counter!("ddp_edge_hub_stream_reopened_total").increment(1);
}

/// Changes that the database could not tell, and whose documents were read instead.
pub(super) fn stepped_over() {
    counter!("ddp_edge_hub_changes_too_large_total").increment(1);
}
