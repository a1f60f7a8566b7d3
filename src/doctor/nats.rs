//! NATS: reachable, its rights, its largest message.

use backplane::{Config, Found, examine as ask};

use super::finding::Finding;

/// Below this a large method result, such as `rooms/get` of a busy user, does not get through. The servers' own default.
const PAYLOAD_MIN: usize = 1024 * 1024;

pub(super) async fn examine(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    let examined = ask(config).await;
    let any_works = examined.iter().any(|server| server.found.is_ok());
    for server in examined {
        match server.found {
            Ok(found) => findings.extend(judge(&server.place, &found)),
            Err(error) => {
                let found = format!("{}: {error}", server.place);
                let mend = mend(&error);
                findings.push(if any_works {
                    let means = "the others carry us, until one of them fails too";
                    Finding::warning("nats.reachable", found, means, mend)
                } else {
                    let means = "no role of ours works without NATS: a gateway refuses clients with 503 bus_down";
                    Finding::fault("nats.reachable", found, means, mend)
                });
            }
        }
    }
    findings
}

fn judge(place: &str, server: &Found) -> Vec<Finding> {
    let mut findings = Vec::new();
    let time = server.round_trip.map_or_else(
        || "no echo".to_owned(),
        |time| format!("{time:.1?} there and back"),
    );
    findings.push(Finding::fine(
        "nats.reachable",
        format!("{place}: nats-server {}, {time}", server.version),
    ));
    findings.push(if server.refused.is_empty() && server.round_trip.is_some() {
        Finding::fine("nats.rights", "every subject of a node may be read and written")
    } else {
        let found = match server.refused.as_slice() {
            [] => "what we send to ourselves does not come back".to_owned(),
            refused => refused.join("; "),
        };
        Finding::fault(
            "nats.rights",
            found,
            "calls or events on these subjects never arrive: clients wait for answers, or miss messages in silence",
            "give the account the subjects of deploy/nats-permissions.conf (with MS_NAMESPACE=x every MOL is MOL-x)",
        )
    });
    let size = server.payload_max;
    findings.push(if size >= PAYLOAD_MIN {
        Finding::fine("nats.payload", format!("messages of up to {size} bytes"))
    } else {
        Finding::warning(
            "nats.payload",
            format!("messages of up to {size} bytes only"),
            "larger answers and events fail, for Node services too",
            "set max_payload of the nats-server to 1MB or more",
        )
    });
    findings
}

fn mend(error: &str) -> &'static str {
    let error = error.to_ascii_lowercase();
    if error.contains("authoriz") || error.contains("authent") {
        "check user, password, token, nkey or credentials: TRANSPORTER and DDP_EDGE_NATS_*"
    } else if error.contains("tls") || error.contains("certificate") {
        "check DDP_EDGE_NATS_CA, DDP_EDGE_NATS_CERT and DDP_EDGE_NATS_KEY, and the names in the server's certificate"
    } else {
        "check host and port in TRANSPORTER, that nats-server runs, and what lies between (firewall, NetworkPolicy)"
    }
}
