//! A rate for many, shared fairly: who comes too early waits in the line of his address, and the lines take turns. A flood
//! from one address waits for itself.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

/// After a quiet time so much of the rate may pass at once.
const BURST: Duration = Duration::from_millis(100);

/// Who waits for a turn. Whoever drives it calls [`Turns::serve`] when it says so.
#[derive(Debug)]
pub(crate) struct Turns {
    interval: Duration,
    /// When the next one may pass.
    next: Option<Instant>,
    lines: HashMap<IpAddr, VecDeque<oneshot::Sender<()>>>,
    /// The order in which the lines have their turns.
    ring: VecDeque<IpAddr>,
    waiting: usize,
    waiting_max: usize,
}

/// What somebody gets who asks for a turn.
#[derive(Debug)]
pub(crate) enum Turn {
    Now,
    /// When this is told; an error is a refusal. Who does not wait any more loses nothing but his place.
    Wait(oneshot::Receiver<()>),
    Refused,
}

impl Turns {
    /// So many a second; as many wait as have their turns within that time.
    pub(crate) fn new(per_second: u32, wait_max: Duration) -> Self {
        let interval = Duration::from_secs(1) / per_second.max(1);
        Self {
            interval,
            next: None,
            lines: HashMap::new(),
            ring: VecDeque::new(),
            waiting: 0,
            waiting_max: (wait_max.as_secs_f64() * f64::from(per_second)).ceil() as usize,
        }
    }

    /// A turn for somebody from this address (its group, as limits count).
    pub(crate) fn ask(&mut self, group: IpAddr, now: Instant) -> Turn {
        let at = self.next_turn(now);
        if self.waiting == 0 && at <= now {
            self.next = Some(at + self.interval);
            return Turn::Now;
        }
        if self.waiting >= self.waiting_max && !self.make_room(group) {
            return Turn::Refused;
        }
        let (told, turn) = oneshot::channel();
        let ring = &mut self.ring;
        let line = self.lines.entry(group).or_insert_with(|| {
            ring.push_back(group);
            VecDeque::with_capacity(1)
        });
        line.push_back(told);
        self.waiting += 1;
        Turn::Wait(turn)
    }

    /// Lets pass whoever may; when to come back, if somebody waits.
    pub(crate) fn serve(&mut self, now: Instant) -> Option<Instant> {
        while let Some(group) = self.ring.front().copied() {
            let at = self.next_turn(now);
            if at > now {
                return Some(at);
            }
            self.ring.pop_front();
            let Some(line) = self.lines.get_mut(&group) else {
                continue;
            };
            let told = line.pop_front();
            if line.is_empty() {
                self.lines.remove(&group);
            } else {
                self.ring.push_back(group);
            }
            let Some(told) = told else { continue };
            self.waiting -= 1;
            // Who has gone costs no turn.
            if told.send(()).is_ok() {
                self.next = Some(at + self.interval);
            }
        }
        None
    }

    fn next_turn(&self, now: Instant) -> Instant {
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        self.next.map_or(earliest, |next| next.max(earliest))
    }

    /// Sends the last of the longest line away, unless that would be the line of this group itself.
    fn make_room(&mut self, group: IpAddr) -> bool {
        let own = self.lines.get(&group).map_or(0, VecDeque::len);
        // Most often it is the flood itself that asks: no need to look at the others.
        if own > self.waiting / self.lines.len().max(1) {
            return false;
        }
        let longest = self
            .lines
            .iter_mut()
            .max_by_key(|(_, line)| line.len())
            .filter(|(_, line)| line.len() > own.max(1));
        let Some((_, line)) = longest else {
            return false;
        };
        line.pop_back();
        self.waiting -= 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn address(last: u8) -> IpAddr {
        [203, 0, 113, last].into()
    }

    fn wait(turn: Turn) -> oneshot::Receiver<()> {
        match turn {
            Turn::Wait(turn) => turn,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_rate_holds_and_a_burst_passes_at_once() {
        let (mut turns, now) = (Turns::new(100, SECOND), Instant::now());
        let ask = |turns: &mut Turns| turns.ask(address(1), now);
        let mut waiting = Vec::new();
        let mut passed = 0;
        for _ in 0..50 {
            match ask(&mut turns) {
                Turn::Now => passed += 1,
                turn => waiting.push(wait(turn)),
            }
        }
        assert_eq!(passed, 11);
        let mut told = |turns: &mut Turns, after: Duration| {
            let next = turns.serve(now + after);
            waiting.retain_mut(|turn| turn.try_recv().is_err());
            (waiting.len(), next.is_some())
        };
        assert_eq!(told(&mut turns, Duration::ZERO), (39, true));
        assert_eq!(told(&mut turns, Duration::from_millis(100)), (29, true));
        assert_eq!(told(&mut turns, SECOND), (18, true));
    }

    #[test]
    fn an_honest_address_does_not_wait_behind_a_flood() {
        let (mut turns, now) = (Turns::new(10, 2 * SECOND), Instant::now());
        let mut flood: Vec<_> = (0..1_000).map(|_| turns.ask(address(1), now)).collect();
        assert!(matches!(flood.last(), Some(Turn::Refused)));
        let mut honest = wait(turns.ask(address(2), now));
        // The last of the flood has gone for him.
        assert_eq!(turns.waiting, 20);
        let displaced = flood.iter_mut().filter_map(|turn| match turn {
            Turn::Wait(turn) => turn.try_recv().err(),
            _ => None,
        });
        let displaced = displaced.filter(|error| *error == oneshot::error::TryRecvError::Closed);
        assert_eq!(displaced.count(), 1);
        turns.serve(now + 2 * turns.interval);
        assert_eq!(honest.try_recv(), Ok(()), "after one of the flood");
    }

    #[test]
    fn who_has_gone_costs_no_turn_and_leaves_nothing() {
        let (mut turns, now) = (Turns::new(10, 10 * SECOND), Instant::now());
        let mut waiting: Vec<_> = (0..52).map(|_| turns.ask(address(1), now)).collect();
        let mut last = wait(waiting.pop().unwrap());
        drop(waiting);
        turns.serve(now + turns.interval);
        assert_eq!(last.try_recv(), Ok(()));
        assert_eq!(
            (turns.waiting, turns.lines.len(), turns.ring.len()),
            (0, 0, 0)
        );
    }
}
