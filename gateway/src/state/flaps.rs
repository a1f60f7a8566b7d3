//! What may come faster than anybody wants to hear it (a user's status, what he types): the first of each is told at once,
//! what follows within a window waits, and only the last of it is told.

use std::hash::Hash;

use hashbrown::HashMap;

/// Of whom something was told in the window that is open, and what waits for its end.
pub(crate) struct Flaps<K, V>(HashMap<K, Option<V>>);

impl<K, V> Default for Flaps<K, V> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash, V> Flaps<K, V> {
    /// There is something new; given back if it is to be told now, else it waits for the end of the window.
    pub(crate) fn enter(&mut self, key: K, news: V) -> Option<V> {
        match self.0.get_mut(&key) {
            Some(waits) => {
                *waits = Some(news);
                None
            }
            None => {
                self.0.insert(key, None);
                Some(news)
            }
        }
    }

    /// The window ends: what is to be told now. Whose news are among it stays for another window.
    pub(crate) fn turn(&mut self) -> Vec<V> {
        let mut told = Vec::new();
        self.0.retain(|_, waits| {
            let news = waits.take();
            let stays = news.is_some();
            told.extend(news);
            stays
        });
        if self.0.is_empty() {
            self.0.shrink_to_fit();
        }
        told
    }

    /// How many were told of in this window.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing was told in this window.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_flaps_is_told_once_in_a_window_and_the_last_news_win() {
        let mut flaps = Flaps::default();
        assert_eq!(flaps.enter("u7", 1), Some(1));
        for news in [2, 3, 4] {
            assert_eq!(flaps.enter("u7", news), None);
        }
        assert_eq!(flaps.turn(), [4]);
        assert_eq!(flaps.enter("u7", 5), None);
        assert_eq!(flaps.turn(), [5]);
        assert!(flaps.turn().is_empty());
        assert!(flaps.is_empty());
        assert_eq!(flaps.enter("u7", 6), Some(6));
    }
}
