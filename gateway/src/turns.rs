//! A rate for many, shared fairly: who comes too early waits among those of his address, and the addresses take turns;
//! within an address its users do. A flood waits for itself.

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
    addresses: HashMap<IpAddr, Address>,
    /// The order in which the addresses have their turns.
    ring: VecDeque<IpAddr>,
    waiting: usize,
    waiting_max: usize,
}

/// Those of one address who wait: a line for each user, never empty.
#[derive(Debug, Default)]
struct Address {
    lines: HashMap<u64, VecDeque<oneshot::Sender<()>>>,
    /// The order in which the users have their turns.
    ring: VecDeque<u64>,
    waiting: usize,
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
            addresses: HashMap::new(),
            ring: VecDeque::new(),
            waiting: 0,
            waiting_max: (wait_max.as_secs_f64() * f64::from(per_second)).ceil() as usize,
        }
    }

    /// A turn for a user (any number that tells users apart) at an address (its group, as limits count).
    pub(crate) fn ask(&mut self, group: IpAddr, user: u64, now: Instant) -> Turn {
        let at = self.next_turn(now);
        if self.waiting == 0 && at <= now {
            self.next = Some(at + self.interval);
            return Turn::Now;
        }
        if self.waiting >= self.waiting_max && !self.make_room(group, user) {
            return Turn::Refused;
        }
        let (told, turn) = oneshot::channel();
        let ring = &mut self.ring;
        let address = self.addresses.entry(group).or_insert_with(|| {
            ring.push_back(group);
            Address::default()
        });
        address.push(user, told);
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
            let Some(address) = self.addresses.get_mut(&group) else {
                continue;
            };
            let told = address.pop();
            if address.waiting == 0 {
                self.addresses.remove(&group);
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

    /// Sends somebody away: the last of the longest line of the fullest address. If that is this address, only for a user
    /// who is not the one with the longest line.
    fn make_room(&mut self, group: IpAddr, user: u64) -> bool {
        let own = self.addresses.get(&group).map_or(0, |own| own.waiting);
        // Most often it is the flood itself that asks: no need to look at the others.
        let fullest = if own > self.waiting / self.addresses.len().max(1) {
            Some(group)
        } else {
            let all = self.addresses.iter();
            all.max_by_key(|(_, address)| address.waiting)
                .map(|(group, _)| *group)
        };
        let Some(address) = fullest.and_then(|fullest| self.addresses.get_mut(&fullest)) else {
            return false;
        };
        let made = if fullest == Some(group) {
            address.shorten(Some(user))
        } else {
            address.waiting > own.max(1) && address.shorten(None)
        };
        self.waiting -= usize::from(made);
        made
    }
}

impl Address {
    fn push(&mut self, user: u64, told: oneshot::Sender<()>) {
        let ring = &mut self.ring;
        let line = self.lines.entry(user).or_insert_with(|| {
            ring.push_back(user);
            VecDeque::with_capacity(1)
        });
        line.push_back(told);
        self.waiting += 1;
    }

    fn pop(&mut self) -> Option<oneshot::Sender<()>> {
        let user = self.ring.pop_front()?;
        let line = self.lines.get_mut(&user)?;
        let told = line.pop_front()?;
        if line.is_empty() {
            self.lines.remove(&user);
        } else {
            self.ring.push_back(user);
        }
        self.waiting -= 1;
        Some(told)
    }

    /// Sends the last of the longest line away; where it makes room for a user of its own, only if that line is longer than
    /// his and some have more than one place.
    fn shorten(&mut self, for_own: Option<u64>) -> bool {
        let own = match for_own {
            // Nobody's line is long, so nobody needs to be looked for.
            Some(_) if self.waiting < 2 * self.lines.len() => return false,
            Some(user) => self.lines.get(&user).map_or(1, |line| line.len() + 1),
            None => 0,
        };
        let longest = self
            .lines
            .iter_mut()
            .max_by_key(|(_, line)| line.len())
            .filter(|(_, line)| line.len() > own);
        let Some((user, line)) = longest else {
            return false;
        };
        line.pop_back();
        self.waiting -= 1;
        if line.is_empty() {
            let user = *user;
            self.lines.remove(&user);
            self.ring.retain(|other| *other != user);
        }
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
        let ask = |turns: &mut Turns| turns.ask(address(1), 0, now);
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
        let mut flood: Vec<_> = (0..1_000).map(|_| turns.ask(address(1), 0, now)).collect();
        assert!(matches!(flood.last(), Some(Turn::Refused)));
        let mut honest = wait(turns.ask(address(2), 0, now));
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
        let mut waiting: Vec<_> = (0..52).map(|_| turns.ask(address(1), 0, now)).collect();
        let mut last = wait(waiting.pop().unwrap());
        drop(waiting);
        turns.serve(now + turns.interval);
        assert_eq!(last.try_recv(), Ok(()));
        assert_eq!(
            (turns.waiting, turns.addresses.len(), turns.ring.len()),
            (0, 0, 0)
        );
    }

    #[test]
    fn users_of_one_address_take_turns_too() {
        let (mut turns, now) = (Turns::new(10, 2 * SECOND), Instant::now());
        let flood: Vec<_> = (0..1_000).map(|_| turns.ask(address(1), 1, now)).collect();
        assert!(matches!(flood.last(), Some(Turn::Refused)));
        let mut honest = wait(turns.ask(address(1), 2, now));
        assert_eq!(turns.waiting, 20);
        turns.serve(now + 2 * turns.interval);
        assert_eq!(honest.try_recv(), Ok(()), "after one of the flood");
        // As many users as there are places: nobody is sent away for one more.
        let mut turns = Turns::new(10, 2 * SECOND);
        let _all: Vec<_> = (0..22)
            .map(|user| turns.ask(address(1), user, now))
            .collect();
        assert!(matches!(turns.ask(address(1), 99, now), Turn::Refused));
        // But for another address there is room, and what is left behind is whole.
        let _other = wait(turns.ask(address(2), 0, now));
        assert_eq!(turns.waiting, 20);
        let mut next = Some(now);
        while let Some(at) = next {
            next = turns.serve(at);
        }
        assert_eq!(
            (turns.waiting, turns.addresses.len(), turns.ring.len()),
            (0, 0, 0)
        );
    }
}
