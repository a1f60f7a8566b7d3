//! Spans of OpenTelemetry: who asks, who answers, who listens, and whose child that is. While nobody exports them each costs one
//! look at a flag.
//!
//! A parent crosses between nodes as Rocket.Chat's do: as a text map in `meta.optl` (backplane.md 4.3).

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use bytes::Bytes;
use futures_util::future::{Either, FutureExt as _};
use opentelemetry::{
    Context, KeyValue,
    context::FutureExt as _,
    global,
    trace::{SpanBuilder, SpanKind, Status, TraceContextExt as _, Tracer as _},
};
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};

/// Something that is done, until this is dropped. Empty while nobody exports spans.
pub struct Span(Option<Context>);

impl Span {
    /// From here on they are made, by the tracer and the propagator that are installed for the whole process.
    pub fn switch_on() {
        IS_ON.store(true, Relaxed);
    }

    /// What a client asks for: the root of all that follows from it. The name is the client's word, and cut.
    #[must_use]
    pub fn of_client(what: &'static str, name: &str) -> Self {
        Self::begin(SpanKind::Server, Context::new, || {
            let name = &name[..name.floor_char_boundary(NAME_MAX)];
            let system = KeyValue::new("rpc.system", "ddp");
            let method = KeyValue::new("rpc.method", name.to_owned());
            (format!("{what} {name}"), vec![system, method])
        })
    }

    /// A request that we answer, as the original calls it.
    pub(crate) fn of_answer(action: &str, caller: &str, level: u32, meta: &[u8]) -> Self {
        Self::begin(
            SpanKind::Server,
            || parent(meta),
            || {
                let (service, method) = action.split_once('.').unwrap_or((action, ""));
                let name = format!("action {service}:{method}");
                (name, request(action, caller, level))
            },
        )
    }

    /// A request that another node answers.
    pub(crate) fn of_question(action: &str, caller: &str, level: u32, meta: &[u8]) -> Self {
        Self::begin(
            SpanKind::Client,
            || parent(meta),
            || (format!("call {action}"), request(action, caller, level)),
        )
    }

    /// Events of one name that came together.
    pub(crate) fn of_events(event: &str, service: &str, caller: &str, meta: &[u8]) -> Self {
        Self::begin(
            SpanKind::Consumer,
            || parent(meta),
            || {
                let attributes = [
                    ("messaging.system", "moleculer"),
                    ("messaging.destination.name", event),
                    ("messaging.consumer.group.name", service),
                    ("moleculer.caller", caller),
                ];
                let attributes =
                    attributes.map(|(key, value)| KeyValue::new(key, value.to_owned()));
                (format!("event {event}"), attributes.into())
            },
        )
    }

    fn begin(
        kind: SpanKind,
        parent: impl FnOnce() -> Context,
        describe: impl FnOnce() -> (String, Vec<KeyValue>),
    ) -> Self {
        if !IS_ON.load(Relaxed) {
            return Self(None);
        }
        let (parent, (name, attributes)) = (parent(), describe());
        let builder = SpanBuilder::from_name(name)
            .with_kind(kind)
            .with_attributes(attributes);
        let span = global::tracer(SCOPE).build_with_context(builder, &parent);
        Self(Some(parent.with_span(span)))
    }

    /// Runs the work within this span: what it calls and says are children. Takes hardly more room than the work alone.
    pub fn around<T>(self, work: impl Future<Output = T>) -> impl Future<Output = T> {
        let work = match &self.0 {
            Some(context) => Either::Left(work.with_context(context.clone())),
            None => Either::Right(work),
        };
        work.map(|output| {
            drop(self);
            output
        })
    }

    /// What runs now has failed, with an error of this name or code.
    pub fn current_failed(error: &impl fmt::Display) {
        if IS_ON.load(Relaxed) {
            let status = Status::error(error.to_string());
            Context::current().span().set_status(status);
        }
    }

    pub(crate) fn failed(&self, error: &str) {
        if let Some(context) = &self.0 {
            context.span().set_status(Status::error(error.to_owned()));
        }
    }

    /// So many messages in one.
    pub(crate) fn counts(&self, messages: u64) {
        if let Some(context) = &self.0 {
            let count = i64::try_from(messages).unwrap_or(i64::MAX);
            let attribute = KeyValue::new("messaging.batch.message_count", count);
            context.span().set_attribute(attribute);
        }
    }

    /// The raw JSON object `meta`, in which those who are asked find this span as their parent.
    pub(crate) fn carried_by(&self, meta: Bytes) -> Bytes {
        let carried = self.0.as_ref().and_then(|context| carry(context, &meta));
        carried.map_or(meta, |meta| {
            Bytes::from(Box::<str>::from(meta).into_boxed_bytes())
        })
    }

    /// As [`Self::carried_by`], of the span within which this runs; `None` where there is none.
    pub(crate) fn current_carried_by(meta: &RawValue) -> Option<Box<RawValue>> {
        if !IS_ON.load(Relaxed) {
            return None;
        }
        let context = Context::current();
        let is_within = context.span().span_context().is_valid();
        carry(&context, meta.get().as_bytes()).filter(|_| is_within)
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(context) = &self.0 {
            context.span().end();
        }
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Span")
    }
}

#[derive(Deserialize)]
struct Meta {
    #[serde(default)]
    optl: HashMap<String, String>,
}

/// Who stands in `meta`, else who runs now.
fn parent(meta: &[u8]) -> Context {
    let current = Context::current();
    match serde_json::from_slice(meta) {
        Ok(Meta { optl }) if !optl.is_empty() => {
            global::get_text_map_propagator(|wire| wire.extract_with_context(&current, &optl))
        }
        // Nobody there, or not said as the original says it.
        _ => current,
    }
}

fn carry(context: &Context, meta: &[u8]) -> Option<Box<RawValue>> {
    let mut optl = HashMap::new();
    global::get_text_map_propagator(|wire| wire.inject_context(context, &mut optl));
    let mut meta: BTreeMap<&str, &RawValue> = serde_json::from_slice(meta).ok()?;
    let optl = to_raw_value(&optl).ok()?;
    meta.insert("optl", &optl);
    to_raw_value(&meta).ok()
}

fn request(action: &str, caller: &str, level: u32) -> Vec<KeyValue> {
    let (service, method) = action.split_once('.').unwrap_or((action, ""));
    vec![
        KeyValue::new("rpc.system", "moleculer"),
        KeyValue::new("rpc.service", service.to_owned()),
        KeyValue::new("rpc.method", method.to_owned()),
        KeyValue::new("moleculer.caller", caller.to_owned()),
        KeyValue::new("moleculer.level", i64::from(level)),
    ]
}

static IS_ON: AtomicBool = AtomicBool::new(false);
/// The instrumentation's name.
const SCOPE: &str = "ddp-edge";
/// Bytes of a client's word in a span.
const NAME_MAX: usize = 128;
