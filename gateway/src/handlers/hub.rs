//! Events of stream-hubs, which may say a thing twice and may have missed some.

use std::rc::Rc;

use backplane::Event;

use super::core::{Core, now};
use crate::{
    metrics,
    state::{gaps::Scope, hubs::Heard},
};

impl Core {
    /// Whether an event is to be handled; most come from no hub.
    pub(crate) fn is_news(self: &Rc<Self>, event: &Event) -> bool {
        let Ok(meta) = std::str::from_utf8(&event.meta) else {
            return true;
        };
        if meta == "{}" {
            return true;
        }
        let heard = self.state.hubs.borrow_mut().hear(meta, now());
        match heard {
            Heard::News => true,
            Heard::Duplicate => {
                metrics::hub_dropped("duplicate");
                false
            }
            Heard::Stale => {
                metrics::hub_dropped("stale");
                false
            }
            Heard::Gap => {
                tracing::warn!(hub = %event.sender, "a stream-hub has missed changes");
                self.hub_missed("hub_gap", event);
                true
            }
            Heard::Restart => {
                tracing::warn!(hub = %event.sender, "the terms of the stream-hubs have begun again");
                self.hub_missed("hub_restart", event);
                true
            }
        }
    }

    fn hub_missed(self: &Rc<Self>, cause: &'static str, event: &Event) {
        self.gap(cause, Scope::All, event.received);
        self.forget();
    }
}
