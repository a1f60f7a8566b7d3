//! How DDP messages stand in websocket texts: as they are, or in SockJS's arrays.

use serde_json::json;

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
