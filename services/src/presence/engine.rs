//! What a user's status becomes: a state, an input and a time give the next state (services.md 4.5, 4.6). No store, no
//! clock, nothing async; what must be written and told follows from the two states.

use store::{Claim, Status};

use super::merge::{WORDS, merge_connections, merge_default};

/// What happens to a user's status.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Input {
    /// The connections may have changed, or somebody else has written.
    Recompute,
    /// A look at the truth: like `Recompute` where `statusConnection` is not what the connections say, else nothing.
    Audit,
    /// `setStatus` of a server before 8.6; what is missing stays.
    Choose {
        default: Option<&'static str>,
        text: Option<String>,
    },
    /// Somebody claims the status; `text: None` keeps the text there is.
    Set(Claim),
    /// The claim with this id ends, or whichever is in force.
    End(Option<String>),
    /// The claim in force ends if its time is up.
    Expire,
    /// Back to what the connections say.
    Clear,
}

/// The user around the status.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene<'a> {
    /// A bot or an app: its status may show without a connection.
    pub(super) is_service: bool,
    /// The status of each connection, in order.
    pub(super) connections: &'a [Option<String>],
    /// In ms since 1970.
    pub(super) now: i64,
}

/// The next state; `None`: the input is rejected and nothing happens.
pub(super) fn step(before: &Status, scene: Scene<'_>, input: &Input) -> Option<Status> {
    let mut after = before.clone();
    // What shows of somebody without a connection.
    let mut shows_alone = false;
    let mut default_for_show = None;
    match input {
        Input::Recompute => {}
        Input::Audit => {
            if scene.connection() == before.connection.as_deref() {
                return None;
            }
        }
        Input::Choose { default, text } => {
            choose(&mut after, *default, text.as_deref());
            // A missing default is used, and not stored (services.md 13).
            default_for_show = Some(*default);
        }
        Input::Set(claim) => {
            set(before, &mut after, claim, scene.now)?;
            shows_alone = scene.is_service;
        }
        Input::End(id) => end(before, &mut after, id.as_deref(), scene.now)?,
        Input::Expire => {
            if !is_expired(&before.claim, scene.now) {
                return None;
            }
            end(before, &mut after, None, scene.now)?;
        }
        Input::Clear => {
            clear(&mut after);
            shows_alone = scene.is_service;
        }
    }
    let connection = scene.connection();
    let default = match default_for_show {
        Some(default) => default,
        None => after.claim.default.as_deref(),
    };
    let shown = if scene.connections.is_empty() {
        let alone = shows_alone.then_some(default).flatten();
        Some(alone.unwrap_or("offline"))
    } else {
        merge_default(connection, default)
    };
    let (shown, connection) = (shown.map(str::to_owned), connection.map(str::to_owned));
    after.shown = shown;
    after.connection = connection;
    Some(after)
}

/// Whether others hear of a change: something that shows differs, and what shows is a word that they know.
pub(super) fn is_told(before: &Status, after: &Status) -> bool {
    let (old, new) = (&before.claim, &after.claim);
    let differs = before.shown != after.shown
        || old.text.as_deref().unwrap_or_default() != new.text.as_deref().unwrap_or_default()
        || old.source != new.source
        || old.expires != new.expires;
    let is_known = |shown: &String| WORDS.contains(&shown.as_str());
    differs && after.shown.as_ref().is_some_and(is_known)
}

impl Scene<'_> {
    /// What the connections alone say.
    fn connection(&self) -> Option<&str> {
        merge_connections(self.connections.iter().map(Option::as_deref))
    }
}

/// The rules before 8.6. Where a newer server has left a claim, that claim is over: left behind, it would come back
/// later over what was chosen here.
fn choose(after: &mut Status, default: Option<&str>, text: Option<&str>) {
    if let Some(text) = text {
        after.claim.text = Some(text.to_owned());
    }
    if let Some(default) = default {
        after.claim = Claim {
            default: Some(default.to_owned()),
            text: after.claim.text.take(),
            ..Claim::default()
        };
        after.previous = None;
    }
}

fn set(before: &Status, after: &mut Status, claim: &Claim, now: i64) -> Option<()> {
    let current = &before.claim;
    let is_manual = claim.source.as_deref() == Some("manual");
    if current.default.as_deref() == Some("offline") && !is_manual {
        return None;
    }
    if priority(claim) <= priority(current) {
        let is_stashed = !is_manual
            && current.source.is_some()
            && (current.source != claim.source || claim.source.as_deref() == Some("internal"));
        if is_manual {
            after.previous = None;
        } else if is_stashed {
            after.previous = Some(stashed(current));
        }
        let text = claim.text.clone().or_else(|| current.text.clone());
        after.claim = Claim {
            text,
            ..claim.clone()
        };
        return Some(());
    }
    if let Some(stash) = &before.previous
        && !is_expired(stash, now)
    {
        let may_replace =
            claim.source.is_some() && stash.source.is_some() && priority(claim) <= priority(stash);
        may_replace.then_some(())?;
    }
    after.previous = Some(stashed(claim));
    Some(())
}

fn end(before: &Status, after: &mut Status, id: Option<&str>, now: i64) -> Option<()> {
    if id.is_some() && id != before.claim.id.as_deref() {
        let waits = before
            .previous
            .as_ref()
            .is_some_and(|stash| stash.id.as_deref() == id);
        after.previous = None;
        return waits.then_some(());
    }
    match &before.previous {
        Some(stash) if !is_expired(stash, now) => {
            let text = stash.text.clone().or_else(|| before.claim.text.clone());
            after.claim = Claim {
                text,
                ..stash.clone()
            };
            after.previous = None;
        }
        _ => clear(after),
    }
    Some(())
}

fn clear(after: &mut Status) {
    after.claim = Claim {
        default: Some("online".to_owned()),
        text: Some(String::new()),
        ..Claim::default()
    };
    after.previous = None;
}

/// A claim as it waits; a missing text is an empty one there.
fn stashed(claim: &Claim) -> Claim {
    Claim {
        text: Some(claim.text.clone().unwrap_or_default()),
        ..claim.clone()
    }
}

/// Lower wins.
fn priority(claim: &Claim) -> u8 {
    match claim.source.as_deref() {
        Some("internal") => 1,
        Some("manual") => 2,
        Some("external") => 3,
        _ => 4,
    }
}

fn is_expired(claim: &Claim, now: i64) -> bool {
    claim.expires.is_some_and(|expires| expires < now)
}

#[cfg(test)]
mod tests;
