//! Every metric of the gateway, named and described in one place.
//!
//! Names without our prefix are those that the official dashboards read (ecosystem.md 4).

use std::time::Duration;

use ::metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use protocol::close::CloseReason;

/// Gives every metric its description.
pub(crate) fn describe() {
    // Dashboards and alerts tell nobody from no gateway.
    gauge!("users_connected").increment(0);
    gauge!("users_logged").increment(0);
    describe_gauge!("users_connected", "Open sockets");
    describe_gauge!("users_logged", "Sockets on which somebody is logged in");
    describe_histogram!(
        "rocketchat_subscription",
        "Time to the ready of a subscription that was asked for, in ms"
    );
    describe_counter!(
        "ddp_edge_connect_total",
        "DDP handshakes, and whether they try to resume"
    );
    describe_counter!(
        "ddp_edge_connections_closed_total",
        "Connections that ended, by reason and by whose doing it was"
    );
    describe_counter!("ddp_edge_refused_total", "Clients not let in, by reason");
    describe_gauge!(
        "ddp_edge_buffered_bytes",
        "Bytes held for all clients: outboxes, messages that have come in part, calls that wait"
    );
    describe_gauge!("ddp_edge_buffer_budget_bytes", "What they may be at most");
    describe_gauge!(
        "ddp_edge_pressure",
        "0 easy, 1 what can be missed is not held (3/4), 2 no new websockets (9/10), 3 the worst are closed"
    );
    describe_counter!(
        "ddp_edge_forwarded_total",
        "Handshakes by whether X-Forwarded-For is what HTTP_FORWARDED_COUNT promises"
    );
    describe_counter!(
        "ddp_edge_accept_errors_total",
        "Times the system refused to accept"
    );
    describe_counter!(
        "ddp_edge_session_panics_total",
        "Panics that ended one connection: bugs"
    );
    describe_counter!("ddp_edge_deliveries_total", "Frames put into outboxes");
    describe_gauge!("ddp_edge_subscriptions", "Live subscriptions, by shard");
    describe_gauge!(
        "ddp_edge_slow_clients",
        "Clients whose sockets were full, by shard"
    );
    describe_gauge!(
        "ddp_edge_outbox_bytes",
        "Bytes that wait for slow clients, by shard"
    );
    describe_counter!(
        "ddp_edge_writes_total",
        "Writes to sockets: one for all that waits for a client"
    );
    describe_counter!("ddp_edge_shed_total", "Frames that slow clients miss");
    describe_counter!(
        "ddp_edge_late_total",
        "Typing and status left out, whole, because the shard had more to do than it can"
    );
    describe_histogram!(
        "ddp_edge_fan_out_seconds",
        "From an event's arrival to the outboxes, per batch and shard"
    );
    describe_counter!(
        "ddp_edge_bus_pauses_total",
        "Pauses of the bus thread under load, in which more events gather for its next batch"
    );
    describe_gauge!("ddp_edge_thread_lag_seconds", "How late a thread is");
    describe_counter!(
        "ddp_edge_gaps_total",
        "Times something may have been missed, by cause"
    );
    describe_counter!(
        "ddp_edge_resyncs_total",
        "Resyncs begun, by reach and cause"
    );
    describe_gauge!(
        "ddp_edge_resync_state",
        "1 while a resync of everybody is running, or waits behind the one before"
    );
    describe_counter!(
        "ddp_edge_hub_dropped_total",
        "Events of stream-hubs that were heard before, or came from one that was replaced"
    );
    describe_counter!(
        "ddp_edge_hold_overflow_total",
        "Events that found a full hold queue"
    );
    describe_counter!(
        "ddp_edge_limited_total",
        "Calls that a rate limit refused, by rule"
    );
    describe_counter!(
        "ddp_edge_cache_total",
        "Questions about access, and whether memory answered"
    );
    describe_counter!(
        "ddp_edge_revocations_total",
        "Subscriptions and logins taken back, by cause"
    );
    describe_gauge!("ddp_edge_grants", "Distinct grants");
    describe_gauge!(
        "ddp_edge_entries",
        "What the bus thread remembers, by what remembers it: at rest it does not grow"
    );
    describe_gauge!(
        "ddp_edge_grants_waiting",
        "Grants that an event has touched and that wait to be judged again"
    );
    describe_gauge!(
        "ddp_edge_work_running",
        "Clients for which a call or a judgement runs"
    );
    describe_gauge!(
        "ddp_edge_presence_resting",
        "Clients of whom presence could not be told and is told again"
    );
    describe_counter!(
        "ddp_edge_presence_given_up_total",
        "Words about clients that presence has never heard"
    );
    describe_counter!(
        "ddp_edge_verdicts_total",
        "Questions to the authorization service"
    );
    describe_counter!(
        "ddp_edge_calls_refused_total",
        "Calls not begun because too much was under way"
    );
    describe_counter!(
        "ddp_edge_cut_total",
        "Lists that were longer than a limit, by what they list"
    );
    describe_histogram!(
        "ddp_edge_login_seconds",
        "Time to a login's answer, by result"
    );
    describe_histogram!("ddp_edge_method_seconds", "Time to a method's answer");
    describe_counter!(
        "ddp_edge_methods_failed_total",
        "Methods answered with an error"
    );
    describe_counter!(
        "ddp_edge_subscriptions_refused_total",
        "Subscriptions beyond a limit, by limit"
    );
    describe_counter!(
        "ddp_edge_stream_writes_total",
        "Writes of clients to streams, by verdict"
    );
    describe_counter!(
        "ddp_edge_stream_writes_refused_total",
        "Writes of clients to streams beyond a limit, by limit"
    );
}

