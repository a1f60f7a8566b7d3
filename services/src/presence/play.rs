//! One user's commands played on what the database holds: which entries to edit, what the status becomes, what the
//! callers hear. Pure but for what it remembers in [`Swept`].

use std::{collections::HashSet, sync::Arc, time::Instant};

use bytes::Bytes;
use serde_json::json;
use store::{Connection, ConnectionEdit, Status, StatusOwner};

use super::{
    command::{Action, Command},
    engine::{Input, Scene, step},
    swept::{Entry, Swept},
};
use crate::{
    errors::{meteor, plain},
    serve::Outcome,
};

/// A user in play.
pub(super) struct Play {
    pub(super) user: Arc<str>,
    /// `None`: there is no such user; connections are kept all the same, as in the original.
    pub(super) owner: Option<StatusOwner>,
    pub(super) entries: Vec<Connection>,
    pub(super) edits: Vec<ConnectionEdit>,
    pub(super) after: Status,
    /// What others know, where that may not be what the database says.
    pub(super) known: Option<Status>,
    /// What was done to the status, to be done again if somebody else was faster.
    pub(super) inputs: Vec<Input>,
    /// Nodes that have sent a heartbeat for an entry of theirs.
    pub(super) refreshing: Vec<String>,
    /// Sessions put here of which another presence service may have heard the end.
    pub(super) doubtful: Vec<String>,
    /// Sessions that ended and were not there.
    pub(super) unseen: Vec<String>,
    /// Whether the last write was carried out.
    pub(super) is_written: bool,
    is_service: bool,
}

/// What surrounds the users of one round.
pub(super) struct Setting<'a> {
    pub(super) now: Instant,
    /// In ms since 1970.
    pub(super) clock: i64,
    /// Nodes that are on the network.
    pub(super) nodes: &'a HashSet<Arc<str>>,
    /// Those of them that tell again what was not taken.
    pub(super) insistent: &'a HashSet<Arc<str>>,
    /// Whoever asked before this may have counted us as lost, and have told another presence service since then.
    pub(super) stable_since: Instant,
    /// Nodes that send heartbeats for their connections.
    pub(super) refreshing: &'a HashSet<String>,
    /// The workspace lets people hide.
    pub(super) may_hide: bool,
}

impl Play {
    pub(super) fn new(
        user: Arc<str>,
        owner: Option<StatusOwner>,
        entries: Vec<Connection>,
    ) -> Self {
        let kind = owner.as_ref().and_then(|owner| owner.kind.as_deref());
        let roles = owner.as_ref().and_then(|owner| owner.roles.as_deref());
        let is_bot = |roles: &[String]| roles.iter().any(|role| role == "bot");
        let is_service = matches!(kind, Some("bot" | "app")) || roles.is_some_and(is_bot);
        Self {
            user,
            after: owner
                .as_ref()
                .map(|owner| owner.status.clone())
                .unwrap_or_default(),
            owner,
            known: None,
            entries,
            edits: Vec::new(),
            inputs: Vec::new(),
            refreshing: Vec::new(),
            doubtful: Vec::new(),
            unseen: Vec::new(),
            is_written: false,
            is_service,
        }
    }

