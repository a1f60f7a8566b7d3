//! Whose presence a viewer must not see (streams.md 5.4), as `status-visibility.getHiddenFrom` answers it.

use std::sync::Arc;

use hashbrown::HashSet;
use protocol::ddp::ejson;

/// Who has more people hidden from him sees nobody.
const HIDDEN_MAX: usize = 10_000;

/// What a viewer does not see; `None`: he sees everybody.
pub(crate) type Hidden = Option<Arc<Scope>>;

/// Users who are hidden from a viewer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    Everybody,
    Users(HashSet<Box<str>>),
}

impl Scope {
    /// Reads a list of ids, `{"hidden":[..]}` or `{"hideAll":true}`; `None`: it is none of these.
    pub(crate) fn read(raw: &str) -> Option<Hidden> {
        let raw = raw.trim();
        if ejson::field(raw, "hideAll") == Some("true") {
            return Some(Some(Arc::new(Self::Everybody)));
        }
        let list = if raw.starts_with('[') {
            raw
        } else {
            ejson::field(raw, "hidden").filter(|list| list.starts_with('['))?
        };
        let mut users = HashSet::new();
        for id in ejson::elements(list) {
            users.insert(ejson::string(id)?.into());
            if users.len() > HIDDEN_MAX {
                return Some(Some(Arc::new(Self::Everybody)));
            }
        }
        Some((!users.is_empty()).then(|| Arc::new(Self::Users(users))))
    }

    /// This one and these users besides.
    pub(crate) fn wider<'a>(hidden: &Hidden, users: impl Iterator<Item = &'a Arc<str>>) -> Hidden {
        let mut all = match hidden.as_deref() {
            Some(Self::Everybody) => return hidden.clone(),
            Some(Self::Users(users)) => users.clone(),
            None => HashSet::new(),
        };
        all.extend(users.map(|user| Box::from(&**user)));
        (!all.is_empty()).then(|| Arc::new(Self::Users(all)))
    }

    /// Whether its viewer must not see this user.
    pub(crate) fn hides(&self, user: &str) -> bool {
        match self {
            Self::Everybody => true,
            Self::Users(users) => users.contains(user),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_names_who_is_hidden_or_says_that_all_are() {
        let hides = |raw: &str| {
            let scope = Scope::read(raw)?;
            let hides = |user| scope.as_ref().is_some_and(|scope| scope.hides(user));
            Some((hides("u7"), hides("u8")))
        };
        assert_eq!(hides(r#"["u7"]"#), Some((true, false)));
        assert_eq!(hides(r#"{"hidden":["u7"]}"#), Some((true, false)));
        assert_eq!(
            hides(r#"{"hideAll":false,"hidden":[]}"#),
            Some((false, false))
        );
        assert_eq!(hides(r#"{"hideAll":true}"#), Some((true, true)));
        assert_eq!(hides("[]"), Some((false, false)));
        for odd in ["null", "true", "{}", r#"{"hidden":5}"#, "[5]"] {
            assert_eq!(hides(odd), None, "{odd}");
        }
    }

    #[test]
    fn who_has_too_many_people_hidden_from_him_sees_nobody() {
        let ids: Vec<_> = (0..=HIDDEN_MAX).map(|id| format!("\"{id}\"")).collect();
        let scope = Scope::read(&format!("[{}]", ids.join(",")));
        assert_eq!(scope, Some(Some(Arc::new(Scope::Everybody))));
    }
}
