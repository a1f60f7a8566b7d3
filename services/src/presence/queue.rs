//! Commands in the order of their arrival, per user: what came off the bus first reaches the database first. Pure; time
//! comes in as an argument.
//!
//! A user's commands are taken all at once and carried out as one; meanwhile and for [`REST`] after that, what arrives for
//! the user waits and gathers. Users do not wait for each other.

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
    /// Users with commands and nothing that keeps them.
    ready: VecDeque<Arc<str>>,
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
        line.commands.push_back(command);
        if !line.is_held && line.commands.len() == 1 {
            self.ready.push_back(user);
        }
    }

    /// The commands of up to `users` users. Each of them is held until [`done`](Self::done).
    pub(super) fn take(&mut self, users: usize, now: Instant) -> Vec<Batch> {
        while let Some((_, user)) = self.resting.pop_front_if(|(until, _)| *until <= now) {
            self.wake(user);
        }
        let ready = self.ready.len().min(users);
        let batch = self.ready.drain(..ready).filter_map(|user| {
            let line = self.lines.get_mut(&user)?;
            line.is_held = true;
            let commands = std::mem::take(&mut line.commands).into();
            Some(Batch { user, commands })
        });
        batch.collect()
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

    /// When the next user may be taken; `None`: nobody waits for time to pass.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        if self.ready.is_empty() {
            self.resting.front().map(|(until, _)| *until)
        } else {
            Some(now)
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    fn wake(&mut self, user: Arc<str>) {
        let Some(line) = self.lines.get_mut(&user) else {
            return;
        };
        line.is_held = false;
        if line.commands.is_empty() {
            self.lines.remove(&user);
        } else {
            self.ready.push_back(user);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::command::Action;
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
        assert_eq!(queue.next(now), Some(now));
        let mut batch = queue.take(9, now).remove(0);
        assert_eq!(queue.next(now), None, "only the end of the write helps");
        batch.commands.clear();
        queue.done(batch, now);
        push(&mut queue, "a", "2");
        assert_eq!(queue.take(9, now).len(), 0);
        assert_eq!(queue.next(now), Some(now + REST));
        push(&mut queue, "b", "1");
        assert_eq!(&*queue.take(9, now)[0].user, "b");
        assert_eq!(&*queue.take(9, now + REST)[0].user, "a");
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
        assert_eq!(queue.next(now + REST), None);
    }
}
