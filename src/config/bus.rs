//! The variables of the bus.

use std::time::Duration;

use backplane::{Access, AccessPart, Server, Strategy};

use super::reader::Reader;

/// How the bus is reached, and what is said there.
pub(super) fn bus(r: &mut Reader) -> backplane::Config {
    let (servers, access) = servers(r);
    for (name, only) in [("SERIALIZER", "EJSON"), ("BROKER", "moleculer")] {
        if r.text(name)
            .is_some_and(|value| !value.eq_ignore_ascii_case(only))
        {
            r.mistake(name, format_args!("only {only} is spoken"));
        }
    }
    let namespace = r.text("MS_NAMESPACE").map(str::to_owned);
    if namespace
        .as_deref()
        .is_some_and(|n| n.contains([' ', '*', '>', '\t']) || n.split('.').any(str::is_empty))
    {
        r.mistake("MS_NAMESPACE", "must be usable in a NATS subject");
    }
    let hostname = hostname();
    backplane::Config {
        servers,
        access,
        namespace,
        node_id: format!("{}-{}", hostname.to_ascii_lowercase(), uuid::Uuid::new_v4()),
        hostname,
        request_timeout: r.seconds("REQUEST_TIMEOUT", Duration::from_secs(60), 0.1..=3_600.0),
        heartbeat_interval: r.seconds("HEARTBEAT_INTERVAL", Duration::from_secs(10), 0.1..=3_600.0),
        heartbeat_timeout: r.seconds("HEARTBEAT_TIMEOUT", Duration::from_secs(30), 0.3..=3_600.0),
        prefer_local: r.flag("BALANCE_PREFER_LOCAL", true),
        strategy: strategy(r),
        ..backplane::Config::default()
    }
}

/// The servers and what they ask for, judged as the driver will judge them.
fn servers(r: &mut Reader) -> (Vec<Server>, Access) {
    let servers = Server::list(&r.text_or("TRANSPORTER", "nats://localhost:4222"));
    let servers = servers.unwrap_or_else(|mistake| {
        r.mistake("TRANSPORTER", mistake);
        Vec::new()
    });
    let file = |name| r.text(name).map(Into::into);
    let access = Access {
        nkey: file("DDP_EDGE_NATS_NKEY"),
        credentials: file("DDP_EDGE_NATS_CREDS"),
        ca: file("DDP_EDGE_NATS_CA"),
        certificate: file("DDP_EDGE_NATS_CERT"),
        key: file("DDP_EDGE_NATS_KEY"),
    };
    for (part, why) in access.mistakes() {
        let name = match part {
            AccessPart::Nkey => "DDP_EDGE_NATS_NKEY",
            AccessPart::Credentials => "DDP_EDGE_NATS_CREDS",
            AccessPart::Ca => "DDP_EDGE_NATS_CA",
            AccessPart::Certificate => "DDP_EDGE_NATS_CERT",
            AccessPart::Key => "DDP_EDGE_NATS_KEY",
        };
        r.mistake(name, why);
    }
    (servers, access)
}

fn strategy(r: &mut Reader) -> Strategy {
    match r
        .text_or("BALANCE_STRATEGY", "RoundRobin")
        .to_ascii_lowercase()
        .as_str()
    {
        "roundrobin" => Strategy::RoundRobin,
        // Without a key, which Rocket.Chat never names, the original's shards are chosen at random as well.
        "random" | "shard" => Strategy::Random,
        "cpuusage" => Strategy::CpuUsage,
        "latency" => Strategy::Latency,
        _ => {
            r.mistake(
                "BALANCE_STRATEGY",
                "expected RoundRobin, Random, CpuUsage, Latency or Shard",
            );
            Strategy::RoundRobin
        }
    }
}

/// The host name as the kernel knows it; part of the node id, so that a person recognises the pod.
fn hostname() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    // The node id is the tail of NATS subjects: nothing in it may split or match.
    let name: String = name
        .trim()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        .collect();
    let name = name.trim_matches('.');
    if name.is_empty() || name.contains("..") {
        "ddp-edge".to_owned()
    } else {
        name.to_owned()
    }
}
