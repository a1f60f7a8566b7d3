use super::SubKey;

/// The live subscriptions of one client, sorted by id.
///
/// A thousand at most: a sorted list is smaller than a map, needs no random hash, and its worst insertion moves 24 kB.
#[derive(Default)]
pub(super) struct Live {
    by_id: Vec<(Box<str>, SubKey)>,
}

impl Live {
    pub(super) fn insert(&mut self, id: Box<str>, key: SubKey) {
        match self.position(&id) {
            // The queue has looked before it asked, and nothing else inserts.
            Ok(_) => debug_assert!(false, "subscription {id} is live twice"),
            Err(at) => {
                make_room(&mut self.by_id);
                self.by_id.insert(at, (id, key));
            }
        }
    }

    /// Removes by the client's name.
    pub(super) fn remove(&mut self, id: &str) -> Option<SubKey> {
        let at = self.position(id).ok()?;
        Some(self.remove_at(at).1)
    }

    /// Removes by our name; linear, for what the client did not ask for is rare.
    pub(super) fn remove_key(&mut self, key: SubKey) -> Option<Box<str>> {
        let at = self.by_id.iter().position(|(_, live)| *live == key)?;
        Some(self.remove_at(at).0)
    }

    pub(super) fn contains(&self, id: &str) -> bool {
        self.position(id).is_ok()
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    fn remove_at(&mut self, at: usize) -> (Box<str>, SubKey) {
        let removed = self.by_id.remove(at);
        if self.by_id.is_empty() {
            self.by_id = Vec::new();
        }
        removed
    }

    fn position(&self, id: &str) -> Result<usize, usize> {
        self.by_id.binary_search_by(|(live, _)| (**live).cmp(id))
    }
}

/// Room for one more in a list that stays as long as its client: by a quarter, for doubling would leave 700 bytes for nothing at
/// 35 subscriptions.
pub fn make_room<T>(list: &mut Vec<T>) {
    if list.len() == list.capacity() {
        list.reserve_exact(list.len() / 4 + 1);
    }
}
