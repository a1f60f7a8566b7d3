//! Every way a connection ends: one table.

use crate::limits::Limits;

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// The peer sent a close frame.
    PeerClosed,
    /// The socket ended or failed without a close frame.
    PeerGone,
    /// The client sent the DDP message `disconnect`.
    Disconnect,
    /// The first DDP message was not `connect` (`gateway.md` 1.5).
    NotConnectFirst,
    /// A `method`, `sub` or `unsub` without the fields it needs (`gateway.md` 1.5).
    MalformedMessage,
    /// The id of a `method`, `sub` or `unsub` is longer than [`Limits::name_bytes`].
    IdTooLong,
    /// The client speaks no DDP version of ours; `failed` was sent.
    VersionRefused,
    /// A frame against RFC 6455.
    WebSocketProtocol,
    /// A binary message, or a text that is not JSON (`gateway.md` 1.5).
    UnsupportedData,
    /// A text message or a close reason that is not UTF-8.
    InvalidUtf8,
    /// JSON nested deeper than [`Limits::json_depth`].
    TooDeep,
    /// A message larger than [`Limits::message_bytes`], or in more frames than [`Limits::fragments`].
    TooBig,
    /// More waits than [`Limits::pending_messages`] or [`Limits::pending_bytes`].
    TooManyPending,
    /// No `connect` within [`Limits::connect_deadline`].
    ConnectDeadline,
    /// No message after our ping within [`Limits::close_after_ping`].
    IdleTimeout,
    /// Neither a login nor a subscription within [`Limits::login_deadline`].
    LoginDeadline,
    /// The client called `logout` (`gateway.md` 3.3).
    LoggedOut,
    /// The workspace ended the user's logins (`gateway.md` 3.4).
    ForcedLogout,
    /// The login token was removed or the user deactivated.
    Revoked,
    /// The client reads too slowly: [`Limits::outbox_bytes`] or [`Limits::outbox_age`].
    SlowConsumer,
    /// What is held for all clients has passed the process' budget, and most of it was held for this one.
    Overload,
    /// A login that could not be judged; the client shall try again and keep its token.
    TryAgain,
    /// Events were missed; the client shall come back and load anew.
    Resync,
    /// This process stops.
    Draining,
    /// An operator moves some of the clients to other nodes.
    Shed,
    /// An operator ended the connection; the client may come back.
    Kicked,
    /// An error of ours.
    Internal,
}

/// Whose doing the end of a connection is; the value of the metric label `blame`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The peer ended it, or broke a rule or a limit.
    Client,
    /// This process decided it, or failed.
    Us,
    /// Something behind us is away, or told us to.
    Backplane,
}

impl Blame {
    /// The value of the metric label `blame`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Us => "us",
            Self::Backplane => "backplane",
        }
    }
}

impl CloseReason {
    /// All of them, in the order of the enum.
    pub const ALL: &[Self] = &[
        Self::PeerClosed,
        Self::PeerGone,
        Self::Disconnect,
        Self::NotConnectFirst,
        Self::MalformedMessage,
        Self::IdTooLong,
        Self::VersionRefused,
        Self::WebSocketProtocol,
        Self::UnsupportedData,
        Self::InvalidUtf8,
        Self::TooDeep,
        Self::TooBig,
        Self::TooManyPending,
        Self::ConnectDeadline,
        Self::IdleTimeout,
        Self::LoginDeadline,
        Self::LoggedOut,
        Self::ForcedLogout,
        Self::Revoked,
        Self::SlowConsumer,
        Self::Overload,
        Self::TryAgain,
        Self::Resync,
        Self::Draining,
        Self::Shed,
        Self::Kicked,
        Self::Internal,
    ];

    /// The code of our close frame. `None`: no frame (the peer is gone), or an empty one that answers the peer's.
    pub fn code(self, limits: &Limits) -> Option<u16> {
        match self {
            Self::IdleTimeout => Some(limits.idle_close_code),
            _ => self.row().code,
        }
    }

