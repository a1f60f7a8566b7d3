//! From connections to one status (services.md 4.4, 13). A connection without a status is `None` and counts as one more
//! word.

/// The words that are statuses; whatever else somebody has stored is computed with, and never announced.
pub(super) const WORDS: [&str; 4] = ["online", "away", "busy", "offline"];

/// `online` wins; else the last that is not `offline`; else `offline`.
pub(super) fn merge_connections<'a>(
    statuses: impl Iterator<Item = Option<&'a str>>,
) -> Option<&'a str> {
    let mut merged = Some("offline");
    for status in statuses.map(|status| status.filter(|status| !status.is_empty())) {
        match (merged, status) {
            (Some("online"), _) => break,
            (_, Some("offline")) => {}
            _ => merged = status,
        }
    }
    merged
}

/// What others see: nobody without a connection is online, and a chosen status covers the connections'.
pub(super) fn merge_default<'a>(
    connection: Option<&'a str>,
    default: Option<&'a str>,
) -> Option<&'a str> {
    match (connection, default) {
        (Some("offline"), _) => connection,
        (_, None | Some("online" | "")) => connection,
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
            let merged = merge_connections(connections.iter().copied().map(Some));
            assert_eq!(
                (merged, merge_default(merged, Some(default))),
                (Some(connection), Some(status)),
                "{connections:?} {default}"
            );
        }
    }

    #[test]
    fn every_cell_of_the_final_status_is_as_tabulated() {
        for (connection, row) in [
            ("online", ["online", "away", "busy", "offline"]),
            ("away", ["away", "away", "busy", "offline"]),
            ("busy", ["busy", "away", "busy", "offline"]),
            ("offline", ["offline"; 4]),
        ] {
            for (default, status) in WORDS.into_iter().zip(row) {
                let merged = merge_default(Some(connection), Some(default));
                assert_eq!(merged, Some(status), "{connection} {default}");
            }
            assert_eq!(merge_default(Some(connection), None), Some(connection));
        }
    }

    #[test]
    fn a_connection_without_a_status_has_none_and_not_an_empty_one() {
        for nothing in [None, Some("")] {
            let merged = merge_connections([Some("away"), nothing].into_iter());
            assert_eq!(merged, None);
            assert_eq!(merge_default(merged, Some("online")), None);
            assert_eq!(merge_default(merged, Some("busy")), Some("busy"));
        }
        assert_eq!(
            merge_connections([None, Some("online")].into_iter()),
            Some("online")
        );
    }
}
