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

/// What a round has done.
struct Round {
    batches: Vec<Batch>,
    failed: Option<Error>,
    took: Duration,
    /// Of those alone who choose a status.
    of_choices: bool,
}

/// Works until the end is near and nothing is left to do.
pub(super) async fn run(presence: Arc<Presence>, ended: CancellationToken) {
    let mut rounds: JoinSet<Round> = JoinSet::new();
    let mut choices_run = false;
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
        let next;
        if let Some(rested) = pace.rests(now) {
            next = Some(rested);
        } else {
            // A round of their own, beside all others: neither waits for the other.
            if !choices_run {
                let choices = presence.queue().take_choosers(pace.users(), now);
                choices_run = begin(&mut rounds, &presence, choices, true);
            }
            while rounds.len() < pace.rounds() + usize::from(choices_run) {
                let batches = presence.queue().take(pace.users(), now);
                if !begin(&mut rounds, &presence, batches, false) {
                    break;
                }
            }
            next = presence.queue().next();
        }
        let doubted = presence.doubt().next();
        let next = [next, doubted, Some(now + TURN)]
            .into_iter()
            .flatten()
            .min();
        let is_idle = rounds.is_empty() && presence.queue().is_empty();
        tokio::select! {
            () = presence.filled.notified() => {}
            Some(round) = rounds.join_next() => {
                let Round { batches, failed, took, of_choices } = match round.map_err(tokio::task::JoinError::try_into_panic) {
                    Ok(outcome) => outcome,
                    Err(Ok(panic)) => std::panic::resume_unwind(panic),
                    // The runtime ends.
                    Err(Err(_)) => return,
                };
                choices_run &= !of_choices;
                let now = Instant::now();
                for batch in batches {
                    presence.queue().done(batch, now);
                }
                match failed {
                    // A few choices answered quickly say nothing of a storm.
                    None if of_choices => {}
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

/// Has them carried out, if there are any.
fn begin(
    rounds: &mut JoinSet<Round>,
    presence: &Arc<Presence>,
    batches: Vec<Batch>,
    of_choices: bool,
) -> bool {
    if batches.is_empty() {
        return false;
    }
    let (presence, begun) = (presence.clone(), Instant::now());
    rounds.spawn(async move {
        let (batches, failed) = carry_out(&presence, batches).await;
        Round {
            batches,
            failed,
            took: begun.elapsed(),
            of_choices,
        }
    });
    true
}

/// Without anything to do it looks at the clock so often.
const TURN: Duration = Duration::from_millis(500);
/// Shorter than any time after which others count us as lost.
const STALL_MIN: Duration = Duration::from_secs(2);
/// How long it takes to read what has gathered while we stood still.
const CATCH_UP: Duration = Duration::from_secs(1);
