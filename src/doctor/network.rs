//! Who else is on the bus: the monolith, other nodes and their versions, what the licence says about their number.

use std::{collections::BTreeMap, time::Duration};

use backplane::{Bus, NodeInfo};
use services::license::is_valid;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::finding::Finding;
use crate::{config::Settings, license::EXTERNAL};

/// Nodes answer a DISCOVER at once; a busy monolith takes its time.
const MEET_MIN: Duration = Duration::from_millis(1_500);
const MEET_MAX: Duration = Duration::from_secs(5);
const LEAVE: Duration = Duration::from_secs(1);

/// Joins the network as a node that offers nothing, looks around and leaves.
pub(super) async fn examine(settings: &Settings, version: Option<&str>) -> Vec<Finding> {
    let (bus, driver) = Bus::nats(settings.bus.clone());
    let stop = CancellationToken::new();
    let driving = tokio::spawn(driver.run(stop.clone()));
    let started = Instant::now();
    while started.elapsed() < MEET_MIN || !bus.has_service(MONOLITH) && started.elapsed() < MEET_MAX
    {
        sleep(Duration::from_millis(50)).await;
    }
    let nodes: Vec<_> = bus
        .nodes()
        .into_iter()
        .filter(|node| !node.local && node.available)
        .collect();
    let mut findings = vec![monolith(&nodes, version)];
    findings.push(others(&nodes));
    findings.extend(hub(&nodes, version));
    findings.push(licence(&bus, &nodes).await);
    bus.leave(LEAVE).await;
    stop.cancel();
    // It has left; how the driver ended changes no finding.
    drop(driving.await);
    findings
}

fn offers(node: &NodeInfo, service: &str) -> bool {
    node.services.iter().any(|name| **name == *service)
}

fn monolith(nodes: &[NodeInfo], version: Option<&str>) -> Finding {
    let monoliths: Vec<_> = nodes.iter().filter(|node| offers(node, MONOLITH)).collect();
    match monoliths.as_slice() {
        [] => Finding::fault(
            "network.monolith",
            "no Rocket.Chat has answered on this bus",
            "our services stay unannounced until `settings` and `license` are there; a gateway is not ready",
            "start the monolith with the same TRANSPORTER (its own may read monolith+nats://) and MS_NAMESPACE; a monolith \
             without a licence for microservices or a TRANSPORTER stays alone",
        ),
        some => {
            let names: Vec<_> = some.iter().map(|node| describe(node)).collect();
            let line = version.map_or_else(String::new, |version| {
                format!(", of line {}", line(version))
            });
            Finding::fine("network.monolith", format!("{}{line}", names.join("; ")))
        }
    }
}

/// Major and minor version, as the differences of lines are written down.
fn line(version: &str) -> String {
    version.split('.').take(2).collect::<Vec<_>>().join(".")
}

fn describe(node: &NodeInfo) -> String {
    match &node.client {
        Some(client) => format!("{} ({client})", node.id),
        None => node.id.to_string(),
    }
}

fn others(nodes: &[NodeInfo]) -> Finding {
    let all: Vec<_> = nodes
        .iter()
        .filter(|node| !offers(node, MONOLITH))
        .map(|node| {
            let services: Vec<_> = EXTERNAL
                .into_iter()
                .filter(|service| offers(node, service))
                .collect();
            format!("{} offers {}", describe(node), services.join(" "))
        })
        .collect();
    let ours: Vec<_> = nodes
        .iter()
        .filter_map(|node| node.client.as_deref()?.strip_prefix("rust "))
        .filter(|version| *version != env!("CARGO_PKG_VERSION"))
        .collect();
    let found = match all.as_slice() {
        [] => "no other nodes".to_owned(),
        all => all.join("; "),
    };
    if ours.is_empty() {
        Finding::fine("network.nodes", found)
    } else {
        Finding::warning(
            "network.nodes",
            found,
            format!(
                "ddp-edge {} beside this {}: fine while you roll out",
                ours.join(", "),
                env!("CARGO_PKG_VERSION")
            ),
            "bring all of them to one version when you are done",
        )
    }
}

/// stream-hub: needed before 7.7, gone from 8.0 on (ecosystem.md 0).
fn hub(nodes: &[NodeInfo], version: Option<&str>) -> Option<Finding> {
    let mut numbers = version?
        .split(['.', '-'])
        .map_while(|part| part.parse::<u32>().ok());
    let line = (numbers.next()?, numbers.next()?);
    let is_there = nodes.iter().any(|node| offers(node, "hub"));
    // Ours is idle where it is not wanted.
    let is_theirs = nodes
        .iter()
        .any(|node| offers(node, "hub") && !node.is_ours());
    match (line < (7, 7), is_there) {
        (true, false) => Some(Finding::warning(
            "network.hub",
            "no stream-hub, and this line does not announce its changes itself",
            "clients see no news of rooms and messages, unless the monolith watches the database itself",
            "run `ddp-edge stream-hub` or stream-hub-service once, unless DISABLE_DB_WATCHERS is unset at the monolith",
        )),
        _ if line >= (8, 0) && is_theirs => Some(Finding::warning(
            "network.hub",
            "a stream-hub, which this line does not have any more",
            "every change may be announced twice",
            "remove it",
        )),
        _ => None,
    }
}

async fn licence(bus: &Bus, nodes: &[NodeInfo]) -> Finding {
    if !bus.has_service("license") {
        return Finding::warning(
            "network.licence",
            "nobody answers for the licence",
            "without a monolith there is no licence to ask",
            "see network.monolith",
        );
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for service in EXTERNAL {
        let count = nodes.iter().filter(|node| offers(node, service)).count();
        counts.insert(service, count);
    }
    let several: Vec<_> = counts
        .iter()
        .filter(|(_, count)| **count > 1)
        .map(|(service, count)| format!("{count} of {service}"))
        .collect();
    match is_valid(bus, Some("scalability")).await {
        Ok(true) => Finding::fine("network.licence", "several nodes of a service are allowed"),
        Ok(false) if several.is_empty() => Finding::warning(
            "network.licence",
            "one node of each service is allowed, and no more are there",
            "a second one ends one of the two after two refusals, a rolling update included; so does a network whose only outside service is one of ours",
            "scale only with a licence that has the module `scalability`",
        ),
        Ok(false) => Finding::fault(
            "network.licence",
            format!(
                "one node of each service is allowed, and there are {}",
                several.join(", ")
            ),
            "after two refused checks the node that sorts first drains and exits with code 1, ours and the original's alike",
            "run one of each, or get a licence that has the module `scalability`",
        ),
        Err(error) => Finding::warning(
            "network.licence",
            format!("the licence service does not answer: {error}"),
            "nothing is ended because of a licence that nobody answers for",
            "look into the monolith's log",
        ),
    }
}

/// The service by which a monolith is known.
const MONOLITH: &str = "meteor";
