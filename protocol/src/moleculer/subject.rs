//! Which subject carries which packet.

/// The kinds of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Discover,
    Info,
    Heartbeat,
    Request,
    Response,
    Event,
    Ping,
    Pong,
    Disconnect,
}

impl Kind {
    /// Every kind, in the order of `as usize`.
    pub const ALL: [Self; 9] = [
        Self::Discover,
        Self::Info,
        Self::Heartbeat,
        Self::Request,
        Self::Response,
        Self::Event,
        Self::Ping,
        Self::Pong,
        Self::Disconnect,
    ];

    /// Its token in subjects.
    pub fn token(self) -> &'static str {
        match self {
            Self::Discover => "DISCOVER",
            Self::Info => "INFO",
            Self::Heartbeat => "HEARTBEAT",
            Self::Request => "REQ",
            Self::Response => "RES",
            Self::Event => "EVENT",
            Self::Ping => "PING",
            Self::Pong => "PONG",
            Self::Disconnect => "DISCONNECT",
        }
    }
}

/// Builds subjects under the network's prefix: `MOL`, or `MOL-<namespace>`.
#[derive(Clone, Debug)]
pub struct Subjects {
    prefix: String,
}

impl Subjects {
    /// An empty namespace is none.
    pub fn new(namespace: Option<&str>) -> Self {
        Self {
            prefix: match namespace {
                Some(namespace) if !namespace.is_empty() => format!("MOL-{namespace}"),
                _ => "MOL".to_owned(),
            },
        }
    }

    /// The subject that all nodes read.
    pub fn all(&self, kind: Kind) -> String {
        format!("{}.{}", self.prefix, kind.token())
    }

    /// The subject that one node reads.
    pub fn node(&self, kind: Kind, node_id: &str) -> String {
        format!("{}.{}.{node_id}", self.prefix, kind.token())
    }

    /// The twelve subscriptions of a node, with the kind that arrives there and whether it was sent to this node alone.
    pub fn subscriptions(&self, node_id: &str) -> Vec<(Kind, bool, String)> {
        const SUBSCRIBED: [(Kind, bool); 12] = [
            (Kind::Event, true),
            (Kind::Request, true),
            (Kind::Response, true),
            (Kind::Discover, false),
            (Kind::Discover, true),
            (Kind::Info, false),
            (Kind::Info, true),
            (Kind::Disconnect, false),
            (Kind::Heartbeat, false),
            (Kind::Ping, false),
            (Kind::Ping, true),
            (Kind::Pong, true),
        ];
        SUBSCRIBED
            .into_iter()
            .map(|(kind, targeted)| match targeted {
                true => (kind, true, self.node(kind, node_id)),
                false => (kind, false, self.all(kind)),
            })
            .collect()
    }
}

/// Whether a node id can be the tail of a subject (backplane.md 2.3): no empty token, no wildcard, no white space.
pub fn is_node_id(text: &str) -> bool {
    // Nearly all of them, checked for every event.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if !text.is_empty() && text.len() <= 255 && text.bytes().all(is_plain) {
        return true;
    }
    text.len() <= 255
        && text
            .split('.')
            .all(|token| !token.is_empty() && token != "*" && token != ">")
        && !text.chars().any(|c| c.is_whitespace() || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_part_of_the_first_token() {
        assert_eq!(
            Subjects::new(Some("rc1")).node(Kind::Request, "a.b-1"),
            "MOL-rc1.REQ.a.b-1"
        );
        assert_eq!(Subjects::new(Some("")).all(Kind::Info), "MOL.INFO");
        assert_eq!(Subjects::new(None).subscriptions("me").len(), 12);
    }

    #[test]
    fn node_ids_that_no_subject_can_hold_are_refused() {
        for good in ["a", "host.example.org-1", "ddp-streamer-3f0c"] {
            assert!(is_node_id(good), "{good}");
        }
        for bad in ["", ".", "a..b", "a b", "*", "a.>", "a\n", "a."] {
            assert!(!is_node_id(bad), "{bad}");
        }
    }
}
