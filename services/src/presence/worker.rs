//! Takes what is queued and has it carried out, a few rounds at a time; every user is in one of them at most.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use store::Error;
use tokio::{task::JoinSet, time::sleep_until};
use tokio_util::sync::CancellationToken;

use super::{
    command::{Action, Command},
    pace::Pace,
    queue::Batch,
    round::carry_out,
    shared::Presence,
};

/// Works until the end is near and nothing is left to do.
pub(super) async fn run(presence: Arc<Presence>, ended: CancellationToken) {
    let mut rounds: JoinSet<(Vec<Batch>, Option<Error>, Duration)> = JoinSet::new();
    let mut pace = Pace::new(Instant::now());
    let stall = (presence.config.heartbeat_timeout / 2).max(STALL_MIN);
    let mut turn = Instant::now();
    loop {
        let now = Instant::now();
        if now.duration_since(turn) > stall {
            // We stood still: what waits in our sockets may have been told to others, and undone, long ago.
            presence.vanished().unsettle(now + CATCH_UP);
        }
        turn = now;
        for (user, session) in presence.doubt().due(now) {
            let again = Command::silent(Action::Remove {
                session,
                node: String::new(),
            });
            presence.queue().push(user, again);
        }
        let mut next = None;
        if let Some(rested) = pace.rests(now) {
            next = Some(rested);
        } else {
            while rounds.len() < pace.rounds() {
                let batches = presence.queue().take(pace.users(), now);
                if batches.is_empty() {
                    next = presence.queue().next(now);
                    break;
                }
                let presence = presence.clone();
                rounds.spawn(async move {
                    let (batches, failed) = carry_out(&presence, batches).await;
                    (batches, failed, now.elapsed())
                });
            }
        }
        let doubted = presence.doubt().next();
        next = [next, doubted, Some(now + TURN)]
            .into_iter()
            .flatten()
            .min();
        let is_idle = rounds.is_empty() && presence.queue().is_empty();
        tokio::select! {
            () = presence.filled.notified() => {}
            Some(round) = rounds.join_next() => {
                let (batches, failed, took) = match round.map_err(tokio::task::JoinError::try_into_panic) {
                    Ok(outcome) => outcome,
                    Err(Ok(panic)) => std::panic::resume_unwind(panic),
                    // The runtime ends.
                    Err(Err(_)) => return,
                };
                let now = Instant::now();
                for batch in batches {
                    presence.queue().done(batch, now);
                }
                match failed {
                    None => pace.succeeded(now, took),
                    Some(error) => {
                        tracing::warn!(%error, "presence will be written later");
                        pace.failed(now);
                    }
                }
            }
            () = sleep_until(next.unwrap_or(now).into()), if next.is_some() => {}
            () = ended.cancelled(), if is_idle => return,
        }
    }
}

/// Without anything to do it looks at the clock so often.
const TURN: Duration = Duration::from_millis(500);
/// Shorter than any time after which others count us as lost.
const STALL_MIN: Duration = Duration::from_secs(2);
/// How long it takes to read what has gathered while we stood still.
const CATCH_UP: Duration = Duration::from_secs(1);