    /// Plays one command; what its caller hears once it is in the database.
    pub(super) fn command(
        &mut self,
        command: &Command,
        setting: &Setting<'_>,
        swept: &mut Swept,
    ) -> Outcome {
        let is_late = command.is_late(setting.now);
        let is_unsettled = command.reply.is_some() && command.asked < setting.stable_since;
        let user = self.user.clone();
        match &command.action {
            Action::Put { node, .. } | Action::Remove { node, .. }
                if is_unsettled && setting.insistent.contains(&**node) =>
            {
                Err(plain("the network was not stable meanwhile"))
            }
            // Nobody knows whether its caller, or its socket, still lives: a heartbeat will tell.
            Action::Put { session, node }
                if is_late || (is_unsettled && setting.refreshing.contains(node)) =>
            {
                let (node, status) = (node.clone(), "online".to_owned());
                swept.remember(&user, session, Entry { node, status }, setting.now);
                Ok(None)
            }
            Action::Put { session, node } => {
                if is_unsettled {
                    self.doubtful.push(session.clone());
                }
                self.put(session, node, "online");
                self.status(&Input::Recompute, setting);
                answer(json!({ "uid": &*user, "connectionId": session }))
            }
            Action::Remove { session, .. } => {
                swept.forget(&user, session);
                let known = self.entries.len();
                self.entries.retain(|entry| entry.id != *session);
                if self.entries.len() == known && command.reply.is_some() {
                    self.unseen.push(session.clone());
                }
                self.edits.push(ConnectionEdit::Remove(session.clone()));
                self.status(&Input::Recompute, setting);
                answer(json!({ "uid": &*user, "session": session }))
            }
            Action::Sweep { entries } => {
                for (session, since) in entries {
                    self.sweep(session, *since, setting, swept);
                }
                // Whoever took the entries away before may not have come to this.
                self.status(&Input::Recompute, setting);
                Ok(None)
            }
            Action::Untold(status) => {
                // The oldest of several is what they have heard of last.
                self.known.get_or_insert_with(|| (**status).clone());
                self.status(&Input::Recompute, setting);
                Ok(None)
            }
            _ if is_late => Ok(None),
            Action::Touch { session, sender } => {
                if let Some(entry) = self.entries.iter().find(|entry| entry.id == *session) {
                    self.refreshing.push(entry.node.clone());
                    self.edits.push(ConnectionEdit::Touch(session.clone()));
                } else if let Some(entry) = swept.find(&user, session, setting.now)
                    && setting.nodes.contains(sender)
                {
                    self.put(session, &entry.node, &entry.status);
                } else {
                    return Ok(None);
                }
                self.status(&Input::Recompute, setting);
                answer(json!({ "uid": &*user, "connectionId": session }))
            }
            Action::SetStatus { session, status } => {
                let mut found = false;
                for entry in self.entries.iter_mut().filter(|entry| entry.id == *session) {
                    entry.status = Some((*status).to_owned());
                    found = true;
                }
                if found {
                    self.edits.push(ConnectionEdit::SetStatus {
                        session: session.clone(),
                        status: (*status).to_owned(),
                    });
                    self.status(&Input::Recompute, setting);
                }
                answer(found.into())
            }
            Action::Status { hides: true, .. } if !setting.may_hide => Err(meteor(
                "error-status-not-allowed",
                "Invisible status is disabled",
            )),
            Action::Status { input, .. } => {
                let accepted = self.status(input, setting);
                match input {
                    Input::Recompute => Ok(None),
                    _ => answer(accepted.into()),
                }
            }
        }
    }

    /// What the callers asked of the status, once more on what somebody else has written meanwhile.
    pub(super) fn again(
        &mut self,
        owner: StatusOwner,
        entries: Vec<Connection>,
        setting: &Setting<'_>,
    ) {
        let was = self.owner.replace(owner);
        let is = self.owner.as_ref().expect("just put there");
        // Whoever ended a claim without naming it meant the one that was there, not one that it covered.
        let is_another = was.is_some_and(|was| was.status.claim != is.status.claim);
        self.after = is.status.clone();
        self.entries = entries;
        for input in std::mem::take(&mut self.inputs) {
            if !(is_another && input == Input::End(None)) {
                self.status(&input, setting);
            }
        }
    }

    /// Whether anything is to be written in `users`.
    pub(super) fn is_changed(&self) -> bool {
        self.owner
            .as_ref()
            .is_some_and(|owner| owner.status != self.after)
    }

    /// Whether other entries count now.
    pub(super) fn differs_from(&self, entries: &[Connection]) -> bool {
        statuses(&self.entries) != statuses(entries)
    }

    /// True if the status changed, or (for a claim) if it was accepted.
    fn status(&mut self, input: &Input, setting: &Setting<'_>) -> bool {
        if self.owner.is_none() {
            return false;
        }
        if self.inputs.last() != Some(&Input::Recompute) || *input != Input::Recompute {
            self.inputs.push(input.clone());
        }
        let scene = Scene {
            is_service: self.is_service,
            connections: &statuses(&self.entries),
            now: setting.clock,
        };
        let Some(after) = step(&self.after, scene, input) else {
            return false;
        };
        let changed = after != self.after;
        self.after = after;
        // Before 8.6 the answer tells whether anything changed.
        changed || !matches!(input, Input::Choose { .. })
    }

    fn put(&mut self, session: &str, node: &str, status: &str) {
        self.entries.retain(|entry| entry.id != session);
        self.entries.push(Connection {
            id: session.to_owned(),
            node: node.to_owned(),
            status: Some(status.to_owned()),
            // The database's clock fills these in.
            created: i64::MAX,
            touched: i64::MAX,
        });
        self.edits.push(ConnectionEdit::Put {
            session: session.to_owned(),
            node: node.to_owned(),
            status: status.to_owned(),
        });
    }

