//! Commands in the order of their arrival, per user: what came off the bus first reaches the database first. Pure; time
//! comes in as an argument.
//!
//! A user's commands are taken all at once and carried out as one; meanwhile and for [`REST`] after that, what arrives for
//! the user waits and gathers. Users do not wait for each other; and who chooses a status, which a person does and looks at,
//! does not wait behind everybody who connects in a storm.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use super::command::Command;

/// A user's writes are at least so far apart: a storm of one user's sockets is one write per interval.
pub(super) const REST: Duration = Duration::from_millis(50);

/// All commands that wait, and whose turn it is.
#[derive(Default)]
pub(super) struct Queue {
    lines: HashMap<Arc<str>, Line>,
    /// Users with commands and nothing that keeps them; one who was taken as a chooser may still be listed.
    ready: VecDeque<Arc<str>>,
    /// Those of them who choose a status.
    choosers: VecDeque<Arc<str>>,
    /// Users whose commands were carried out a moment ago, by the end of their rest.
    resting: VecDeque<(Instant, Arc<str>)>,
}

#[derive(Default)]
struct Line {
    commands: VecDeque<Command>,
    /// Its commands are being carried out, or that was a moment ago.
    is_held: bool,
}

/// What one user waits for, oldest first.
pub(super) struct Batch {
    pub(super) user: Arc<str>,
    pub(super) commands: Vec<Command>,
}

impl Queue {
    pub(super) fn push(&mut self, user: Arc<str>, command: Command) {
        let line = self.lines.entry(user.clone()).or_default();
        let chooses = command.action.chooses() && !line.chooses();
        line.commands.push_back(command);
        if line.is_held {
            return;
        }
        if chooses {
            self.choosers.push_back(user);
        } else if line.commands.len() == 1 {
            self.ready.push_back(user);
        }
    }

    /// The commands of up to `users` users in the order of their arrival. Each of them is held until [`done`](Self::done).
    pub(super) fn take(&mut self, users: usize, now: Instant) -> Vec<Batch> {
        self.wake(now);
        take_of(&mut self.ready, &mut self.lines, users)
    }

    /// The same of those alone who choose a status, with whatever else waits for them.
    pub(super) fn take_choosers(&mut self, users: usize, now: Instant) -> Vec<Batch> {
        self.wake(now);
        take_of(&mut self.choosers, &mut self.lines, users)
    }

    /// These commands were carried out, but for those still in the batch: they stay in front.
    pub(super) fn done(&mut self, batch: Batch, now: Instant) {
        if let Some(line) = self.lines.get_mut(&batch.user) {
            for command in batch.commands.into_iter().rev() {
                line.commands.push_front(command);
            }
            self.resting.push_back((now + REST, batch.user));
        }
    }

