use bytes::Bytes;

use super::{
    Event, Session, SubKey,
    waiting::{Call, Running},
};
use crate::ddp::{self, encode};

/// The queue: one call after the other, each of which ends before the next begins (gateway.md 2.5).
impl Session {
    /// Begins what waits until something runs.
    pub(super) fn advance(&mut self) {
        while self.running.is_none()
            && let Some(call) = self.waiting.pop()
        {
            self.begin(call);
        }
    }

    /// Begins a call that has come in a message of so many bytes, or lets it wait for its turn.
    pub(super) fn enqueue(&mut self, call: Call, message_bytes: usize) {
        if self.running.is_none() && self.waiting.is_empty() {
            self.begin(call);
        } else {
            self.waiting.push(call, message_bytes);
        }
    }

    fn begin(&mut self, call: Call) {
        match call {
            Call::Method { id, name, params } => self.begin_method(id, name, params),
            Call::Sub { id, name, params } => self.begin_sub(id, name, params),
            Call::Unsub { id } => self.unsub(&id),
        }
    }

    fn begin_method(&mut self, id: Box<str>, name: String, params: Result<Bytes, ddp::Refused>) {
        match params {
            Ok(params) => {
                self.running = Some(Running::Method { id });
                self.events.push_back(Event::Method { name, params });
            }
            Err(refused) => self.answer_method(&id, Err(&refused.error())),
        }
    }

    fn begin_sub(&mut self, id: Box<str>, name: String, params: Result<Bytes, ddp::Refused>) {
        if self.live.contains(&id) {
            // Re-sent after a second login; some clients wait for the answer (gateway.md 2.7).
            self.send(encode::ready(&id));
            return;
        }
        if !self.is_logged_in && id.len() > self.limits.name_bytes_before_login {
            return self.refuse_sub(&id, "name", &ddp::Error::invalid_event_name());
        }
        let mut most = self.limits.subscriptions;
        if !self.is_logged_in {
            most = most.min(self.limits.subscriptions_before_login);
        }
        if self.live.len() >= most {
            return self.refuse_sub(&id, "count", &ddp::Error::too_many_subscriptions());
        }
        match params {
            Ok(params) => {
                let key = self.next_key;
                self.next_key = SubKey(key.0.wrapping_add(1));
                self.running = Some(Running::Sub { id, key });
                self.events.push_back(Event::Subscribe {
                    sub: key,
                    name,
                    params,
                });
            }
            Err(refused) => self.send(encode::nosub(&id, Some(&refused.error()))),
        }
    }

    fn refuse_sub(&mut self, id: &str, limit: &'static str, error: &ddp::Error) {
        self.send(encode::nosub(id, Some(error)));
        self.events.push_back(Event::Refused { limit });
    }

    fn unsub(&mut self, id: &str) {
        if let Some(sub) = self.live.remove(id) {
            self.subscription_over();
            self.events.push_back(Event::Unsubscribe { sub });
        }
        self.send(encode::nosub(id, None));
    }

    pub(super) fn subscription_over(&mut self) {
        if self.live.is_empty() {
            self.timers.lingering_since = None;
        }
    }

    pub(super) fn take_running_sub(&mut self) -> Option<(Box<str>, SubKey)> {
        match self
            .running
            .take_if(|running| matches!(running, Running::Sub { .. }))?
        {
            Running::Sub { id, key } => Some((id, key)),
            Running::Method { .. } => None,
        }
    }

    pub(super) fn answer_method(&mut self, id: &str, outcome: Result<Option<&[u8]>, &ddp::Error>) {
        self.send(encode::result(id, outcome));
        self.send(encode::updated(id));
    }
}
