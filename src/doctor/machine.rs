//! This machine: ports, open files, the kernel's queue, and what a gateway that runs here has seen of its proxies.

use std::{
    fs,
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener},
};

use super::finding::Finding;
use crate::{ask, config::Settings, files, health};

pub(super) fn examine(settings: &Settings) -> Vec<Finding> {
    let mut findings = vec![port("port.http", "PORT", settings.bind, settings.port)];
    if let Some(metrics) = settings.metrics_port {
        findings.push(port(
            "port.metrics",
            "MS_METRICS_PORT",
            settings.bind,
            metrics,
        ));
        findings.extend(proxies(metrics, settings.gateway.forwarded_count));
    }
    findings.push(open_files(settings));
    findings.extend(backlog());
    findings
}

fn port(check: &'static str, name: &str, bind: Option<IpAddr>, port: u16) -> Finding {
    let address = bind.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    let tried = TcpListener::bind((address, port)).or_else(|error| match (bind, error.kind()) {
        (None, kind) if kind != ErrorKind::AddrInUse => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))
        }
        _ => Err(error),
    });
    match tried.map_err(|error| error.kind()) {
        Ok(_) => Finding::fine(check, format!("{name} {port} is free")),
        Err(ErrorKind::AddrInUse) if check == "port.http" && health::is_alive(port) => {
            Finding::fine(
                check,
                format!("a process that lives answers on {name} {port}"),
            )
        }
        Err(ErrorKind::AddrInUse) if page(port).is_some_and(|page| page.contains("moleculer_")) => {
            Finding::fine(check, format!("metrics are served on {name} {port}"))
        }
        Err(kind) => Finding::fault(
            check,
            format!("{name} {port} cannot be had: {kind}"),
            "a role of ours ends at its start",
            match kind {
                ErrorKind::AddrInUse => {
                    "end the other process (`ss -ltnp`), or choose another port"
                }
                ErrorKind::PermissionDenied => {
                    "choose a port from 1024 on, or grant CAP_NET_BIND_SERVICE"
                }
                _ => "check DDP_EDGE_BIND: the address must be this machine's",
            },
        ),
    }
}

fn open_files(settings: &Settings) -> Finding {
    let mut fitted = settings.gateway.clone();
    let Some(limit) = files::within_the_limit(&mut fitted) else {
        return Finding::fine("files", "no limit");
    };
    let (wanted, got) = (settings.gateway.connections_max, fitted.connections_max);
    if got >= wanted {
        return Finding::fine(
            "files",
            format!("{limit} open files, enough for {wanted} sockets"),
        );
    }
    Finding::warning(
        "files",
        format!("{limit} open files: a gateway here takes {got} sockets, not {wanted}"),
        "more clients get 503 node_full",
        "raise nofile (LimitNOFILE in systemd, ulimits in compose, the container runtime's limit), or lower DDP_EDGE_MAX_CONNECTIONS",
    )
}

fn backlog() -> Option<Finding> {
    let text = fs::read_to_string("/proc/sys/net/core/somaxconn").ok()?;
    let limit: u32 = text.trim().parse().ok()?;
    Some(if limit >= BACKLOG_MIN {
        Finding::fine(
            "kernel.somaxconn",
            format!("{limit} sockets may wait to be accepted"),
        )
    } else {
        Finding::warning(
            "kernel.somaxconn",
            format!("{limit} sockets may wait to be accepted"),
            "in a reconnect storm the kernel refuses clients before we see them",
            "sysctl net.core.somaxconn=4096",
        )
    })
}

/// What a gateway that runs here has counted about its proxies.
fn proxies(port: u16, count: usize) -> Option<Finding> {
    let page = page(port)?;
    let seen = |what: &str| -> f64 {
        let label = format!("seen=\"{what}\"");
        let lines = page
            .lines()
            .filter(|line| line.starts_with("ddp_edge_forwarded_total{"));
        let of_kind = lines.filter(|line| line.contains(&label));
        of_kind
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    };
    let (fine, unexpected, missing, inside) = (
        seen("fine"),
        seen("unexpected"),
        seen("missing"),
        seen("inside"),
    );
    let wrong = unexpected + missing + inside;
    if fine + wrong == 0.0 {
        return None;
    }
    let all = fine + wrong;
    let found = format!(
        "of {all} clients {fine} came as promised, {unexpected} with a header nobody promised, {missing} with too few hops, {inside} with an inside address"
    );
    let means =
        "limits and lockouts count by the wrong address, and the monolith is told the wrong one";
    // A probe of one's own, or one host that goes around the proxy, is no wrong count.
    if wrong * 20.0 < all {
        return Some(Finding::fine("proxies.forwarded", found));
    }
    let mend = if unexpected > 0.0 {
        "set HTTP_FORWARDED_COUNT to the number of proxies in front that append to X-Forwarded-For, or name them in DDP_EDGE_TRUSTED_PROXIES"
    } else if missing > inside {
        "lower HTTP_FORWARDED_COUNT, or let every proxy append to X-Forwarded-For (nginx: $proxy_add_x_forwarded_for)"
    } else {
        "raise HTTP_FORWARDED_COUNT by the proxies between, or name them in DDP_EDGE_TRUSTED_PROXIES"
    };
    let found = format!("HTTP_FORWARDED_COUNT is {count}; {found}");
    Some(Finding::warning("proxies.forwarded", found, means, mend))
}

/// The metrics of the process on this port of the machine.
fn page(port: u16) -> Option<String> {
    ask::get((Ipv4Addr::LOCALHOST, port).into(), "/metrics", None).ok()
}

/// Linux has 4,096 since 5.4 and had 128 before.
const BACKLOG_MIN: u32 = 1_024;