    fn sweep(&mut self, session: &str, since: i64, setting: &Setting<'_>, swept: &mut Swept) {
        let is_meant = |entry: &mut Connection| entry.id == session && entry.touched <= since;
        for entry in self.entries.extract_if(.., is_meant) {
            let entry = Entry {
                node: entry.node,
                status: entry.status.unwrap_or_else(|| "online".to_owned()),
            };
            swept.remember(&self.user, session, entry, setting.now);
        }
        self.edits.push(ConnectionEdit::RemoveUntouched {
            session: session.to_owned(),
            since,
        });
    }
}

/// What counts of connections.
fn statuses(entries: &[Connection]) -> Vec<Option<String>> {
    entries.iter().map(|entry| entry.status.clone()).collect()
}

/// Leaves out edits that a later one of the same session makes void.
pub(super) fn compacted(edits: Vec<ConnectionEdit>) -> Vec<ConnectionEdit> {
    let mut settled: HashSet<String> = HashSet::new();
    let mut set: HashSet<String> = HashSet::new();
    let mut touched: HashSet<String> = HashSet::new();
    let mut kept = Vec::with_capacity(edits.len());
    for edit in edits.into_iter().rev() {
        let is_void = match &edit {
            ConnectionEdit::Put { session, .. } | ConnectionEdit::Remove(session) => {
                !settled.insert(session.clone())
            }
            ConnectionEdit::RemoveUntouched { session, .. } => settled.contains(session),
            ConnectionEdit::SetStatus { session, .. } => {
                touched.insert(session.clone());
                settled.contains(session) || !set.insert(session.clone())
            }
            ConnectionEdit::Touch(session) => {
                settled.contains(session) || !touched.insert(session.clone())
            }
        };
        if !is_void {
            kept.push(edit);
        }
    }
    kept.reverse();
    kept
}

