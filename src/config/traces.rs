//! The variables of traces, by the names that OpenTelemetry gives them.

use hyper::{HeaderMap, Uri, header::HeaderName};
use opentelemetry_sdk::trace::Sampler;
use percent_encoding::percent_decode_str;

use super::reader::Reader;
use crate::{role::Role, traces::Config};

/// `None` while nobody wants any: then the others are not judged, because they may be meant for somebody else.
pub(super) fn traces(r: &mut Reader, role: Role) -> Option<Config> {
    r.flag("TRACING_ENABLED", false).then(|| Config {
        endpoint: endpoint(r),
        headers: headers(r),
        service: r.text_or("OTEL_SERVICE_NAME", service(role)),
        sampler: sampler(r),
    })
}

/// As the original calls its services.
fn service(role: Role) -> &'static str {
    match role {
        Role::Gateway => "ddp-streamer",
        Role::Accounts => "account-service",
        Role::Authorization => "authorization-service",
        Role::Presence => "presence-service",
        Role::StreamHub => "stream-hub-service",
        Role::All | Role::Sandbox => "ddp-edge",
    }
}

/// Scheme, host and port: gRPC has no path, and what else may stand there could be a password.
fn endpoint(r: &mut Reader) -> String {
    let names = [
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
    ];
    let Some(name) = names.into_iter().find(|name| r.text(name).is_some()) else {
        return "http://localhost:4317".to_owned();
    };
    let uri: Option<Uri> = r.text(name).and_then(|text| text.parse().ok());
    let scheme = uri.as_ref().and_then(Uri::scheme_str);
    let place = uri.as_ref().and_then(Uri::authority);
    let place = place.filter(|place| !place.as_str().contains('@'));
    match (scheme, place) {
        (Some(scheme @ ("http" | "https")), Some(place)) => format!("{scheme}://{place}"),
        _ => {
            r.mistake(name, "expected http://host:port or https://host:port");
            String::new()
        }
    }
}

fn headers(r: &mut Reader) -> HeaderMap {
    let name = "OTEL_EXPORTER_OTLP_HEADERS";
    let given = r.text_or(name, "");
    let parse = |header: &str| {
        let (key, value) = header.split_once('=')?;
        let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
        let key: HeaderName = key.trim().parse().ok()?;
        Some((key, value.parse().ok()?))
    };
    let pairs = given.split(',').filter(|pair| !pair.trim().is_empty());
    let headers: Option<HeaderMap> = pairs.map(parse).collect();
    headers.unwrap_or_else(|| {
        r.mistake(name, "expected name=value,.. with percent-encoded values");
        HeaderMap::new()
    })
}

fn sampler(r: &mut Reader) -> Sampler {
    let share = r.number("OTEL_TRACES_SAMPLER_ARG", 1.0, 0.0..=1.0);
    let by_share = Sampler::TraceIdRatioBased(share);
    let by_parent = |root: Sampler| Sampler::ParentBased(Box::new(root));
    let name = "OTEL_TRACES_SAMPLER";
    match r.text_or(name, "parentbased_always_on").as_str() {
        "always_on" => Sampler::AlwaysOn,
        "always_off" => Sampler::AlwaysOff,
        "traceidratio" => by_share,
        "parentbased_always_on" => by_parent(Sampler::AlwaysOn),
        "parentbased_always_off" => by_parent(Sampler::AlwaysOff),
        "parentbased_traceidratio" => by_parent(by_share),
        _ => {
            r.mistake(
                name,
                "expected always_on, always_off or traceidratio, with or without parentbased_",
            );
            Sampler::AlwaysOff
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[(&str, &str)]) -> Result<Option<Config>, Vec<String>> {
        let values = values.iter();
        let mut reader =
            Reader::new(values.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let config = traces(&mut reader, Role::Gateway);
        match reader.mistakes() {
            mistakes if mistakes.is_empty() => Ok(config),
            mistakes => Err(mistakes),
        }
    }

    #[test]
    fn traces_that_nobody_wants_are_not_judged() {
        let values = [
            ("OTEL_TRACES_SAMPLER", "xray"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "?"),
        ];
        assert!(read(&values).unwrap().is_none());
    }

    #[test]
    fn the_collector_is_where_the_originals_is_unless_somebody_says_otherwise() {
        let usual = read(&[("TRACING_ENABLED", "yes")]).unwrap().unwrap();
        assert_eq!(
            (&*usual.endpoint, &*usual.service),
            ("http://localhost:4317", "ddp-streamer")
        );
        let named = [
            ("TRACING_ENABLED", "true"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:1"),
            (
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
                "https://b:2/v1/traces",
            ),
            (
                "OTEL_EXPORTER_OTLP_HEADERS",
                "Authorization=Basic%20YTpi, x = y",
            ),
            ("OTEL_SERVICE_NAME", "front"),
        ];
        let named = read(&named).unwrap().unwrap();
        assert_eq!(
            (&*named.endpoint, &*named.service),
            ("https://b:2", "front")
        );
        let headers = named.headers.iter();
        let headers: Vec<_> = headers
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        assert_eq!(headers, [("authorization", "Basic YTpi"), ("x", "y")]);
    }

    #[test]
    fn mistakes_are_named_without_what_may_be_a_secret() {
        let values = [
            ("TRACING_ENABLED", "true"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://me:hunter2@a:1"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "hunter2"),
            ("OTEL_TRACES_SAMPLER", "xray"),
            ("OTEL_TRACES_SAMPLER_ARG", "2"),
        ];
        let mistakes = read(&values).unwrap_err();
        assert_eq!(mistakes.len(), 4, "{mistakes:?}");
        assert!(
            mistakes.iter().all(|mistake| !mistake.contains("hunter2")),
            "{mistakes:?}"
        );
    }
}
