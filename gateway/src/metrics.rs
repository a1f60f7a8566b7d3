//! Every metric of the gateway, named and described in one place.

use std::time::Duration;

use metrics::{counter, gauge, histogram};
use protocol::close::CloseReason;

/// A websocket is open.
pub(crate) fn connection_opened() {
    gauge!("users_connected").increment(1);
}

/// A session has ended.
pub(crate) fn connection_closed(reason: CloseReason) {
    gauge!("users_connected").decrement(1);
    counter!("ddp_edge_connections_closed_total", "reason" => reason.label()).increment(1);
}

/// A version was agreed on; the flags say whether the client tries to resume (resumption.md 6.6).
pub(crate) fn connected(has_session: bool, has_count: bool) {
    let label = |flag| if flag { "true" } else { "false" };
    counter!(
        "ddp_edge_connect_total",
        "has_session" => label(has_session),
        "has_count" => label(has_count)
    )
    .increment(1);
}

/// A connection has a user now.
pub(crate) fn logged_in() {
    gauge!("users_logged").increment(1);
}

/// A connection has no user any more.
pub(crate) fn logged_out() {
    gauge!("users_logged").decrement(1);
}

/// A client was not let in, or its request was not answered.
pub(crate) fn refused(reason: &'static str) {
    counter!("ddp_edge_refused_total", "reason" => reason).increment(1);
}

/// `accept` has failed for a reason of ours.
pub(crate) fn accept_failed() {
    counter!("ddp_edge_accept_errors_total").increment(1);
}

/// A panic inside a session's step: a bug, and one connection less.
pub(crate) fn session_panicked() {
    counter!("ddp_edge_session_panics_total").increment(1);
}

/// One batch has been put into outboxes.
pub(crate) fn published(delivered: u64, shed: u64) {
    counter!("ddp_edge_deliveries_total").increment(delivered);
    if shed > 0 {
        counter!("ddp_edge_shed_total").increment(shed);
    }
}

/// From the arrival of an event to the outboxes of its subscribers, once per batch and shard.
pub(crate) fn fan_out_took(time: Duration) {
    histogram!("ddp_edge_fan_out_seconds").record(time);
}

/// How late a thread is.
pub(crate) fn lag(thread: String, lag: Duration) {
    gauge!("ddp_edge_thread_lag_seconds", "thread" => thread).set(lag.as_secs_f64());
}