    /// The reason text of our close frame, at most 123 bytes.
    pub fn text(self) -> &'static str {
        self.row().text
    }

    /// Whose doing it is.
    pub fn blame(self) -> Blame {
        self.row().blame
    }

    /// The value of the metric label `reason`.
    pub fn label(self) -> &'static str {
        self.row().label
    }

    fn row(self) -> Row {
        use Blame::{Backplane, Client, Us};
        let row = |label, code, text, blame| Row {
            label,
            code,
            text,
            blame,
        };
        match self {
            Self::PeerClosed => row("peer_closed", None, "", Client),
            Self::PeerGone => row("peer_gone", None, "", Client),
            Self::Disconnect => row("disconnect", Some(1000), "", Client),
            Self::NotConnectFirst => row(
                "not_connect_first",
                Some(1002),
                "CLOSE_PROTOCOL_ERROR",
                Client,
            ),
            Self::MalformedMessage => row("malformed_message", Some(1002), "", Client),
            Self::IdTooLong => row("id_too_long", Some(1002), "ID_TOO_LONG", Client),
            Self::VersionRefused => row("version_refused", Some(1002), "VERSION_REFUSED", Client),
            Self::WebSocketProtocol => row("websocket_protocol", Some(1002), "", Client),
            Self::UnsupportedData => {
                row("unsupported_data", Some(1007), "UNSUPPORTED_DATA", Client)
            }
            Self::InvalidUtf8 => row("invalid_utf8", Some(1007), "", Client),
            Self::TooDeep => row("too_deep", Some(1007), "TOO_DEEP", Client),
            Self::TooBig => row("too_big", Some(1009), "", Client),
            Self::TooManyPending => row("too_many_pending", Some(1008), "TOO_MANY_PENDING", Client),
            Self::ConnectDeadline => {
                row("connect_deadline", Some(1002), "CONNECT_DEADLINE", Client)
            }
            Self::IdleTimeout => row("idle_timeout", Some(1001), "TIMEOUT", Client),
            Self::LoginDeadline => row("login_deadline", Some(1008), "LOGIN_DEADLINE", Client),
            Self::LoggedOut => row("logged_out", Some(1002), "", Client),
            Self::ForcedLogout => row("forced_logout", Some(1008), "FORCED_LOGOUT", Backplane),
            Self::Revoked => row("revoked", Some(1008), "REVOKED", Backplane),
            Self::SlowConsumer => row("slow_consumer", Some(1013), "SLOW_CONSUMER", Client),
            Self::Overload => row("overload", Some(1013), "OVERLOAD", Client),
            Self::TryAgain => row("try_again", Some(1013), "TRY_AGAIN", Backplane),
            Self::Resync => row("resync", Some(1012), "RESYNC", Backplane),
            Self::Draining => row("draining", Some(1012), "DRAINING", Us),
            Self::Shed => row("shed", Some(1012), "SHED", Us),
            Self::Kicked => row("kicked", Some(1008), "KICKED", Us),
            Self::Internal => row("internal", Some(1011), "INTERNAL_ERROR", Us),
        }
    }
}

struct Row {
    label: &'static str,
    code: Option<u16>,
    text: &'static str,
    blame: Blame,
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_reason_is_listed_once_and_has_its_own_label() {
        let labels: HashSet<_> = CloseReason::ALL
            .iter()
            .map(|reason| reason.label())
            .collect();
        assert_eq!(labels.len(), CloseReason::ALL.len());
        assert_eq!(CloseReason::ALL.last(), Some(&CloseReason::Internal));
        assert_eq!(CloseReason::ALL.len(), CloseReason::Internal as usize + 1);
    }

    #[test]
    fn every_close_frame_is_legal() {
        for reason in CloseReason::ALL {
            assert!(reason.text().len() <= 123, "{reason:?}");
            if let Some(code) = reason.code(&Limits::default()) {
                assert!(
                    (1000..=1014).contains(&code) && !(1004..=1006).contains(&code),
                    "{reason:?}"
                );
            } else {
                assert_eq!(reason.text(), "", "{reason:?}");
            }
        }
    }

    #[test]
    fn the_code_of_an_idle_connection_is_a_setting() {
        let limits = Limits {
            idle_close_code: 4000,
            ..Limits::default()
        };
        assert_eq!(CloseReason::IdleTimeout.code(&limits), Some(4000));
        assert_eq!(CloseReason::IdleTimeout.text(), "TIMEOUT");
    }
}
