//! Sockets that speak HTTP: probes, handshakes, and whoever only connects. There is always room for one more, because one
//! that is already there goes: the oldest of the address that has the most.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use tokio_util::sync::CancellationToken;

/// Everybody in the lobby, by address and age.
pub(super) struct Lobby {
    room: usize,
    groups: HashMap<IpAddr, BTreeMap<u64, CancellationToken>>,
    count: usize,
    last: u64,
}

/// One of them.
pub(super) struct Visitor {
    group: IpAddr,
    number: u64,
    sent_away: CancellationToken,
}

impl Visitor {
    pub(super) fn sent_away(&self) -> CancellationToken {
        self.sent_away.clone()
    }
}

impl Lobby {
    /// Room for so many sockets, whatever is upgraded.
    pub(super) fn new(room: usize) -> Self {
        Self {
            room,
            groups: HashMap::new(),
            count: 0,
            last: 0,
        }
    }

    /// Lets one in; whether another one had to go for it.
    pub(super) fn enter(&mut self, group: IpAddr) -> (Visitor, bool) {
        let full = self.count >= self.room;
        if full {
            self.send_one_away();
        }
        self.last += 1;
        let visitor = Visitor {
            group,
            number: self.last,
            sent_away: CancellationToken::new(),
        };
        let of_group = self.groups.entry(group).or_default();
        of_group.insert(visitor.number, visitor.sent_away());
        self.count += 1;
        (visitor, full)
    }

    /// Upgraded, or gone; nothing if it was sent away.
    pub(super) fn leave(&mut self, visitor: &Visitor) {
        let Some(of_group) = self.groups.get_mut(&visitor.group) else {
            return;
        };
        if of_group.remove(&visitor.number).is_some() {
            self.count -= 1;
        }
        if of_group.is_empty() {
            self.groups.remove(&visitor.group);
        }
    }

    fn send_one_away(&mut self) {
        // At most as many steps as there are sockets, and only while the lobby is full.
        let fullest = self
            .groups
            .iter()
            .max_by_key(|(_, of_group)| {
                let oldest = of_group.first_key_value().map_or(0, |(number, _)| *number);
                (of_group.len(), std::cmp::Reverse(oldest))
            })
            .map(|(group, _)| *group);
        let Some(group) = fullest else { return };
        if let Some(of_group) = self.groups.get_mut(&group) {
            if let Some((_, oldest)) = of_group.pop_first() {
                oldest.cancel();
                self.count -= 1;
            }
            if of_group.is_empty() {
                self.groups.remove(&group);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: usize = 100;

    fn address(last: u8) -> IpAddr {
        [203, 0, 113, last].into()
    }

    #[test]
    fn the_oldest_of_the_fullest_address_goes() {
        let mut lobby = Lobby::new(ROOM);
        let (probe, _) = lobby.enter(address(1));
        let flood: Vec<_> = (1..ROOM).map(|_| lobby.enter(address(2)).0).collect();
        assert_eq!(lobby.count, ROOM);
        let (late, sent_away) = lobby.enter(address(3));
        assert!(sent_away);
        assert!(flood[0].sent_away.is_cancelled());
        for stays in [&probe, &late, &flood[1]] {
            assert!(!stays.sent_away.is_cancelled());
        }
        for visitor in flood.iter().chain([&probe, &late]) {
            lobby.leave(visitor);
        }
        assert_eq!((lobby.count, lobby.groups.len()), (0, 0));
    }

    #[test]
    fn where_everybody_has_one_the_oldest_of_all_goes() {
        let mut lobby = Lobby::new(ROOM);
        let all: Vec<_> = (0..ROOM)
            .map(|number| lobby.enter(IpAddr::from((number as u32).to_be_bytes())).0)
            .collect();
        lobby.enter(address(1));
        assert!(all[0].sent_away.is_cancelled());
        assert!(!all[1].sent_away.is_cancelled());
    }
}
