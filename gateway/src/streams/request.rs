//! A subscription as a client asks for it (streams.md 2), and what must be found out before it is live.

use std::sync::Arc;

use bytes::Bytes;
use protocol::{
    ddp::{self, ejson},
    limits::Limits,
};

use super::{
    question::{About, Question},
    scope::Hidden,
    table::{Read, RoomRule, Stream},
    topic::Topic,
    watch::Lists,
};

/// The event of `notify-user` that follows a user's rooms.
pub(crate) const ROOMS_CHANGED: &str = "rooms-changed";

/// The event of `room-messages` that follows all rooms of a user.
pub(crate) const MY_MESSAGES: &str = "__my_messages__";

/// A subscription that was allowed.
#[derive(Debug)]
pub(crate) struct Subscribed {
    /// Entered into the topic table before `ready` is written.
    pub(crate) to: Subject,
    /// `added` messages that precede `ready`.
    pub(crate) documents: Vec<String>,
}

/// What a subscription is of.
#[derive(Debug)]
pub(crate) enum Subject {
    Topic(Topic),
    /// The users whom its connection watches, and what the first of such subscriptions must not show.
    Users(Lists, Hidden),
}

/// What stands between a request and its `ready`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    Nothing,
    /// Nobody is allowed, or this caller is not.
    Refusal,
    /// The rooms of the caller, which it will follow.
    Rooms,
    /// The rooms of the caller, whose messages it will follow.
    MyMessages,
    /// What its caller may see of others, unless that is known.
    Watch,
    /// The records that are there.
    Records,
    /// Somebody else's verdict.
    Verdict(Question),
}

/// `[event, options]` of a subscription, parsed.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) stream: Stream,
    pub(crate) event: String,
    /// The tokens of a livechat visitor, `{"token":..,"visitorToken":..}`. Nothing else that a client says reaches a
    /// rule: ids come from the event name alone.
    tokens: Option<String>,
    use_collection: bool,
    /// Of a subscription that watches users.
    lists: Lists,
    /// What was longer than may be and is not looked at.
    pub(crate) cut: Option<&'static str>,
}

impl Request {
    /// Parses what a client sent.
    ///
    /// # Errors
    /// As the `nosub` will say: 404 for an unknown publication, `invalid-event-name`, 500 for what the original
    /// stumbles over.
    pub(crate) fn parse(name: &str, params: &Bytes, limits: &Limits) -> Result<Self, ddp::Error> {
        let stream =
            Stream::of_publication(name).ok_or_else(|| ddp::Error::subscription_not_found(name))?;
        if stream.row().read == Read::Records {
            // Its params (an app id, or nothing) change nothing.
            return Ok(Self {
                stream,
                event: String::new(),
                tokens: None,
                use_collection: false,
                lists: Lists::default(),
                cut: None,
            });
        }
        let params = std::str::from_utf8(params).map_err(|_| ddp::Error::internal())?;
        if stream.row().read == Read::Watch {
            // Its event name changes nothing.
            let lists = ejson::elements(params).nth(1).map(Lists::read);
            let (lists, is_cut) = lists.unwrap_or_default();
            return Ok(Self {
                stream,
                event: String::new(),
                tokens: None,
                use_collection: false,
                lists,
                cut: is_cut.then_some("watched"),
            });
        }
        let mut params = ejson::elements(params);
        let event = params
            .next()
            .and_then(ejson::lossy_string)
            .ok_or_else(ddp::Error::internal)?;
        if event.is_empty() || event.len() > limits.name_bytes {
            return Err(ddp::Error::invalid_event_name());
        }
        let (use_collection, extra) = options(params.next())?;
        let (tokens, is_cut) = extra.map_or((None, false), |extra| tokens(extra, limits));
        Ok(Self {
            stream,
            event: event.into_owned(),
            tokens,
            use_collection,
            lists: Lists::default(),
            cut: is_cut.then_some("token"),
        })
    }

    /// The one place where a stream's read rule is interpreted.
    pub(crate) fn needs(&self, user: Option<&Arc<str>>) -> Needs {
        let (id, what) = self.stream.split(&self.event);
        let verdict = |about| {
            Needs::Verdict(Question {
                user: user.cloned(),
                about,
            })
        };
        match self.stream.rule(&self.event) {
            Read::All => Needs::Nothing,
            Read::Never => Needs::Refusal,
            Read::Records => Needs::Records,
            Read::Room(rule) if rule.admits_anonymous() || user.is_some() => verdict(About::Room {
                room: id.into(),
                rule,
                tokens: self
                    .tokens
                    .as_deref()
                    .filter(|_| rule.reads_tokens())
                    .map(Arc::from),
            }),
            Read::Room(_) => Needs::Refusal,
            _ if user.is_none() => Needs::Refusal,
            Read::Logged => Needs::Nothing,
            Read::Watch => Needs::Watch,
            Read::MyMessages => Needs::MyMessages,
            Read::Owner if user.is_none_or(|user| **user != *id) => Needs::Refusal,
            Read::Owner if what == Some(ROOMS_CHANGED) => Needs::Rooms,
            Read::Owner => Needs::Nothing,
            Read::Conference if id.is_empty() => Needs::Refusal,
            Read::Conference => verdict(About::Conference { call: id.into() }),
            Read::Permission(any_of) => verdict(About::Permission {
                any_of,
                setting: None,
            }),
            Read::Setting(setting, any_of) => verdict(About::Permission {
                any_of,
                setting: Some(setting),
            }),
        }
    }

