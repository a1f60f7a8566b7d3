//! One packet of the backplane, its kind given by the first byte.

#![no_main]

use protocol::moleculer::{
    Disconnect, Discover, Event, Heartbeat, Info, Ping, Pong, Request, Response, decode, encode,
    event_name,
};

/// What decodes must decode again once encoded.
macro_rules! through {
    ($kind:ty, $payload:expr) => {
        if let Ok(packet) = decode::<$kind>($payload) {
            let again = encode(&packet);
            assert!(
                decode::<$kind>(&again).is_ok(),
                "{}",
                String::from_utf8_lossy(&again)
            );
        }
    };
}

/// What is forwarded byte for byte, as another parser finds it; it takes no member twice.
#[derive(serde::Deserialize)]
struct Forwarded<'a> {
    #[serde(borrow)]
    data: &'a serde_json::value::RawValue,
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let [kind, payload @ ..] = data else { return };
    match kind {
        b'C' => through!(Discover<'_>, payload),
        b'D' => through!(Disconnect<'_>, payload),
        b'H' => through!(Heartbeat<'_>, payload),
        b'P' => through!(Ping<'_>, payload),
        b'Q' => through!(Pong<'_>, payload),
        b'R' => through!(Request<'_>, payload),
        b'S' => through!(Response<'_>, payload),
        b'I' => {
            let _ = decode::<Info<'_>>(payload);
        }
        _ => {
            event_name(payload);
            let Ok(text) = std::str::from_utf8(payload) else {
                return;
            };
            if let Ok(event) = Event::decode(text)
                && let Ok(forwarded) = serde_json::from_str::<Forwarded<'_>>(text)
            {
                assert_eq!(event.data, forwarded.data.get());
            }
        }
    }
});
