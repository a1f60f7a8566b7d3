//! Traces at a real OTLP receiver, on the code that OpenTelemetry generates for one.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    sync::{Arc, Mutex},
};

use harness::{Client, Edge, Line, NodeProcess, Product, Satellites, eventually, free_port, http};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{Span, span::SpanKind, status::StatusCode},
};
use rcgen::CertifiedKey;
use serde_json::json;
use tokio::runtime::Runtime;
use tonic::{
    Request, Response, Status,
    transport::{Identity, Server, ServerTlsConfig},
};

use crate::BINARY;

/// What it was sent: the service's name, the token in the header, the span.
type Received = Arc<Mutex<Vec<(String, String, Span)>>>;

/// A receiver; ends with the test.
struct Collector {
    received: Received,
    url: String,
    _runtime: Runtime,
}

struct Service(Received);

#[tonic::async_trait]
impl TraceService for Service {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let token = request.metadata().get("x-token");
        let token = token.map_or("", |token| token.to_str().expect("a text"));
        let token = token.to_owned();
        let mut received = self.0.lock().expect("no panic");
        for resource in request.into_inner().resource_spans {
            let attributes = resource.resource.expect("a resource").attributes;
            let service = text(&attributes, "service.name");
            assert!(!text(&attributes, "service.instance.id").is_empty());
            let spans = resource.scope_spans.into_iter();
            let spans = spans.flat_map(|scope| scope.spans);
            received.extend(spans.map(|span| (service.clone(), token.clone(), span)));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// On TLS with this certificate and key, if there is one.
    fn start(identity: Option<Identity>) -> Self {
        let (received, runtime) = (Received::default(), Runtime::new().expect("a runtime"));
        let port = free_port();
        let scheme = identity.as_ref().map_or("http", |_| "https");
        let mut server = Server::builder();
        if let Some(identity) = identity {
            let tls = ServerTlsConfig::new().identity(identity);
            server = server.tls_config(tls).expect("a certificate");
        }
        let server = server
            .add_service(TraceServiceServer::new(Service(received.clone())))
            .serve((Ipv4Addr::LOCALHOST, port).into());
        runtime.spawn(async { server.await.expect("it serves") });
        Self {
            received,
            url: format!("{scheme}://localhost:{port}"),
            _runtime: runtime,
        }
    }

    /// The first span of this name, from this service, that is wanted.
    fn wait_for(&self, service: &str, name: &str, wanted: impl Fn(&Span) -> bool) -> Span {
        eventually(&format!("{name} of {service}"), || {
            let received = self.received.lock().expect("no panic");
            let mut spans = received.iter();
            let found = spans.find(|(from, token, span)| {
                assert_eq!(token, "a token");
                from == service && span.name == name && wanted(span)
            });
            found.map(|(_, _, span)| span.clone())
        })
    }
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    let attribute = attributes.iter().find(|attribute| attribute.key == key);
    let value = attribute.and_then(|attribute| attribute.value.as_ref()?.value.clone());
    match value {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        _ => String::new(),
    }
}

fn is_child_of(parent: &Span) -> impl Fn(&Span) -> bool {
    |span| span.trace_id == parent.trace_id && span.parent_span_id == parent.span_id
}

#[test]
fn spans_tell_who_asked_whom_from_the_client_to_the_service_in_another_process() {
    let collector = Collector::start(None);
    let environment = [
        ("TRACING_ENABLED", "yes"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*collector.url),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-token=a%20token"),
    ];
    let product = Product::start(BINARY, Line::V8, Satellites::Ours, &environment);
    let gateway = "ddp-streamer";

    // A login: asked by the client, by the gateway, answered by another process.
    let user = product.user(&["user"]);
    let mut client = product.open(&user);
    let asked = collector.wait_for(gateway, "method login", |span| {
        span.status
            .as_ref()
            .is_none_or(|status| status.code() != StatusCode::Error)
    });
    assert!(asked.parent_span_id.is_empty());
    assert_eq!(asked.kind(), SpanKind::Server);
    assert_eq!(text(&asked.attributes, "rpc.method"), "login");
    let call = collector.wait_for(gateway, "call accounts.login", is_child_of(&asked));
    assert_eq!(call.kind(), SpanKind::Client);
    let answered = collector.wait_for(
        "account-service",
        "action accounts:login",
        is_child_of(&call),
    );
    assert_eq!(answered.kind(), SpanKind::Server);
    for (key, value) in [
        ("rpc.system", "moleculer"),
        ("rpc.service", "accounts"),
        ("rpc.method", "login"),
        ("moleculer.level", "1"),
    ] {
        assert_eq!(text(&answered.attributes, key), value, "{key}");
    }
    assert!(answered.end_time_unix_nano >= answered.start_time_unix_nano);

    // A subscription that somebody has to judge.
    client.stream("room-messages", "GENERAL").expect("a member");
    let asked = collector.wait_for(gateway, "subscription stream-room-messages", |_| true);
    let call = collector.wait_for(
        gateway,
        "call authorization.canReadRoom",
        is_child_of(&asked),
    );
    let judge = "authorization-service";
    collector.wait_for(
        judge,
        "action authorization:canReadRoom",
        is_child_of(&call),
    );

    // What is refused says so.
    client
        .call("nobodyHasThis", &json!([]))
        .expect_err("nobody has it");
    let is_failed = |span: &Span| {
        span.status
            .as_ref()
            .is_some_and(|s| s.code() == StatusCode::Error)
    };
    let refused = collector.wait_for(gateway, "method nobodyHasThis", is_failed);
    let call = "call meteor.callMethodWithToken";
    collector.wait_for(gateway, call, |span| {
        is_child_of(&refused)(span) && is_failed(span)
    });

    // A Node peer that traces is our parent, and what it says is handled as an event.
    let transporter = product.nats.url();
    let mut peer = NodeProcess::start("peer.js", &[], &[("TRANSPORTER", &transporter)]);
    peer.ask(&json!({"cmd": "waitForServices", "names": ["accounts", "streamer"]}));
    let (trace, span) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
    let carrier = json!({"traceparent": format!("00-{trace}-{span}-01")});
    peer.ask(&json!({
        "cmd": "call", "action": "accounts.logout", "params": [{"userId": "x", "token": "y"}],
        "meta": {"optl": carrier},
    }));
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let ours = collector.wait_for("account-service", "action accounts:logout", |_| true);
    assert_eq!(
        (&*hex(&ours.trace_id), &*hex(&ours.parent_span_id)),
        (trace, span)
    );
    peer.ask(&json!({"cmd": "broadcast", "event": "watch.settings", "args": [{}]}));
    let event = collector.wait_for(gateway, "event watch.settings", |_| true);
    assert_eq!(event.kind(), SpanKind::Consumer);
    assert_eq!(
        text(&event.attributes, "messaging.consumer.group.name"),
        "streamer"
    );
    assert_eq!(
        text(&event.attributes, "messaging.batch.message_count"),
        "1"
    );
}

#[test]
fn a_collector_on_tls_is_believed_by_the_authorities_of_the_system() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
    let CertifiedKey { cert, signing_key } = made.expect("a certificate");
    let folder = tempfile::tempdir().expect("a folder");
    let authorities = folder.path().join("authorities.pem");
    fs::write(&authorities, cert.pem()).expect("a file");
    let identity = Identity::from_pem(cert.pem(), signing_key.serialize_pem());
    let collector = Collector::start(Some(identity));
    let port = free_port();
    let mut edge = Edge::start(
        BINARY,
        &["--ephemeral", "--port", &port.to_string()],
        &[
            ("TRACING_ENABLED", "true"),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &collector.url),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-token=a%20token"),
            ("SSL_CERT_FILE", authorities.to_str().expect("UTF-8")),
        ],
    );
    edge.wait_for_ok(port, "/readyz");
    let login = json!([{"user": {"username": "alice"}, "password": "alice"}]);
    Client::open(port)
        .call("login", &login)
        .expect("a demo login");
    collector.wait_for("ddp-edge", "method login", |_| true);
}

