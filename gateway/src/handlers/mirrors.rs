//! Keeps the mirrors of the monolith's records: filled when it appears, filled again when it or the bus comes back, moved
//! on by events in between. Values are never made up: a changed version makes every web client reload.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use protocol::ddp::ejson;

use super::core::{Core, now};
use crate::{
    metrics,
    state::mirrors::{CLIENT_VERSIONS, LOGIN_SERVICES, Source, without_id},
};

/// Pause before a failed fill is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// Keeps both mirrors filled for as long as the bus thread runs.
pub(crate) async fn run(core: Rc<Core>) {
    loop {
        while !(core.fill(&LOGIN_SERVICES).await & core.fill(&CLIENT_VERSIONS).await) {
            tokio::time::sleep(RETRY).await;
        }
        core.wake.refill.notified().await;
    }
}

impl Core {
    /// Nodes have come, gone or changed. Another monolith may have other records than the one that was asked.
    pub(crate) fn nodes_changed(&self) {
        let monoliths = self.upstream.monoliths();
        let is_any = !monoliths.is_empty();
        if self.state.relays.borrow_mut().know(monoliths) && is_any {
            self.wake.refill.notify_one();
        }
    }

    /// Asks for the whole of one mirror and publishes what is new; whether there was an answer.
    async fn fill(&self, source: &'static Source) -> bool {
        let before = self.state.mirrors.borrow().moved;
        let Ok(Some(answer)) = self.upstream.call(source.action, "[]").await else {
            return false;
        };
        // What an event has told meanwhile may be newer than the answer.
        if self.state.mirrors.borrow().moved != before {
            return false;
        }
        let Ok(answer) = std::str::from_utf8(&answer) else {
            return false;
        };
        let messages = self.state.mirrors.borrow_mut().fill(source, answer);
        self.count_cut();
        for message in messages {
            self.emit_record(source.stream, message, now());
        }
        self.flush();
        true
    }

    /// `watch.loginServiceConfiguration {clientAction, id, data?}`.
    pub(crate) fn login_service_changed(&self, args: &str, received: Instant) {
        let Some(id) = ejson::at(args, 0, &["id"]).and_then(ejson::string) else {
            return self.wake.refill.notify_one();
        };
        let removed = ejson::at(args, 0, &["clientAction"]) == Some("\"removed\"");
        let fields = match ejson::at(args, 0, &["data"]) {
            _ if removed => None,
            Some(data) if data.starts_with('{') => Some(data.to_owned()),
            // A change without the record: ask for all of it.
            _ => return self.wake.refill.notify_one(),
        };
        self.put_record(&LOGIN_SERVICES, &id, fields, received);
    }

    /// `meteor.clientVersionUpdated`.
    pub(crate) fn client_version_changed(&self, args: &str, received: Instant) {
        let record = ejson::at(args, 0, &[]).unwrap_or("");
        let Some(id) = ejson::field(record, "_id").and_then(ejson::string) else {
            return self.wake.refill.notify_one();
        };
        self.put_record(&CLIENT_VERSIONS, &id, Some(without_id(record)), received);
    }

    fn count_cut(&self) {
        if self.state.mirrors.borrow_mut().take_cut() {
            metrics::cut("records");
        }
    }

    fn put_record(
        &self,
        source: &'static Source,
        id: &str,
        fields: Option<String>,
        received: Instant,
    ) {
        let mut mirrors = self.state.mirrors.borrow_mut();
        mirrors.moved += 1;
        let message = mirrors.put(source, id, fields);
        drop(mirrors);
        self.count_cut();
        if let Some(message) = message {
            self.emit_record(source.stream, message, received);
        }
    }
}
