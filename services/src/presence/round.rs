//! One round: the commands of many users carried out with a few reads and writes (services.md 10).

use std::{collections::HashMap, time::Instant};

use store::{Connection, ConnectionEdit, Error, ErrorKind, StatusOwner, StatusWrite};

use super::{
    command::{Action, Command, SERVICE, status},
    engine::Input,
    metrics,
    play::{Play, Setting, compacted},
    queue::Batch,
    shared::Presence,
};
use crate::{errors::unavailable, now_ms, serve::Outcome};

/// MongoDB takes a pipeline of 1,000 stages at most.
const EDITS_AT_ONCE: usize = 400;
/// How often somebody else may be faster before the user's turn comes again later.
const ATTEMPTS: usize = 5;

/// Carries out all commands of these users, and answers. What could not be carried out stays in the batches; the error
/// tells why.
pub(super) async fn carry_out(
    presence: &Presence,
    mut batches: Vec<Batch>,
) -> (Vec<Batch>, Option<Error>) {
    let failed = match try_to(presence, &mut batches).await {
        Ok(()) => None,
        // One document that cannot be read or written must not hold up everybody else.
        Err(error) if batches.len() > 1 && !is_passing(&error) => {
            for batch in &mut batches {
                if let Err(error) = try_to(presence, std::slice::from_mut(batch)).await {
                    give_up(batch, error);
                }
            }
            None
        }
        Err(error) if !is_passing(&error) => {
            give_up(&mut batches[0], error);
            None
        }
        Err(error) => {
            metrics::store_failed();
            for batch in &mut batches {
                keep(batch, &error, presence);
            }
            Some(error)
        }
    };
    (batches, failed)
}

/// Whether it may go away by itself.
fn is_passing(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Refused
    )
}

/// Nothing helps this user: the callers hear so.
fn give_up(batch: &mut Batch, error: Error) {
    tracing::error!(%error, "the presence of a user cannot be kept");
    metrics::given_up();
    for command in batch.commands.drain(..) {
        respond(command, Err(unavailable(error.clone())));
    }
}

/// The database did not answer. What says who is connected is true whenever it is written, and stays, and so does the end of
/// a claim whose time is up; whoever wanted something else hears that it did not happen.
fn keep(batch: &mut Batch, error: &Error, presence: &Presence) {
    let now = Instant::now();
    let mut kept = Vec::with_capacity(batch.commands.len() + 1);
    for command in batch.commands.drain(..) {
        match &command.action {
            Action::Put { session, .. } => {
                presence.doubt().unclear(&batch.user, session, now);
                kept.push(command);
            }
            // A claim that is not over any more is left alone.
            Action::Remove { .. }
            | Action::Sweep { .. }
            | Action::Untold(_)
            | Action::Status {
                input: Input::Expire,
                ..
            } => kept.push(command),
            Action::Status {
                input: Input::Recompute | Input::Audit,
                ..
            } if command.reply.is_none() => {}
            _ => respond(command, Err(unavailable(error.clone()))),
        }
    }
    // Some of it may have happened.
    kept.push(Command::silent(status(Input::Recompute)));
    batch.commands = kept;
}

fn respond(command: Command, outcome: Outcome) {
    if let Some(reply) = command.reply {
        // Nobody waits any more if this fails.
        let _ = reply.send(outcome);
    }
}

