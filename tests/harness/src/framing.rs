//! How DDP messages stand in websocket texts, as they are or in SockJS's arrays, and bytes in a client's frames.

use serde_json::json;

/// A masked frame as a client sends it, from its first byte and payload, whatever is wrong with it.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length @ 126..=0xFFFF => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    // With a key of zeros the payload stays as it is.
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Raw,
    SockJs,
}

impl Framing {
    /// SockJS where the path has a server and a session.
    pub(crate) fn of_path(path: &str) -> Self {
        if path.contains("/sockjs/") && !path.contains("/sockjs/websocket") {
            Self::SockJs
        } else {
            Self::Raw
        }
    }

    /// The text that carries a message to the server.
    pub(crate) fn wrap(self, message: String) -> String {
        match self {
            Self::Raw => message,
            Self::SockJs => json!([message]).to_string(),
        }
    }

    /// The messages in a text of the server.
    ///
    /// # Panics
    ///
    /// When it is no frame of this framing.
    pub(crate) fn unwrap(self, text: &str) -> Vec<String> {
        match self {
            Self::Raw => vec![text.to_owned()],
            Self::SockJs if text == "o" => vec![],
            Self::SockJs => {
                let array = text
                    .strip_prefix('a')
                    .unwrap_or_else(|| panic!("not a SockJS frame: {text}"));
                serde_json::from_str(array).expect("an array of texts")
            }
        }
    }
}
