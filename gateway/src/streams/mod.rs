//! What clients may follow and what events become: one table of streams, one of events, and the rules.

pub(crate) mod events;
pub(crate) mod publications;
pub(crate) mod raw;
pub(crate) mod relay;
pub(crate) mod rooms_changed;
mod special;
pub(crate) mod table;
mod template;
pub(crate) mod translate;

use bytes::Bytes;
use protocol::ddp::{self, ejson};

use self::table::{Addressed, Read, RoomRule, Stream};
use crate::link::{Caller, Subscribed};

/// Longest event name of a stream; ids and names of events are far shorter.
pub(crate) const EVENT_BYTES_MAX: usize = 1_024;

/// Extra data for a rule: two tokens at most. It is kept as long as the subscription.
const EXTRA_BYTES_MAX: usize = 1_024;

/// What a shard can say about a subscription without asking anybody.
#[derive(Debug)]
pub(crate) enum Judgement {
    Ready(Subscribed),
    /// `nosub` with this error.
    Refused(ddp::Error),
    /// The bus thread decides (`ToBus::Subscribe`).
    Ask,
}

/// Judges a subscription as far as that needs no look-up.
pub(crate) fn judge(name: &str, params: &Bytes, caller: &Caller) -> Judgement {
    if publications::NAMES.contains(&name) {
        return Judgement::Ask;
    }
    let request = match Request::parse(name, params) {
        Ok(request) => request,
        Err(error) => return Judgement::Refused(error),
    };
    let user = caller.user.as_deref();
    let allowed = match request.stream.rule(&request.event) {
        Read::All => true,
        Read::Never => false,
        Read::Logged => user.is_some(),
        Read::Owner => {
            let (owner, what) = request.stream.split(&request.event);
            if user.is_some_and(|user| *user.id == *owner) && what == Some(rooms_changed::EVENT) {
                return Judgement::Ask;
            }
            user.is_some_and(|user| *user.id == *owner)
        }
        Read::Permission(_) | Read::Setting(..) | Read::Room(RoomRule::Access)
            if user.is_none() =>
        {
            false
        }
        Read::Permission(_) | Read::Setting(..) | Read::Room(_) => return Judgement::Ask,
    };
    if allowed {
        Judgement::Ready(request.subscribed())
    } else {
        Judgement::Refused(ddp::Error::not_allowed())
    }
}

/// A subscription of a stream, parsed (streams.md 2).
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) stream: &'static Stream,
    pub(crate) event: String,
    /// Extra data for the rule, raw JSON; only objects carry what a rule reads.
    pub(crate) extra: Option<String>,
    use_collection: bool,
}

impl Request {
    /// Parses `[event, options]`.
    ///
    /// # Errors
    /// As the `nosub` will say: 404 for an unknown publication, `invalid-event-name`, 500 for what the original
    /// stumbles over.
    pub(crate) fn parse(name: &str, params: &Bytes) -> Result<Self, ddp::Error> {
        let stream = name
            .strip_prefix("stream-")
            .and_then(table::stream)
            .ok_or_else(|| ddp::Error::subscription_not_found(name))?;
        let params = std::str::from_utf8(params).map_err(|_| ddp::Error::internal())?;
        let mut params = ejson::elements(params);
        let event = params
            .next()
            .and_then(ejson::string)
            .ok_or_else(ddp::Error::internal)?;
        if event.is_empty() || event.len() > EVENT_BYTES_MAX {
            return Err(ddp::Error::invalid_event_name());
        }
        let (use_collection, extra) = options(params.next())?;
        let extra = extra.filter(|extra| extra.starts_with('{'));
        if extra.is_some_and(|extra| extra.len() > EXTRA_BYTES_MAX) {
            return Err(ddp::Error::not_allowed());
        }
        Ok(Self {
            stream,
            event: event.into_owned(),
            extra: extra.map(str::to_owned),
            use_collection,
        })
    }

    /// The subscription as the shard enters it.
    pub(crate) fn subscribed(&self) -> Subscribed {
        let document = || {
            let mut fields = String::from("{\"eventName\":");
            ddp::encode::push_string(&mut fields, &self.event);
            fields.push('}');
            ddp::encode::added(&format!("stream-{}", self.stream.name), "id", &fields)
        };
        Subscribed {
            topics: vec![self.stream.topic(&self.event)],
            documents: self.use_collection.then(document).into_iter().collect(),
        }
    }

    /// The room or user that the event name addresses.
    pub(crate) fn addressee(&self) -> Option<&str> {
        (self.stream.addressed != Addressed::Nothing).then(|| self.stream.split(&self.event).0)
    }
}

/// `params[1]`: whether to use a collection, and the first of `args`.
fn options(raw: Option<&str>) -> Result<(bool, Option<&str>), ddp::Error> {
    match raw {
        Some("null") => Err(ddp::Error::internal()),
        Some(flag @ ("true" | "false")) => Ok((flag == "true", None)),
        Some(object) if object.starts_with('{') => {
            let extra = match ejson::field(object, "args") {
                Some(args) if args.starts_with('[') => ejson::elements(args).next(),
                Some(_) => return Err(ddp::Error::internal()),
                None => None,
            };
            Ok((ejson::field(object, "useCollection") == Some("true"), extra))
        }
        _ => Ok((false, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extra_data_that_no_rule_reads_is_refused_before_it_is_kept() {
        let parse = |length: usize| {
            let extra = "x".repeat(length);
            let params = format!(r#"["r1",{{"args":[{{"token":"{extra}"}}]}}]"#);
            Request::parse("stream-room-messages", &Bytes::from(params))
                .map(|request| request.extra)
        };
        assert!(parse(100).is_ok_and(|extra| extra.is_some()));
        assert_eq!(parse(2_000), Err(ddp::Error::not_allowed()));
    }
}
