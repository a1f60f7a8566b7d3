//! The fuzz target `sockjs_batch`.

use bytes::BytesMut;

use super::{decode_batch, escape_into, route};

/// Reads text as a client's payload and as a path, and escapes it; serde_json must agree.
pub fn fuzz(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let batch = decode_batch(text, usize::MAX)
        .map(|messages| messages.map(String::from).collect::<Vec<_>>());
    if text.starts_with('[') {
        assert_eq!(batch.ok(), serde_json::from_str(text).ok());
    } else {
        assert_eq!(batch.into_iter().flatten().collect::<String>(), text);
    }

    let mut escaped = BytesMut::from(&b"\""[..]);
    escape_into(text, &mut escaped);
    escaped.extend_from_slice(b"\"");
    assert_eq!(
        serde_json::from_slice::<String>(&escaped).ok().as_deref(),
        Some(text)
    );

    route(text);
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_seeds_of_sockjs_batch_pass() {
        for seed in std::fs::read_dir("fuzz/seeds/sockjs_batch").unwrap() {
            super::fuzz(&std::fs::read(seed.unwrap().path()).unwrap());
        }
    }
}
