//! What the names on the page mean, for whoever reads it without Moleculer's manual.

/// The meaning of a name; a rate or another view of a measure has that of the measure.
pub(super) fn of(name: &str) -> Option<&'static str> {
    let known = |name: &str| HELP.iter().find(|(known, _)| *known == name);
    let (view, base) = match name.rsplit_once('_') {
        Some((base, view)) => (VIEWS.iter().find(|known| **known == view), base),
        None => (None, name),
    };
    let found = known(name).or_else(|| view.and_then(|_| known(base)));
    found.map(|(_, help)| *help)
}

const VIEWS: [&str; 6] = ["rate", "min", "mean", "max", "variance", "stddev"];

const HELP: &[(&str, &str)] = &[
    (
        "moleculer_request_total",
        "Calls, by action, caller and side",
    ),
    ("moleculer_request_active", "Calls under way"),
    (
        "moleculer_request_error_total",
        "Calls that failed, by error",
    ),
    (
        "moleculer_request_time",
        "Time to the answer of a call, in ms",
    ),
    (
        "moleculer_request_levels",
        "Calls, by how many calls they are made within",
    ),
    (
        "moleculer_request_timeout_total",
        "Calls that were not answered in time",
    ),
    (
        "moleculer_event_emit_total",
        "Events sent to one of each group",
    ),
    (
        "moleculer_event_broadcast_total",
        "Events sent to everybody",
    ),
    (
        "moleculer_event_broadcast_local_total",
        "Events given to the listeners of this node",
    ),
    (
        "moleculer_event_received_total",
        "Events received, by event and caller",
    ),
    ("moleculer_event_received_active", "Events being handled"),
    (
        "moleculer_event_received_error_total",
        "Events that could not be handled",
    ),
    (
        "moleculer_event_received_time",
        "Time from the arrival of events until all that came together were handled, in ms",
    ),
    (
        "moleculer_transit_pong_time",
        "Time to a peer and back, in ms, where pings are sent",
    ),
    (
        "moleculer_transit_ready",
        "1 while connected, with our services announced",
    ),
    (
        "moleculer_broker_local_services_total",
        "Services of this node",
    ),
    (
        "moleculer_registry_nodes_total",
        "Nodes known, this one included",
    ),
    (
        "moleculer_registry_nodes_online_total",
        "Nodes available, this one included",
    ),
    (
        "moleculer_registry_services_total",
        "Services offered on the network",
    ),
    (
        "moleculer_registry_actions_total",
        "Actions offered on the network",
    ),
    (
        "moleculer_registry_events_total",
        "Events listened to on the network",
    ),
    (
        "moleculer_registry_service_endpoints_total",
        "Nodes that offer a service",
    ),
    (
        "moleculer_registry_action_endpoints_total",
        "Nodes that offer an action",
    ),
    (
        "moleculer_registry_event_endpoints_total",
        "Nodes that listen to an event",
    ),
    (
        "moleculer_transit_requests_active",
        "Calls to other nodes without an answer",
    ),
    ("moleculer_transit_connected", "1 while NATS is connected"),
    ("moleculer_transit_publish_total", "Packets sent, by type"),
    (
        "moleculer_transit_receive_total",
        "Packets received, by type",
    ),
    ("moleculer_transporter_packets_sent_total", "Packets sent"),
    (
        "moleculer_transporter_packets_sent_bytes",
        "Bytes of packets sent",
    ),
    (
        "moleculer_transporter_packets_received_total",
        "Packets received",
    ),
    (
        "moleculer_transporter_packets_received_bytes",
        "Bytes of packets received",
    ),
    ("moleculer_node_type", "What this node runs on"),
    (
        "moleculer_node_versions_protocol",
        "Version of the protocol between nodes",
    ),
    ("ddp_edge_build_info", "Version of ddp-edge"),
    (
        "ddp_edge_metrics_dropped_total",
        "Measurements without room: too many distinct labels",
    ),
    (
        "ddp_edge_bus_requests_open",
        "Calls of other nodes without our answer",
    ),
    (
        "ddp_edge_bus_connects_total",
        "Times that NATS was connected",
    ),
    (
        "ddp_edge_bus_conflicts_total",
        "Times that another node had our id",
    ),
    (
        "ddp_edge_bus_malformed_total",
        "Packets that were none, or of another version",
    ),
    (
        "ddp_edge_bus_offers_cut_total",
        "Times that a node offered more than is remembered",
    ),
    (
        "ddp_edge_bus_requests_late_total",
        "Calls answered with their deadline, which had passed",
    ),
    (
        "ddp_edge_bus_requests_stale_total",
        "Calls not begun, because their deadline had passed",
    ),
    (
        "ddp_edge_bus_lost_total",
        "Messages lost on our side, by place",
    ),
    ("process_memory_rss", "Resident memory, in bytes"),
    ("process_resident_memory_bytes", "Resident memory, in bytes"),
    ("process_uptime", "Seconds since the start"),
    ("process_threads", "Threads"),
    ("process_open_fds", "Open files"),
    ("process_max_fds", "Open files that the system allows"),
    ("process_pid", "Process id"),
    ("os_memory_used", "Memory of the machine in use, in bytes"),
    ("os_memory_total", "Memory of the machine, in bytes"),
    (
        "os_memory_free",
        "Memory of the machine that can be had, in bytes",
    ),
    ("os_uptime", "Seconds since the machine's start"),
    ("os_cpu_load_1", "Load of the machine over 1 minute"),
    ("os_cpu_load_5", "Load of the machine over 5 minutes"),
    ("os_cpu_load_15", "Load of the machine over 15 minutes"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_of_a_measure_means_what_the_measure_means() {
        let time = of("moleculer_request_time");
        assert!(time.is_some());
        assert_eq!(of("moleculer_request_time_stddev"), time);
        assert_eq!(
            of("moleculer_request_total_rate"),
            of("moleculer_request_total")
        );
        assert_eq!(of("something_else"), None);
    }
}