async fn try_to(presence: &Presence, batches: &mut [Batch]) -> Result<(), Error> {
    let users: Vec<String> = batches.iter().map(|batch| batch.user.to_string()).collect();
    let (mut owners, mut connections) = look_up(presence, &users).await?;
    let nodes = presence.nodes();
    let insistent = presence.insistent_nodes();
    let stable_since = presence.vanished().stable_since();
    let refreshing = presence.refreshing();
    let setting = Setting {
        now: Instant::now(),
        clock: now_ms(),
        nodes: &nodes,
        insistent: &insistent,
        stable_since,
        refreshing: &refreshing,
        may_hide: may_hide(presence, batches).await?,
    };
    let (mut plays, mut outcomes) = (Vec::new(), Vec::new());
    {
        let mut swept = presence.swept();
        for batch in &*batches {
            let owner = owners.remove(&*batch.user);
            let entries = connections.remove(&*batch.user).unwrap_or_default();
            let mut play = Play::new(batch.user.clone(), owner, entries);
            let commands = batch.commands.iter();
            outcomes.push(
                commands
                    .map(|command| play.command(command, &setting, &mut swept))
                    .collect::<Vec<_>>(),
            );
            plays.push(play);
        }
    }
    for play in &mut plays {
        presence.add_refreshing(play.refreshing.drain(..));
    }
    // A heartbeat alone changes nothing that counts.
    let counts = |edit: &ConnectionEdit| !matches!(edit, ConnectionEdit::Touch(_));
    let edited = plays.iter().filter(|play| play.edits.iter().any(counts));
    let edited: Vec<String> = edited.map(|play| play.user.to_string()).collect();
    edit_connections(presence, &mut plays).await?;
    let is_alone = presence.bus.nodes_with(SERVICE).is_empty();
    if !is_alone {
        presence.doubt().beside_others();
        look_again(presence, &mut plays, edited, &setting).await?;
    }
    let mut doubtful = Vec::new();
    for play in &mut plays {
        let of_user = play.doubtful.drain(..);
        doubtful.extend(of_user.map(|session| (play.user.clone(), session)));
        for session in play.unseen.drain(..) {
            presence.doubt().unseen(&play.user, session, setting.now);
        }
    }
    write_statuses(presence, plays, &setting, is_alone).await?;
    presence.ask_about(&doubtful);
    for (batch, outcomes) in batches.iter_mut().zip(outcomes) {
        for (command, outcome) in batch.commands.drain(..).zip(outcomes) {
            match &command.action {
                _ if outcome.is_err() => {}
                Action::Put { session, .. } => presence.doubt().made(&batch.user, session),
                Action::Remove { session, .. } => {
                    presence.doubt().ended(&batch.user, session, setting.now);
                }
                _ => {}
            }
            respond(command, outcome);
        }
    }
    Ok(())
}

type Owners = HashMap<String, StatusOwner>;
type Connections = HashMap<String, Vec<Connection>>;

async fn look_up(presence: &Presence, users: &[String]) -> Result<(Owners, Connections), Error> {
    let store = &presence.store;
    let (owners, connections) =
        tokio::try_join!(store.status_owners(users), store.connections_of(users))?;
    let owners = owners.into_iter().map(|owner| (owner.id.clone(), owner));
    let connections = connections.into_iter().map(|found| {
        if found.is_odd {
            metrics::odd();
        }
        (found.user, found.connections)
    });
    Ok((owners.collect(), connections.collect()))
}

/// Whether the workspace lets people hide, which it does unless it says no; asked only if somebody wants to.
async fn may_hide(presence: &Presence, batches: &[Batch]) -> Result<bool, Error> {
    let mut commands = batches.iter().flat_map(|batch| &batch.commands);
    if !commands.any(|command| matches!(command.action, Action::Status { hides: true, .. })) {
        return Ok(true);
    }
    let setting = presence
        .store
        .setting("Accounts_AllowInvisibleStatusOption");
    Ok(setting.await?.and_then(|value| value.as_bool()) != Some(false))
}

async fn edit_connections(presence: &Presence, plays: &mut [Play]) -> Result<(), Error> {
    let mut edits: Vec<_> = plays
        .iter_mut()
        .map(|play| {
            (
                play.user.to_string(),
                compacted(std::mem::take(&mut play.edits)),
            )
        })
        .filter(|(_, edits)| !edits.is_empty())
        .collect();
    while !edits.is_empty() {
        let now = edits.iter_mut().map(|(user, edits)| {
            let count = edits.len().min(EDITS_AT_ONCE);
            (user.clone(), edits.drain(..count).collect())
        });
        let now: Vec<_> = now.collect();
        metrics::wrote("usersSessions", now.len());
        presence.store.edit_connections(now).await?;
        edits.retain(|(_, edits)| !edits.is_empty());
    }
    Ok(())
}

