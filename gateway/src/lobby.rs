//! Sockets that speak HTTP: probes, handshakes, and whoever only connects. There is always room for one more, because one
//! that is already there goes: the oldest of the address that has the most.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use tokio_util::sync::CancellationToken;

/// Everybody in the lobby, by address and age.
#[derive(Debug)]
pub struct Lobby {
    room: usize,
    groups: HashMap<IpAddr, BTreeMap<u64, CancellationToken>>,
    count: usize,
    last: u64,
}

/// One of them.
#[derive(Debug)]
pub struct Visitor {
    group: IpAddr,
    number: u64,
    sent_away: CancellationToken,
}

impl Visitor {
    /// Told when this one has to go for another.
    pub fn sent_away(&self) -> CancellationToken {
        self.sent_away.clone()
    }
}

impl Lobby {
    /// Room for so many sockets, whatever is upgraded.
    pub fn new(room: usize) -> Self {
        Self {
            room,
            groups: HashMap::new(),
            count: 0,
            last: 0,
        }
    }

    /// Lets one in of this address (its group, as limits count), of which there may be so many; which limit another one
    /// had to go for, if any (the value of a metric's label).
    pub fn enter(&mut self, group: IpAddr, most: usize) -> (Visitor, Option<&'static str>) {
        let of_group = self.groups.get(&group).map_or(0, BTreeMap::len);
        let full = if of_group >= most {
            self.send_away(group);
            Some("lobby_address")
        } else if self.count >= self.room {
            self.send_one_away();
            Some("lobby_full")
        } else {
            None
        };
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
    pub fn leave(&mut self, visitor: &Visitor) {
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
        if let Some(group) = fullest {
            self.send_away(group);
        }
    }

    /// The oldest of an address goes.
    fn send_away(&mut self, group: IpAddr) {
        let Some(of_group) = self.groups.get_mut(&group) else {
            return;
        };
        if let Some((_, oldest)) = of_group.pop_first() {
            oldest.cancel();
            self.count -= 1;
        }
        if of_group.is_empty() {
            self.groups.remove(&group);
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
        let (probe, _) = lobby.enter(address(1), ROOM);
        let flood: Vec<_> = (1..ROOM).map(|_| lobby.enter(address(2), ROOM).0).collect();
        assert_eq!(lobby.count, ROOM);
        let (late, sent_away) = lobby.enter(address(3), ROOM);
        assert_eq!(sent_away, Some("lobby_full"));
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
            .map(|number| {
                lobby
                    .enter(IpAddr::from((number as u32).to_be_bytes()), ROOM)
                    .0
            })
            .collect();
        lobby.enter(address(1), ROOM);
        assert!(all[0].sent_away.is_cancelled());
        assert!(!all[1].sent_away.is_cancelled());
    }

    #[test]
    fn one_address_has_so_many_places_however_empty_it_is() {
        let mut lobby = Lobby::new(ROOM);
        let (first, _) = lobby.enter(address(1), 2);
        let (second, _) = lobby.enter(address(1), 2);
        let (_, sent_away) = lobby.enter(address(1), 2);
        assert_eq!(sent_away, Some("lobby_address"));
        assert!(first.sent_away.is_cancelled());
        assert!(!second.sent_away.is_cancelled());
        assert_eq!(lobby.count, 2);
    }
}
