//! Whose logins are being looked at: one look at a time for each user, however many events speak of him meanwhile.

use std::sync::Arc;

use hashbrown::{HashMap, hash_map};

/// What must be looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Look {
    /// Whether he is there and active.
    pub(crate) user: bool,
    pub(crate) tokens: bool,
}

/// Users who are being looked at, and what must be looked at behind that.
#[derive(Default)]
pub(crate) struct Looks(HashMap<Arc<str>, Option<Look>>);

impl Looks {
    /// Something must be looked at; `true`: now. Else behind the look that is under way, which may have read what was before.
    pub(crate) fn begin(&mut self, user: &Arc<str>, look: Look) -> bool {
        match self.0.entry(user.clone()) {
            hash_map::Entry::Occupied(mut under_way) => {
                let again = under_way.get_mut().get_or_insert_default();
                again.user |= look.user;
                again.tokens |= look.tokens;
                false
            }
            hash_map::Entry::Vacant(entry) => {
                entry.insert(None);
                true
            }
        }
    }

    /// A look is over; the next one, if there is one.
    pub(crate) fn next(&mut self, user: &str) -> Option<Look> {
        let next = self.0.get_mut(user)?.take();
        if next.is_none() {
            self.0.remove(user);
        }
        next
    }

    /// Users who are looked at.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_during_a_look_is_one_more_look() {
        let (mut looks, user) = (Looks::default(), Arc::from("u1"));
        let (at_user, at_tokens) = (
            Look {
                user: true,
                tokens: false,
            },
            Look {
                user: false,
                tokens: true,
            },
        );
        assert!(looks.begin(&user, at_user));
        for look in [at_tokens, at_user, at_tokens] {
            assert!(!looks.begin(&user, look));
        }
        let both = Look {
            user: true,
            tokens: true,
        };
        assert_eq!(looks.next("u1"), Some(both));
        assert_eq!(looks.next("u1"), None);
        assert!(looks.is_empty());
    }
}