    /// When the next of those who rest may be taken; `None`: nobody waits for time to pass.
    pub(super) fn next(&self) -> Option<Instant> {
        self.resting.front().map(|(until, _)| *until)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    fn wake(&mut self, now: Instant) {
        while let Some((_, user)) = self.resting.pop_front_if(|(until, _)| *until <= now) {
            let Some(line) = self.lines.get_mut(&user) else {
                continue;
            };
            line.is_held = false;
            if line.commands.is_empty() {
                self.lines.remove(&user);
            } else if line.chooses() {
                self.choosers.push_back(user);
            } else {
                self.ready.push_back(user);
            }
        }
    }
}

impl Line {
    fn chooses(&self) -> bool {
        let mut commands = self.commands.iter();
        commands.any(|command| command.action.chooses())
    }
}

fn take_of(
    turns: &mut VecDeque<Arc<str>>,
    lines: &mut HashMap<Arc<str>, Line>,
    users: usize,
) -> Vec<Batch> {
    let mut batches = Vec::new();
    while batches.len() < users
        && let Some(user) = turns.pop_front()
    {
        if let Some(line) = lines.get_mut(&user)
            && !line.is_held
        {
            line.is_held = true;
            let commands = std::mem::take(&mut line.commands).into();
            batches.push(Batch { user, commands });
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::super::{command::Action, engine::Input};
    use super::*;

    fn command(session: &str) -> Command {
        Command::silent(Action::Remove {
            session: session.into(),
            node: String::new(),
        })
    }

    fn sessions(batch: &Batch) -> Vec<&str> {
        batch
            .commands
            .iter()
            .map(|command| match &command.action {
                Action::Remove { session, .. } => session.as_str(),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    fn push(queue: &mut Queue, user: &str, session: &str) {
        queue.push(user.into(), command(session));
    }

    #[test]
    fn a_user_is_taken_whole_and_in_order_and_by_one_at_a_time() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for (user, session) in [("a", "1"), ("b", "1"), ("a", "2"), ("a", "3")] {
            push(&mut queue, user, session);
        }
        let mut taken = queue.take(1, now);
        let a = taken.remove(0);
        assert_eq!((&*a.user, sessions(&a)), ("a", vec!["1", "2", "3"]));
        push(&mut queue, "a", "4");
        let b = queue.take(9, now);
        assert_eq!(b.len(), 1, "only b is free");
        assert_eq!(queue.take(9, now).len(), 0);
    }

    #[test]
    fn what_was_not_carried_out_stays_in_front_of_what_came_later() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for session in ["1", "2", "3"] {
            push(&mut queue, "a", session);
        }
        let mut batch = queue.take(9, now).remove(0);
        push(&mut queue, "a", "4");
        batch.commands.remove(0);
        queue.done(batch, now);
        let again = queue.take(9, now + REST).remove(0);
        assert_eq!(sessions(&again), ["2", "3", "4"]);
    }

    #[test]
    fn a_user_rests_after_a_write_and_others_do_not_wait_for_it() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        push(&mut queue, "a", "1");
        let mut batch = queue.take(9, now).remove(0);
        assert_eq!(queue.next(), None, "only the end of the write helps");
        batch.commands.clear();
        queue.done(batch, now);
        push(&mut queue, "a", "2");
        assert_eq!(queue.take(9, now).len(), 0);
        assert_eq!(queue.next(), Some(now + REST));
        push(&mut queue, "b", "1");
        assert_eq!(&*queue.take(9, now)[0].user, "b");
        assert_eq!(&*queue.take(9, now + REST)[0].user, "a");
    }

    #[test]
    fn who_chooses_is_taken_ahead_of_those_who_came_before_and_with_what_came_before() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for (user, session) in [("a", "1"), ("b", "1"), ("c", "1"), ("b", "2")] {
            push(&mut queue, user, session);
        }
        let choice = || {
            Command::silent(Action::Status {
                input: Input::Clear,
                hides: false,
            })
        };
        for _ in 0..2 {
            queue.push("b".into(), choice());
        }
        let mut taken = queue.take_choosers(9, now);
        let mut b = taken.remove(0);
        assert_eq!((taken.len(), &*b.user, b.commands.len()), (0, "b", 4));
        let choices = b.commands.split_off(2);
        assert_eq!(sessions(&b), ["1", "2"]);
        assert!(choices.iter().all(|command| command.action.chooses()));
        // What comes while that is carried out, and when it was: both in their turn.
        queue.push("b".into(), choice());
        let taken = queue.take(9, now);
        let users: Vec<_> = taken.iter().map(|batch| &*batch.user).collect();
        assert_eq!(users, ["a", "c"]);
        b.commands.clear();
        queue.done(b, now);
        assert_eq!(queue.take_choosers(9, now).len(), 0);
        assert_eq!(queue.next(), Some(now + REST));
        assert_eq!(queue.take_choosers(9, now + REST)[0].commands.len(), 1);
    }

    #[test]
    fn nothing_is_kept_of_users_who_wait_for_nothing() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for user in ["a", "b", "c"] {
            push(&mut queue, user, "1");
        }
        for mut batch in queue.take(9, now) {
            batch.commands.clear();
            queue.done(batch, now);
        }
        assert!(!queue.is_empty());
        assert_eq!(queue.take(9, now + REST).len(), 0);
        assert!(queue.is_empty());
        assert_eq!(queue.next(), None);
    }
}