    /// The subscription as the shard enters it.
    pub(crate) fn subscribed(self) -> Subscribed {
        self.subscribed_under(None)
    }

    /// The same for a client's first one that watches users.
    pub(crate) fn watching(self, hidden: Hidden) -> Subscribed {
        Subscribed {
            documents: Vec::new(),
            to: Subject::Users(self.lists, hidden),
        }
    }

    /// The same, under another topic than its event name says.
    pub(crate) fn subscribed_under(self, topic: Option<Topic>) -> Subscribed {
        let document = || {
            let mut fields = String::from("{\"eventName\":");
            ddp::encode::push_string(&mut fields, &self.event);
            fields.push('}');
            ddp::encode::added(&format!("stream-{}", self.stream.name()), "id", &fields)
        };
        Subscribed {
            documents: self.use_collection.then(document).into_iter().collect(),
            to: match self.stream.row().read {
                Read::Watch => Subject::Users(self.lists, None),
                _ => Subject::Topic(topic.unwrap_or_else(|| Topic::new(self.stream, &self.event))),
            },
        }
    }
}

impl RoomRule {
    fn admits_anonymous(self) -> bool {
        self != Self::Access
    }

    fn reads_tokens(self) -> bool {
        self != Self::Access
    }
}

/// `params[1]`: whether to use a collection, and the first of `args`. Falsy `args` mean none (streams.md 12).
fn options(raw: Option<&str>) -> Result<(bool, Option<&str>), ddp::Error> {
    match raw {
        Some("null") => Err(ddp::Error::internal()),
        Some(flag @ ("true" | "false")) => Ok((flag == "true", None)),
        Some(object) if object.starts_with('{') => {
            let extra = match ejson::field(object, "args") {
                Some(args) if args.starts_with('[') => ejson::elements(args).next(),
                None | Some("null" | "false" | "0" | "-0" | "\"\"") => None,
                // A text can be iterated in JavaScript; its first character is no object.
                Some(args) if args.starts_with('"') => None,
                Some(_) => return Err(ddp::Error::internal()),
            };
            Ok((ejson::field(object, "useCollection") == Some("true"), extra))
        }
        _ => Ok((false, None)),
    }
}

/// The tokens in a rule's extra data, as the rules get them, and whether one was too long to be one.
pub(crate) fn tokens(extra: &str, limits: &Limits) -> (Option<String>, bool) {
    let (mut text, mut is_cut) = (String::new(), false);
    for name in ["token", "visitorToken"] {
        let token = ejson::field(extra, name)
            .and_then(ejson::string)
            .filter(|token| !token.is_empty());
        if let Some(token) = token {
            if token.len() > limits.token_bytes {
                is_cut = true;
                continue;
            }
            text.push(if text.is_empty() { '{' } else { ',' });
            ddp::encode::push_string(&mut text, name);
            text.push(':');
            ddp::encode::push_string(&mut text, &token);
        }
    }
    ((!text.is_empty()).then(|| text + "}"), is_cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(event: &str, options: &str) -> Result<Request, ddp::Error> {
        let params = format!(r#"["{event}",{options}]"#);
        Request::parse(
            "stream-room-messages",
            &Bytes::from(params),
            &Limits::default(),
        )
    }

    #[test]
    fn half_a_surrogate_pair_makes_an_odd_event_name_and_no_error() {
        let request = parse(r"r1\ud83d", "false").unwrap();
        assert_eq!(request.event, "r1\u{fffd}");
    }

    #[test]
    fn of_extra_data_nothing_but_the_tokens_reaches_a_rule() {
        let request = parse(
            "r1",
            r#"{"args":[{"rid":"r2","visitorToken":"v","token":{"$ne":1}}]}"#,
        );
        let Needs::Verdict(question) = request.unwrap().needs(None) else {
            panic!("no question")
        };
        assert_eq!(
            question.about,
            About::Room {
                room: "r1".into(),
                rule: RoomRule::Read,
                tokens: Some(r#"{"visitorToken":"v"}"#.into()),
            }
        );
        let long = "x".repeat(Limits::default().token_bytes + 1);
        let request = parse("r1", &format!(r#"{{"args":[{{"token":"{long}"}}]}}"#)).unwrap();
        assert_eq!((request.tokens, request.cut), (None, Some("token")));
    }

    #[test]
    fn falsy_args_are_no_extra_data_and_no_list_is_an_error() {
        for args in ["null", "false", "0", r#""""#, r#""r1""#, "[]", "[null]"] {
            let request = parse("r1", &format!(r#"{{"args":{args}}}"#));
            assert_eq!(request.map(|request| request.tokens), Ok(None), "{args}");
        }
        for args in ["1", "true", "{}"] {
            let request = parse("r1", &format!(r#"{{"args":{args}}}"#));
            assert_eq!(request.map(|_| ()), Err(ddp::Error::internal()), "{args}");
        }
    }
}
