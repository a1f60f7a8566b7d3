//! Golden transcripts: every rule of gateway.md 2 as a conversation.

mod transcript;

use std::{fs, path::Path};

use transcript::Peer;

#[test]
fn every_transcript_reads_as_it_was_written() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let mut failures = Vec::new();
    let mut count = 0;
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let written = fs::read_to_string(&path).unwrap();
        count += 1;
        if let Err(difference) = check(&written) {
            failures.push(format!(
                "{}: {difference}",
                path.file_name().unwrap().display()
            ));
        }
    }
    assert!(count > 5, "only {count} transcripts found");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Plays the input lines of a transcript and compares what follows with its output lines.
fn check(written: &str) -> Result<(), String> {
    let mut peer: Option<Peer> = None;
    let mut expected = written
        .lines()
        .zip(1..)
        .filter(|(line, _)| !line.is_empty() && !line.starts_with('#'))
        .peekable();
    while let Some((line, number)) = expected.next() {
        let said = match &mut peer {
            _ if line.starts_with("= ") => {
                let (new, said) = Peer::new(line);
                peer = Some(new);
                said
            }
            Some(peer) => peer.apply(line),
            None => return Err(format!("line {number}: begins without =")),
        };
        let is_output = |line: &str| line.starts_with(['<', '?', 'x']);
        let mut wanted = Vec::new();
        while let Some((line, _)) = expected.next_if(|(line, _)| is_output(line)) {
            wanted.push(line);
        }
        if said != wanted {
            return Err(format!(
                "line {number}: after {line}\n  written:\n    {}\n  said:\n    {}",
                wanted.join("\n    "),
                said.join("\n    ")
            ));
        }
    }
    Ok(())
}