/// A websocket is open.
pub(crate) fn connection_opened() {
    gauge!("users_connected").increment(1);
}

/// A session has ended.
pub(crate) fn connection_closed(reason: CloseReason) {
    gauge!("users_connected").decrement(1);
    counter!(
        "ddp_edge_connections_closed_total",
        "reason" => reason.label(),
        "blame" => reason.blame().label()
    )
    .increment(1);
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

/// What a handshake tells about the proxies in front.
pub(crate) fn forwarded(seen: &'static str) {
    counter!("ddp_edge_forwarded_total", "seen" => seen).increment(1);
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
pub(crate) fn published(delivered: u64, shed: u64, late: u64) {
    counter!("ddp_edge_deliveries_total").increment(delivered);
    if late > 0 {
        counter!("ddp_edge_late_total").increment(late);
    }
    if shed > 0 {
        counter!("ddp_edge_shed_total").increment(shed);
    }
}

/// Sockets have taken something in one pass of the flush.
pub(crate) fn wrote(writes: u64) {
    if writes > 0 {
        counter!("ddp_edge_writes_total").increment(writes);
    }
}

/// What a shard carries now.
pub(crate) fn shard(shard: u16, subscriptions: usize, slow: usize, queued: usize) {
    let label = shard.to_string();
    gauge!("ddp_edge_subscriptions", "shard" => label.clone()).set(subscriptions as f64);
    gauge!("ddp_edge_slow_clients", "shard" => label.clone()).set(slow as f64);
    gauge!("ddp_edge_outbox_bytes", "shard" => label).set(queued as f64);
}

/// What is held for all clients together, of how much.
pub(crate) fn buffered(held: usize, budget: usize, pressure: u8) {
    gauge!("ddp_edge_buffered_bytes").set(held as f64);
    gauge!("ddp_edge_buffer_budget_bytes").set(budget as f64);
    gauge!("ddp_edge_pressure").set(f64::from(pressure));
}

/// From the arrival of an event to the outboxes of its subscribers, once per batch and shard.
pub(crate) fn fan_out_took(time: Duration) {
    histogram!("ddp_edge_fan_out_seconds").record(time);
}

/// The bus thread lets events gather.
pub(crate) fn paused() {
    counter!("ddp_edge_bus_pauses_total").increment(1);
}

/// How late a thread is.
pub(crate) fn lag(thread: String, lag: Duration) {
    gauge!("ddp_edge_thread_lag_seconds", "thread" => thread).set(lag.as_secs_f64());
}

/// A subscription is live.
pub(crate) fn subscribed(name: &str, after: Duration) {
    let millis = after.as_secs_f64() * 1_000.0;
    histogram!("rocketchat_subscription", "subscription" => name.to_owned()).record(millis);
}

/// A subscription was beyond a limit.
pub(crate) fn subscription_refused(limit: &'static str) {
    counter!("ddp_edge_subscriptions_refused_total", "limit" => limit).increment(1);
}

/// A gap was noted.
pub(crate) fn gap(cause: &'static str) {
    counter!("ddp_edge_gaps_total", "cause" => cause).increment(1);
}

/// A resync begins.
pub(crate) fn resync(scope: &'static str, cause: &'static str) {
    counter!("ddp_edge_resyncs_total", "scope" => scope, "cause" => cause).increment(1);
}

/// Whether a resync of everybody runs, and whether one waits.
pub(crate) fn resync_state(running: bool, waiting: bool) {
    for (state, is_so) in [("running", running), ("waiting", waiting)] {
        gauge!("ddp_edge_resync_state", "state" => state).set(f64::from(u8::from(is_so)));
    }
}

/// An event of a stream-hub was not handled.
pub(crate) fn hub_dropped(reason: &'static str) {
    counter!("ddp_edge_hub_dropped_total", "reason" => reason).increment(1);
}

/// A hold queue was full.
pub(crate) fn hold_overflow() {
    counter!("ddp_edge_hold_overflow_total").increment(1);
}

/// A rate limit refused a call.
pub(crate) fn limited(rule: &'static str) {
    counter!("ddp_edge_limited_total", "rule" => rule).increment(1);
}

/// A question about access; whether memory answered it.
pub(crate) fn cache_asked(cache: &'static str, hit: bool) {
    let answered = if hit { "memory" } else { "asked" };
    counter!("ddp_edge_cache_total", "cache" => cache, "answered" => answered).increment(1);
}

/// The authorization service was asked for a verdict.
pub(crate) fn verdict_asked() {
    counter!("ddp_edge_verdicts_total").increment(1);
}

/// A call was not begun because too much is under way.
pub(crate) fn call_refused() {
    counter!("ddp_edge_calls_refused_total").increment(1);
}

/// A client's write was beyond a limit.
pub(crate) fn write_refused(limit: &'static str) {
    counter!("ddp_edge_stream_writes_refused_total", "limit" => limit).increment(1);
}

/// Something was longer than a limit and was cut there.
pub(crate) fn cut(what: &'static str) {
    counter!("ddp_edge_cut_total", "what" => what).increment(1);
}

/// Subscriptions or logins were taken back.
pub(crate) fn revoked(cause: &'static str) {
    counter!("ddp_edge_revocations_total", "cause" => cause).increment(1);
}

/// Distinct grants now.
pub(crate) fn grants(count: usize) {
    gauge!("ddp_edge_grants").set(count as f64);
}

/// What an owner of the bus thread's state holds now.
pub(crate) fn entries(owner: &'static str, count: usize) {
    gauge!("ddp_edge_entries", "owner" => owner).set(count as f64);
}

/// Grants that wait to be judged again.
pub(crate) fn rejudge(count: usize) {
    gauge!("ddp_edge_grants_waiting").set(count as f64);
}

/// Clients for which a call or a judgement runs.
pub(crate) fn work(count: usize) {
    gauge!("ddp_edge_work_running").set(count as f64);
}

/// Clients of whom presence is told again.
pub(crate) fn presence_resting(count: usize) {
    gauge!("ddp_edge_presence_resting").set(count as f64);
}

/// Presence will not hear of something.
pub(crate) fn presence_given_up() {
    counter!("ddp_edge_presence_given_up_total").increment(1);
}

/// A login was answered.
pub(crate) fn login(result: &'static str, after: Duration) {
    histogram!("ddp_edge_login_seconds", "result" => result).record(after);
}

/// A method was answered. Names are the clients' choice and no label.
pub(crate) fn method(succeeded: bool, after: Duration) {
    histogram!("ddp_edge_method_seconds").record(after);
    if !succeeded {
        counter!("ddp_edge_methods_failed_total").increment(1);
    }
}

/// A client wrote to a stream.
pub(crate) fn write(stream: &'static str, accepted: bool) {
    let verdict = if accepted { "accepted" } else { "refused" };
    counter!("ddp_edge_stream_writes_total", "stream" => stream, "verdict" => verdict).increment(1);
}
