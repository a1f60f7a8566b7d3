//! Traces over OTLP, as the original's: gRPC, the usual `OTEL_` variables. What cannot be kept or sent is dropped and counted; nobody
//! waits for a collector.

use std::time::Duration;

use anyhow::Context as _;
use backplane::{Complaints, Span};
use hyper::HeaderMap;
use metrics::{counter, describe_counter};
use opentelemetry::{Context, KeyValue, global};
use opentelemetry_otlp::{
    SpanExporter, WithExportConfig as _, WithTonicConfig as _,
    tonic_types::{metadata::MetadataMap, transport::ClientTlsConfig},
};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    propagation::TraceContextPropagator,
    trace::{
        Sampler, SdkTracerProvider, Span as Recorded, SpanData, SpanExporter as _, SpanProcessor,
    },
};
use tokio::{
    sync::mpsc::{self, Receiver, Sender},
    task::JoinHandle,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

/// Where spans go, and which.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// Scheme, host and port.
    pub(crate) endpoint: String,
    /// Of every export: what the collector wants to see.
    pub(crate) headers: HeaderMap,
    /// The name under which the spans stand.
    pub(crate) service: String,
    pub(crate) sampler: Sampler,
}

/// The export under way; ends with [`Traces::end`].
pub(crate) struct Traces {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Traces {
    /// Exports from here on, in the runtime that this is called in.
    ///
    /// # Errors
    /// The collector's address cannot be used.
    pub(crate) fn start(config: &Config, node: &str) -> anyhow::Result<Self> {
        describe_counter!(DROPPED, "Spans that were not exported, by reason");
        describe_counter!(EXPORTED, "Spans that the collector has taken");
        let mut exporter = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(&config.endpoint)
            .with_timeout(EXPORT_WITHIN)
            .with_metadata(MetadataMap::from_headers(config.headers.clone()))
            // For https alone; without roots nobody would be believed.
            .with_tls_config(ClientTlsConfig::new().with_enabled_roots())
            .build()
            .context("cannot export traces (OTEL_EXPORTER_OTLP_ENDPOINT)")?;
        let resource = Resource::builder()
            .with_service_name(config.service.clone())
            .with_attribute(KeyValue::new("service.instance.id", node.to_owned()))
            .build();
        exporter.set_resource(&resource);
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let provider = SdkTracerProvider::builder()
            .with_sampler(config.sampler.clone())
            .with_resource(resource)
            .with_span_processor(Queue(queue))
            .build();
        global::set_tracer_provider(provider);
        global::set_text_map_propagator(TraceContextPropagator::new());
        let stop = CancellationToken::new();
        let task = tokio::spawn(export(exporter, waiting, stop.clone()));
        Span::switch_on();
        Ok(Self { stop, task })
    }

    /// Sends what waits, but not for long.
    pub(crate) async fn end(self) {
        self.stop.cancel();
        let _ = timeout(END_WITHIN, self.task).await;
    }
}

/// What has ended, until it is exported; whoever ends a span never waits.
#[derive(Debug)]
struct Queue(Sender<SpanData>);

impl SpanProcessor for Queue {
    fn on_start(&self, _span: &mut Recorded, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() && self.0.try_send(span).is_err() {
            counter!(DROPPED, "reason" => "queue_full").increment(1);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

async fn export(exporter: SpanExporter, mut waiting: Receiver<SpanData>, stop: CancellationToken) {
    let complaints = Complaints::new();
    loop {
        let mut batch = Vec::new();
        let first = tokio::select! {
            count = waiting.recv_many(&mut batch, BATCH_MAX) => count,
            () = stop.cancelled() => 0,
        };
        // Company for the first of them, so that a quiet server does not send one by one.
        let until = Instant::now() + BATCH_WITHIN;
        while first > 0 && batch.len() < BATCH_MAX {
            let room = BATCH_MAX - batch.len();
            tokio::select! {
                more = waiting.recv_many(&mut batch, room) => if more == 0 { break },
                () = sleep_until(until) => break,
                () = stop.cancelled() => break,
            }
        }
        if stop.is_cancelled() {
            while let Ok(span) = waiting.try_recv() {
                batch.push(span);
            }
        }
        if batch.is_empty() {
            return;
        }
        let count = batch.len() as u64;
        match exporter.export(batch).await {
            Ok(()) => counter!(EXPORTED).increment(count),
            Err(error) => {
                counter!(DROPPED, "reason" => "export_failed").increment(count);
                complaints.warn("traces cannot be exported", &error);
            }
        }
    }
}

/// Spans that wait; OpenTelemetry's own number.
const QUEUE_MAX: usize = 2_048;
const BATCH_MAX: usize = 512;
const BATCH_WITHIN: Duration = Duration::from_secs(1);
const EXPORT_WITHIN: Duration = Duration::from_secs(10);
const END_WITHIN: Duration = Duration::from_secs(1);
const DROPPED: &str = "ddp_edge_traces_dropped_total";
const EXPORTED: &str = "ddp_edge_traces_exported_total";