/// Judges by what the connections are behind our own edits. Of two services that each end a connection of one user, both
/// may have read the other's as still there, and neither would find anything to write; the later look sees both edits.
async fn look_again(
    presence: &Presence,
    plays: &mut [Play],
    edited: Vec<String>,
    setting: &Setting<'_>,
) -> Result<(), Error> {
    if edited.is_empty() {
        return Ok(());
    }
    let (mut owners, mut connections) = look_up(presence, &edited).await?;
    for play in plays {
        let Some(owner) = owners.remove(&*play.user) else {
            continue;
        };
        let entries = connections.remove(&*play.user).unwrap_or_default();
        if play.differs_from(&entries) {
            play.inputs.push(Input::Recompute);
            play.again(owner, entries, setting);
        }
    }
    Ok(())
}

/// Writes what has changed, each user's only if nobody else was faster, and tells the others what was written here. Beside
/// other presence services it looks again at what the connections are by then: theirs may have come between our read and
/// our write, and they found nothing to write.
async fn write_statuses(
    presence: &Presence,
    mut plays: Vec<Play>,
    setting: &Setting<'_>,
    is_alone: bool,
) -> Result<(), Error> {
    for _ in 0..ATTEMPTS {
        plays.retain_mut(|play| {
            let is_changed = play.is_changed();
            if !is_changed && play.known.is_some() {
                tell(presence, play);
            }
            is_changed
        });
        if plays.is_empty() {
            return Ok(());
        }
        if let Err(error) = write(presence, &mut plays).await {
            for Play {
                user, owner, known, ..
            } in plays
            {
                if let Some(status) = known.or_else(|| owner.map(|owner| owner.status)) {
                    let untold = Action::Untold(Box::new(status));
                    presence.push(user, Command::silent(untold));
                }
            }
            return Err(error);
        }
        for play in plays.iter_mut().filter(|play| play.is_written) {
            tell(presence, play);
        }
        plays.retain(|play| !(is_alone && play.is_written));
        if plays.is_empty() {
            return Ok(());
        }
        let users: Vec<String> = plays.iter().map(|play| play.user.to_string()).collect();
        let (mut owners, mut connections) = look_up(presence, &users).await?;
        plays.retain_mut(|play| {
            let Some(owner) = owners.remove(&*play.user) else {
                return false;
            };
            let entries = connections.remove(&*play.user).unwrap_or_default();
            if play.is_written {
                if !play.differs_from(&entries) {
                    return false;
                }
                play.inputs = vec![Input::Recompute];
            }
            play.again(owner, entries, setting);
            true
        });
    }
    for play in plays {
        metrics::contended();
        presence.push(play.user, Command::silent(status(Input::Recompute)));
    }
    Ok(())
}

/// Writes them and notes of each whether it was written.
async fn write(presence: &Presence, plays: &mut [Play]) -> Result<(), Error> {
    let stamped = presence.is_engine();
    let (mut changed, mut writes) = (Vec::new(), Vec::new());
    for play in plays {
        if let Some(owner) = play.owner.clone() {
            writes.push(StatusWrite {
                owner,
                after: play.after.clone(),
                stamped,
            });
            changed.push(play);
        }
    }
    metrics::wrote("users", writes.len());
    let written = presence.store.write_statuses(&writes).await?;
    for (play, is_written) in changed.into_iter().zip(written) {
        play.is_written = is_written;
    }
    Ok(())
}

fn tell(presence: &Presence, play: &mut Play) {
    let known = play.known.take();
    if let Some(mut owner) = play.owner.clone() {
        owner.status = known.unwrap_or(owner.status);
        presence.tell(&owner, &play.after);
    }
}
