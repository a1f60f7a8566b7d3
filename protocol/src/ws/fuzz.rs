//! The fuzz target `ws_frames`, and the replay that the tests of the decoder share with it.

use super::{Bounds, Decoder};

/// Decodes all but the first byte whole and in steps of the first byte's size: both must give the same.
pub fn fuzz(data: &[u8]) {
    let [step, input @ ..] = data else { return };
    let bounds = Bounds {
        message_bytes: 1_000,
        fragments: 20,
    };
    let whole = replay(input, input.len().max(1), bounds);
    assert_eq!(replay(input, usize::from(*step).max(1), bounds), whole);
}

/// The messages of `input`, given in steps, up to a close frame; an error is the last of them.
pub(super) fn replay(input: &[u8], step: usize, bounds: Bounds) -> Vec<String> {
    let mut decoder = Decoder::default();
    let mut messages = Vec::new();
    for chunk in input.chunks(step) {
        let mut bytes = chunk.to_vec();
        let mut rest = &mut bytes[..];
        loop {
            match decoder.next(&mut rest, bounds) {
                Ok(Some(message)) => messages.push(format!("{message:?}")),
                Ok(None) => break,
                Err(reason) => {
                    messages.push(format!("{reason:?}"));
                    return messages;
                }
            }
            if messages
                .last()
                .is_some_and(|last| last.starts_with("Close"))
            {
                return messages;
            }
        }
        assert!(rest.is_empty(), "`None` means that all was used up");
        assert!(
            decoder.buffered() <= bounds.message_bytes + 125,
            "never more than a message and a control frame"
        );
    }
    messages
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_seeds_of_ws_frames_pass() {
        for seed in std::fs::read_dir("fuzz/seeds/ws_frames").unwrap() {
            super::fuzz(&std::fs::read(seed.unwrap().path()).unwrap());
        }
    }
}
