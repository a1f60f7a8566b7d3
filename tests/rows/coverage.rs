//! Nothing of the tables is without a row: compared with the sources themselves, so that a new stream or event asks for its
//! rows.

const EVENTS: &str = include_str!("../../gateway/src/streams/events.rs");
const STREAMS: &str = include_str!("../../gateway/src/streams/table.rs");
const READS: &str = concat!(
    include_str!("reads.rs"),
    include_str!("presence.rs"),
    include_str!("special.rs")
);
const WRITES: &str = include_str!("writes.rs");
const TOLD: &str = concat!(
    include_str!("events.rs"),
    include_str!("presence.rs"),
    include_str!("special.rs")
);

/// What is heard and told to nobody: `tests/access_*.rs` see what it changes.
const HEARD_ONLY: [&str; 3] = [
    "license.module",
    "authorization.guestPermissions",
    "accounts.logout",
];

/// No streams that a client could write to.
const PUBLICATIONS: [&str; 2] = [
    "meteor.loginServiceConfiguration",
    "meteor_autoupdate_clientVersions",
];

/// The texts in quotes that follow this.
fn named<'a>(source: &'a str, before: &str) -> Vec<&'a str> {
    let pieces = source.split(before).skip(1);
    pieces
        .filter_map(|piece| piece.trim_start().strip_prefix('"')?.split('"').next())
        .collect()
}

/// The names of the table's streams: of a row's texts the first in small letters that is followed by whom it addresses.
fn streams() -> Vec<&'static str> {
    let (_, rows) = STREAMS.split_once("static ROWS").expect("the table");
    let (rows, _) = rows.split_once("\n];").expect("its end");
    rows.split("Addressed::")
        .filter_map(|piece| piece.trim_end().strip_suffix(',')?.strip_suffix('"'))
        .filter_map(|piece| piece.rsplit('"').next())
        .collect()
}

fn missing<'a>(names: &[&'a str], rows: &str, but: &[&str]) -> Vec<&'a str> {
    let is_missing = |name: &&&str| !rows.contains(&format!("\"{name}\"")) && !but.contains(*name);
    names.iter().filter(is_missing).copied().collect()
}

#[test]
fn every_event_has_a_row() {
    let (_, table) = EVENTS.split_once("static EVENTS").expect("the table");
    let events = named(table, "on(");
    assert!(events.len() > 60, "{events:?}");
    assert_eq!(missing(&events, TOLD, &HEARD_ONLY), [""; 0]);
}

#[test]
fn every_stream_has_rows_for_readers_and_writers() {
    let streams = streams();
    assert_eq!(streams.len(), 21, "{streams:?}");
    // Their documents are a table of their own: the names stand there with their prefix.
    let reads = READS.replace("\"stream-", "\"");
    assert_eq!(missing(&streams, &reads, &[]), [""; 0]);
    assert_eq!(missing(&streams, WRITES, &PUBLICATIONS), [""; 0]);
}