fn answer(value: serde_json::Value) -> Outcome {
    Ok(Some(Bytes::from(value.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(session: &str) -> ConnectionEdit {
        ConnectionEdit::Put {
            session: session.into(),
            node: "n".into(),
            status: "online".into(),
        }
    }

    fn remove(session: &str) -> ConnectionEdit {
        ConnectionEdit::Remove(session.into())
    }

    fn touch(session: &str) -> ConnectionEdit {
        ConnectionEdit::Touch(session.into())
    }

    fn away(session: &str) -> ConnectionEdit {
        ConnectionEdit::SetStatus {
            session: session.into(),
            status: "away".into(),
        }
    }

    /// A user of whom the database holds these sessions of `n1`, last touched at 10.
    struct Scenario {
        play: Play,
        swept: Swept,
        nodes: HashSet<Arc<str>>,
        stable_since: Instant,
        refreshing: HashSet<String>,
    }

    impl Scenario {
        fn new(sessions: &[&str]) -> Self {
            let entry = |session: &&str| Connection {
                id: (*session).into(),
                node: "n1".into(),
                status: Some("away".into()),
                created: 0,
                touched: 10,
            };
            Self {
                play: Play::new("u".into(), None, sessions.iter().map(entry).collect()),
                swept: Swept::default(),
                nodes: HashSet::from(["n1".into()]),
                stable_since: Instant::now(),
                refreshing: HashSet::from(["theirs".into()]),
            }
        }

        fn play(&mut self, action: Action) -> Option<String> {
            self.play_with(action, false)
        }

        fn play_with(&mut self, action: Action, is_late: bool) -> Option<String> {
            let now = Instant::now();
            let command = Command {
                deadline: is_late.then_some(now),
                ..Command::silent(action)
            };
            let answer = self.carry_out(&command, now).ok().flatten();
            answer.map(|answer| String::from_utf8_lossy(&answer).into_owned())
        }

        fn carry_out(&mut self, command: &Command, now: Instant) -> Outcome {
            let setting = Setting {
                now,
                clock: 0,
                nodes: &self.nodes,
                insistent: &self.nodes,
                stable_since: self.stable_since,
                refreshing: &self.refreshing,
                may_hide: true,
            };
            self.play.command(command, &setting, &mut self.swept)
        }

        /// A heartbeat; whether it was answered.
        fn beat(&mut self, session: &str, sender: &str) -> bool {
            let (session, sender) = (session.into(), sender.into());
            self.play(Action::Touch { session, sender }).is_some()
        }

        fn sweep(&mut self, session: &str, since: i64) {
            let entries = vec![(session.into(), since)];
            self.play(Action::Sweep { entries });
        }

        fn end(&mut self, session: &str) {
            let session = session.into();
            self.play(Action::Remove {
                session,
                node: String::new(),
            });
        }

        fn sessions(&self) -> Vec<&str> {
            self.play.entries.iter().map(|it| it.id.as_str()).collect()
        }
    }

    #[test]
    fn a_swept_entry_comes_back_with_a_heartbeat_of_a_node_that_is_there() {
        let mut it = Scenario::new(&["a", "b"]);
        it.sweep("a", 10);
        assert_eq!(it.sessions(), ["b"]);
        assert!(!it.beat("a", "gone"));
        assert!(it.beat("a", "n1"));
        assert_eq!(it.sessions(), ["b", "a"]);
        assert_eq!(it.play.entries[1].status.as_deref(), Some("away"));
    }

    #[test]
    fn what_was_asked_before_the_network_was_stable_is_told_again_by_those_who_do() {
        let mut it = Scenario::new(&["there"]);
        let mut asked = |session: &str, node: &str, ends: bool| {
            let (session, node) = (session.to_owned(), node.to_owned());
            let action = match ends {
                true => Action::Remove { session, node },
                false => Action::Put { session, node },
            };
            let (reply, _answer) = tokio::sync::oneshot::channel();
            let command = Command {
                reply: Some(reply),
                ..Command::silent(action)
            };
            it.stable_since = Instant::now() + std::time::Duration::from_secs(1);
            it.carry_out(&command, Instant::now()).is_err()
        };
        assert!(asked("new", "n1", false) && asked("there", "n1", true));
        assert!(!asked("old", "a node of an old line", false));
        assert!(!asked("new", "theirs", false) && !asked("gone", "theirs", true));
        assert_eq!(it.sessions(), ["there", "old"]);
        // Others may know that it is over; of one with heartbeats the next one tells that it is not.
        assert_eq!(
            (it.play.doubtful.as_slice(), it.play.unseen.as_slice()),
            (&["old".to_owned()][..], &["gone".to_owned()][..])
        );
        assert!(it.beat("new", "n1"));
        assert_eq!(it.sessions(), ["there", "old", "new"]);
    }

    #[test]
    fn an_entry_that_was_touched_since_is_not_swept() {
        let mut it = Scenario::new(&["a"]);
        it.sweep("a", 9);
        assert_eq!(it.sessions(), ["a"]);
    }

    #[test]
    fn what_has_ended_never_comes_back() {
        let mut it = Scenario::new(&["a", "b"]);
        it.end("a");
        it.sweep("b", 10);
        it.end("b");
        for session in ["a", "b", "unheard of"] {
            assert!(!it.beat(session, "n1"));
        }
        assert_eq!(it.sessions(), Vec::<&str>::new());
    }

    #[test]
    fn of_what_comes_too_late_only_the_end_happens_and_a_heartbeat_brings_a_login() {
        let mut it = Scenario::new(&["a"]);
        let put = |session: &str| Action::Put {
            session: session.into(),
            node: "n1".into(),
        };
        let away = Action::SetStatus {
            session: "a".into(),
            status: "online",
        };
        it.play_with(put("b"), true);
        it.play_with(away, true);
        assert_eq!(it.sessions(), ["a"]);
        assert_eq!(it.play.entries[0].status.as_deref(), Some("away"));
        let session = "a".into();
        let node = String::new();
        it.play_with(Action::Remove { session, node }, true);
        assert_eq!(it.sessions(), Vec::<&str>::new());
        assert!(it.beat("b", "n1"));
        assert_eq!(it.sessions(), ["b"]);
        it.play_with(put("c"), true);
        it.end("c");
        assert!(!it.beat("c", "n1"));
    }

    #[test]
    fn a_heartbeat_tells_whose_entries_are_kept_fresh() {
        let mut it = Scenario::new(&["a"]);
        it.beat("a", "a monolith's name on the bus");
        assert_eq!(it.play.refreshing, ["n1"]);
    }

    #[test]
    fn only_the_last_word_on_a_session_is_written() {
        for (edits, kept) in [
            (vec![put("a"), touch("a"), remove("a")], vec![remove("a")]),
            (vec![remove("a"), put("a")], vec![put("a")]),
            (
                vec![touch("a"), away("a"), touch("a")],
                vec![away("a"), touch("a")],
            ),
            (
                vec![touch("a"), put("b"), touch("a")],
                vec![put("b"), touch("a")],
            ),
            (
                vec![touch("a"), away("a"), remove("b")],
                vec![away("a"), remove("b")],
            ),
        ] {
            assert_eq!(compacted(edits.clone()), kept, "{edits:?}");
        }
    }
}