/// What the page says of this reason.
fn dropped(port: u16, reason: &str) -> u64 {
    let page = http::get(port, "/metrics").body;
    let name = format!("ddp_edge_traces_dropped_total{{reason=\"{reason}\"}} ");
    let value = page.lines().find_map(|line| line.strip_prefix(&*name));
    value.map_or(0, |value| value.parse().expect("a number"))
}

#[test]
fn a_collector_that_is_slow_or_gone_costs_spans_and_nothing_else() {
    // It takes connections, and says nothing on them.
    let place = (Ipv4Addr::LOCALHOST, free_port());
    let silent = TcpListener::bind(place).expect("it is free");
    let place = format!("http://127.0.0.1:{}", place.1);
    let port = free_port();
    let mut edge = Edge::start(
        BINARY,
        &["--ephemeral", "--port", &port.to_string()],
        &[
            ("TRACING_ENABLED", "true"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &place),
            ("DDP_EDGE_RATE_LIMITS", "false"),
        ],
    );
    edge.wait_for_ok(port, "/readyz");
    let mut client = Client::open(port);
    let login = json!([{"user": {"username": "alice"}, "password": "alice"}]);
    client.call("login", &login).expect("a demo login");
    eventually("a full queue", || {
        for _ in 0..100 {
            client
                .call("getRoomIdByNameOrId", &json!(["general"]))
                .expect("it is served");
        }
        (dropped(port, "queue_full") > 0).then_some(())
    });
    // What holds the connection open is the listener's backlog.
    drop(silent);
    eventually("an export that fails", || {
        (dropped(port, "export_failed") > 0).then_some(())
    });
    edge.wait_for_line("traces cannot be exported");
    client
        .call("getRoomIdByNameOrId", &json!(["general"]))
        .expect("it is served");
    edge.signal("TERM");
    assert!(edge.wait_for_end().success());
}
