//! No frame of a client panics: every prefix and every single-byte change of every line of the transcripts, at the place
//! where the line stands.

mod transcript;

use std::{
    collections::HashSet,
    fs,
    panic::{self, AssertUnwindSafe},
    path::Path,
};

use transcript::Peer;

/// What a byte becomes: the structure of JSON and SockJS, and what breaks it.
const REPLACEMENTS: &[u8] = b"\"\\{}[],:0";

#[test]
fn no_prefix_and_no_changed_byte_of_a_transcript_panics() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let mut seen = HashSet::new();
    let mut failures = Vec::new();
    panic::set_hook(Box::new(|_| ()));
    for entry in fs::read_dir(directory).unwrap() {
        let written = fs::read_to_string(entry.unwrap().path()).unwrap();
        let mut life: Vec<&str> = Vec::new();
        for line in written
            .lines()
            .filter(|line| line.starts_with(['=', '>', '+', '!']))
        {
            if line.starts_with('=') {
                life.clear();
            } else if let Some(payload) = line.strip_prefix("> ") {
                // The same line in the same place, give or take what else was said, teaches nothing new.
                if seen.insert((life.len().min(3), payload.to_owned())) {
                    failures
                        .extend(mutations(payload).filter(|mutation| !survives(&life, mutation)));
                }
            }
            life.push(line);
        }
    }
    let _ = panic::take_hook();
    assert!(seen.len() > 100, "only {} lines found", seen.len());
    assert!(failures.is_empty(), "these panic:\n{}", failures.join("\n"));
}

fn mutations(payload: &str) -> impl Iterator<Item = String> {
    let prefixes = payload
        .char_indices()
        .map(|(end, _)| payload[..end].to_owned());
    let bytes = payload.as_bytes();
    let changes = (0..bytes.len()).flat_map(move |at| {
        let flipped = (0..8).map(move |bit| bytes[at] ^ (1 << bit));
        REPLACEMENTS
            .iter()
            .copied()
            .chain(flipped)
            .filter_map(move |byte| {
                let mut changed = bytes.to_owned();
                changed[at] = byte;
                // The websocket layer has refused what is no UTF-8.
                String::from_utf8(changed).ok()
            })
    });
    prefixes.chain(changes)
}

/// Plays the life up to here, then the payload, then what may follow: an answer and a minute of time.
fn survives(life: &[&str], payload: &str) -> bool {
    let played = panic::catch_unwind(AssertUnwindSafe(|| {
        let (settings, rest) = life.split_first().expect("a life begins with =");
        let (mut peer, _) = Peer::new(settings);
        for line in rest {
            peer.apply(line);
        }
        for line in [
            &format!("> {payload}"),
            "! result 1",
            "! ready",
            "> {\"msg\":\"ping\"}",
            "+60s",
        ] {
            peer.apply(line);
        }
    }));
    played.is_ok()
}
