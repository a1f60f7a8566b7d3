//! The licence signals of the original, with the same outcome (backplane.md 4.6): where `license` is on the network and
//! refuses again and again, the node that the original would end says so, drains and exits. There is no switch around it.

use std::time::Duration;

use backplane::{Bus, NodeInfo};
use services::license::is_valid;

/// The services that the original counts: those outside the monolith.
pub(crate) const EXTERNAL: [&str; 8] = [
    "streamer",
    "accounts",
    "authorization",
    "abac",
    "presence",
    "hub",
    "queue-worker",
    "omnichannel-transcript",
];

/// Asks until the licence service has refused `fails` times in a row and one of our services is the one to end;
/// returns the reason, for the operator.
pub(crate) async fn refused(bus: &Bus, every: Duration, fails: u32) -> String {
    let mut refusals = 0;
    loop {
        tokio::time::sleep(every).await;
        // Where no monolith has been seen there is no licence to ask.
        if !bus.has_service("license") {
            continue;
        }
        match is_valid(bus, Some("scalability")).await {
            Ok(true) => refusals = 0,
            Ok(false) => refusals += 1,
            // The original counts errors too; here only a licence service that was heard may end a node.
            Err(error) => {
                tracing::warn!(%error, "the licence could not be checked");
                continue;
            }
        }
        if refusals >= fails
            && let Some(service) = to_end(&bus.nodes())
        {
            return format!(
                "the workspace has no licence for more than one instance of a service, and this node is the one of {service} to end"
            );
        }
    }
}

/// The service of ours for which the original would end this node: ours sorts first among its nodes, and there are
/// others, or it is the only external service there is.
fn to_end(nodes: &[NodeInfo]) -> Option<&'static str> {
    let available = || nodes.iter().filter(|node| node.available);
    let offering = |service: &'static str| {
        available().filter(move |node| node.services.iter().any(|name| **name == *service))
    };
    let external = EXTERNAL
        .into_iter()
        .filter(|service| offering(service).next().is_some())
        .count();
    EXTERNAL.into_iter().find(|service| {
        let first = offering(service).min_by(|a, b| a.id.encode_utf16().cmp(b.id.encode_utf16()));
        first.is_some_and(|node| node.local)
            && (offering(service).nth(1).is_some() || external == 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: &str, local: bool, services: &[&str]) -> NodeInfo {
        NodeInfo {
            id: id.into(),
            instance: None,
            hostname: None,
            client: None,
            local,
            available: true,
            services: services.iter().map(|&name| name.into()).collect(),
        }
    }

    #[test]
    fn one_instance_of_each_service_beside_a_monolith_goes_on() {
        let nodes = [
            node("mono", false, &["license", "settings"]),
            node("a", true, &["streamer"]),
            node("b", false, &["presence"]),
        ];
        assert_eq!(to_end(&nodes), None);
    }

    #[test]
    fn of_two_instances_the_one_that_sorts_first_ends() {
        let pair = |ours: &str, other: &str| {
            [
                node(ours, true, &["presence"]),
                node(other, false, &["presence"]),
            ]
        };
        assert_eq!(to_end(&pair("a", "b")), Some("presence"));
        assert_eq!(to_end(&pair("c", "b")), None);
    }

    #[test]
    fn the_only_external_service_of_a_network_ends() {
        assert_eq!(
            to_end(&[
                node("a", true, &["streamer"]),
                node("m", false, &["license"])
            ]),
            Some("streamer")
        );
    }
}
