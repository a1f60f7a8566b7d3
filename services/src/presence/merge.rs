//! From connections to one status (services.md 4.4).

/// `online` wins; else the last that is not `offline`; else `offline`.
pub(super) fn merge_connections<'a>(statuses: impl Iterator<Item = &'a str>) -> &'a str {
    statuses.fold("offline", |merged, next| match (merged, next) {
        ("online", _) | (_, "offline") => merged,
        _ => next,
    })
}

/// What others see: nobody without a connection is online, and a chosen status covers the connections'.
pub(super) fn merge_default<'a>(connection: &'a str, default: &'a str) -> &'a str {
    match (connection, default) {
        ("offline", _) => "offline",
        (_, "online" | "") => connection,
        _ => default,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_and_choice_merge_as_the_contract_tabulates() {
        for (connections, default, connection, status) in [
            (&["away", "busy"][..], "online", "busy", "busy"),
            (&["busy", "away"], "online", "away", "away"),
            (
                &["offline", "away", "online", "busy"],
                "online",
                "online",
                "online",
            ),
            (&["offline"], "online", "offline", "offline"),
            (&[], "busy", "offline", "offline"),
            (&["online"], "offline", "online", "offline"),
            (&["away"], "busy", "away", "busy"),
            (&["online"], "away", "online", "away"),
        ] {
            let merged = merge_connections(connections.iter().copied());
            assert_eq!(
                (merged, merge_default(merged, default)),
                (connection, status),
                "{connections:?} {default}"
            );
        }
    }
}
