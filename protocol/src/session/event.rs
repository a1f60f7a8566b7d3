use bytes::Bytes;

/// The session's own name of a subscription, valid from `Event::Subscribe` until the subscription is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SubKey(pub u32);

/// What a session asks of its driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The version was agreed on and `connected` is queued; the flags say what a resuming client sent.
    Connected { has_session: bool, has_count: bool },
    /// The running call, answered by exactly one `method_result`; `params` is a raw JSON array.
    Method { name: String, params: Bytes },
    /// The running subscription, answered by exactly one `subscription_ready` or `subscription_failed`; `params` is a
    /// raw JSON array.
    Subscribe {
        sub: SubKey,
        name: String,
        params: Bytes,
    },
    /// The client ended this subscription: forget its topics. Its `nosub` is queued already.
    Unsubscribe { sub: SubKey },
    /// A limit (`name`, `count`) has refused a subscription. Its `nosub` is queued already.
    Refused { limit: &'static str },
    /// A message arrived from a client that is logged in; at most once per 30 s (gateway.md 1.6).
    Activity,
}
