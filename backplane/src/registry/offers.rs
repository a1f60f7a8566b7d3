//! What one node offers, as the index needs it.

use std::sync::Arc;

use protocol::moleculer::ServiceEntry;

/// The callable actions and the events of all services of a node.
#[derive(Default)]
pub(super) struct Offers {
    pub(super) actions: Vec<String>,
    /// Event name and group.
    pub(super) events: Vec<(String, Arc<str>)>,
}

impl Offers {
    /// Entries without a name are of no use; `$`-events are local to every node.
    pub(super) fn of(services: Vec<ServiceEntry>) -> Self {
        let mut offers = Self::default();
        for service in services {
            let Some(name) = service.name() else { continue };
            let service_group: Arc<str> = name.into();
            for event in service.events {
                let Some(name) = event.name.filter(|name| !name.starts_with('$')) else {
                    continue;
                };
                let group = event.group.map_or_else(|| service_group.clone(), Arc::from);
                offers.events.push((name, group));
            }
            let callable = service
                .actions
                .into_iter()
                .filter(|action| action.is_public());
            offers
                .actions
                .extend(callable.filter_map(|action| action.name));
        }
        offers
    }
}

/// Event patterns (backplane.md 5.5): `*` is one token, `**` the rest.
pub(super) fn matches(pattern: &str, event: &str) -> bool {
    let mut tokens = event.split('.');
    for part in pattern.split('.') {
        match (part, tokens.next()) {
            ("**", Some(_)) => return true,
            ("*", Some(_)) => {}
            (part, Some(token)) if part == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_token_by_token() {
        for (pattern, event, expected) in [
            ("a.*", "a.b", true),
            ("a.*", "a.b.c", false),
            ("a.**", "a.b.c", true),
            ("a.**", "a", false),
            ("**", "a", true),
            ("*", "a.b", false),
        ] {
            assert_eq!(matches(pattern, event), expected, "{pattern} {event}");
        }
    }
}
