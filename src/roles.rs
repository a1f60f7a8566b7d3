//! Builds the parts of a role, runs them, and ends them in order: sockets first, then services, then the bus.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::Context as _;
use backplane::{Bus, Driver};
use bytes::Bytes;
use gateway::Gateway;
use http_body_util::Full;
use hyper::{
    Response, StatusCode,
    header::{self, HeaderValue},
};
use store::{MongoConfig, Store};
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    admin::{self, Panel},
    config::Settings,
    http,
    hub::Hub,
    license, log,
    metrics::{CONTENT_TYPE, Metrics},
    role::Role,
    traces::Traces,
};

/// Runs the role until a signal (or a refused licence) ends it.
///
/// # Errors
/// What kept it from starting, or made it end.
pub(crate) fn run(
    role: Role,
    settings: Settings,
    effective: Arc<[String]>,
    level: log::Level,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("work")
        .enable_all()
        .build()?;
    let result = runtime.block_on(serve(role, settings, effective, level));
    // A look-up that hangs must not hold up the exit.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

async fn serve(
    role: Role,
    settings: Settings,
    effective: Arc<[String]>,
    level: log::Level,
) -> anyhow::Result<()> {
    let mut stop = Stop::new()?;
    // The sandbox is alone; its console looks for plain names.
    let node = (role != Role::Sandbox).then_some(&*settings.bus.node_id);
    let metrics = Metrics::install(node, settings.bus.namespace.as_deref())?;
    let parts = async {
        match role {
            Role::Sandbox => sandbox_parts(&settings).await,
            _ => server_parts(&settings).await,
        }
    };
    // A name server that does not answer must not keep a signal waiting.
    let (store, bus, driver) = tokio::select! {
        parts = parts => parts?,
        () = stop.signalled() => return Ok(()),
    };
    tokio::spawn(metrics.clone().keep(bus.clone()));
    let traces = settings.traces.as_ref();
    let traces = traces.map(|config| Traces::start(config, bus.node_id()));
    let traces = traces.transpose()?;
    if let Some(port) = settings.metrics_port {
        let (metrics, bus) = (metrics.clone(), bus.clone());
        let pages = move |path: &str| {
            (path == "/metrics").then(|| (StatusCode::OK, CONTENT_TYPE, metrics.render(&bus)))
        };
        http::serve_pages(settings.bind, port, pages)
            .await
            .context("the metrics (MS_METRICS_PORT)")?;
    }
    let shutdown = CancellationToken::new();
    let mut services = JoinSet::new();
    start_services(role, &settings, &bus, &store, &shutdown, &mut services);
    let hub = Hub::start(role, &settings, &bus, &store);

    let operate = |gateway| {
        let panel = Panel {
            role,
            bus: bus.clone(),
            metrics: metrics.clone(),
            gateway,
            config: effective,
            level,
            drain: stop.ordered.clone(),
        };
        let listen = settings.admin.clone();
        async move {
            match listen {
                Some(listen) => admin::serve(&listen, panel)
                    .await
                    .context("the admin port (DDP_EDGE_ADMIN_LISTEN)"),
                None => Ok(()),
            }
        }
    };
    let has_gateway = matches!(role, Role::Gateway | Role::All | Role::Sandbox);
    let ended = if has_gateway {
        let fallback = (role == Role::Sandbox).then(|| {
            web(
                services::sandbox::web(bus.clone(), store.clone()),
                metrics.clone(),
                bus.clone(),
            )
        });
        let gateway = Gateway::start(
            settings.gateway.clone(),
            bus.clone(),
            driver,
            store,
            fallback,
        )
        .await?;
        operate(Some(gateway.admin())).await?;
        announce_start(role, gateway.local_addr().port(), &settings);
        let ended = stop.wait(role, &bus, &settings).await;
        tracing::info!("draining");
        let left = tokio::select! {
            left = gateway.drain() => left,
            () = stop.signalled() => anyhow::bail!("a second signal: sockets were cut"),
        };
        tracing::info!(left, "drained");
        if let Some(hub) = hub {
            hub.stop().await;
        }
        ended
    } else {
        let driving = driver.map(|driver| {
            let shutdown = shutdown.clone();
            tokio::spawn(driver.run(shutdown))
        });
        let health = hub.as_ref().map(|hub| hub.health.clone());
        let draining = serve_health(&settings, &bus, &store, health).await?;
        operate(None).await?;
        announce_start(role, settings.port, &settings);
        let ended = stop.wait(role, &bus, &settings).await;
        draining.store(true, Relaxed);
        let leaving = async {
            if let Some(hub) = hub {
                hub.stop().await;
            }
            bus.leave(settings.gateway.drain_within / 2).await;
        };
        tokio::select! {
            () = leaving => {}
            () = stop.signalled() => anyhow::bail!("a second signal: requests were left unanswered"),
        }
        shutdown.cancel();
        if let Some(driving) = driving {
            driving.await.context("the bus")?;
        }
        ended
    };
    shutdown.cancel();
    // A service that waits for a database which is away does not see the end; nobody waits for its answer any more.
    let joined = async { while services.join_next().await.is_some() {} };
    if timeout(settings.gateway.drain_within / 4, joined)
        .await
        .is_err()
    {
        tracing::warn!("a service did not end in time");
    }
    if let Some(traces) = traces {
        traces.end().await;
    }
    ended
}

/// The sandbox has one port: its console reads the metrics beside everything else.
fn web(sandbox: services::sandbox::Web, metrics: Metrics, bus: Bus) -> gateway::Fallback {
    Arc::new(move |request| {
        if request.uri().path() != "/metrics" {
            return sandbox(request);
        }
        let mut response = Response::new(Full::new(Bytes::from(metrics.render(&bus))));
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        Box::pin(std::future::ready(response))
    })
}

async fn sandbox_parts(settings: &Settings) -> anyhow::Result<(Store, Bus, Option<Driver>)> {
    let store =
        Store::embedded(settings.data.as_deref()).with_context(|| match &settings.data {
            Some(path) => format!(
                "cannot use the data folder {} (--data names another one, --ephemeral keeps nothing)",
                path.display()
            ),
            None => "cannot open the store in memory".to_owned(),
        })?;
    services::sandbox::prepare(&store)
        .await
        .context("cannot make the demo workspace")?;
    Ok((store, Bus::in_process(settings.bus.node_id.clone()), None))
}

async fn server_parts(settings: &Settings) -> anyhow::Result<(Store, Bus, Option<Driver>)> {
    for option in store::unsupported_options(&settings.mongo_url) {
        tracing::warn!(
            option,
            "MONGO_URL has an option that is not supported; it is left out"
        );
    }
    if store::database_name(&settings.mongo_url).is_none() {
        tracing::warn!(
            "MONGO_URL names no database: `{}` is used",
            store::DATABASE_DEFAULT
        );
    }
    let config = MongoConfig {
        url: settings.mongo_url.clone(),
        ..MongoConfig::default()
    };
    let store = Store::mongo(config).await.with_context(|| {
        format!(
            "cannot use MONGO_URL {}",
            store::masked(&settings.mongo_url)
        )
    })?;
    let (bus, driver) = Bus::nats(settings.bus.clone());
    Ok((store, bus, Some(driver)))
}

fn start_services(
    role: Role,
    settings: &Settings,
    bus: &Bus,
    store: &Store,
    shutdown: &CancellationToken,
    services: &mut JoinSet<()>,
) {
    let everything = matches!(role, Role::All | Role::Sandbox);
    let parts = || (bus.clone(), store.clone(), shutdown.clone());
    if role == Role::Accounts || everything {
        let (bus, store, shutdown) = parts();
        let config = services::accounts::Config {
            password_login: settings.gateway.password_login,
            ..Default::default()
        };
        services.spawn(services::accounts::run(bus, store, config, shutdown));
    }
    if role == Role::Authorization || everything {
        let (bus, store, shutdown) = parts();
        services.spawn(services::authorization::run(
            bus,
            store,
            services::authorization::Config {
                hosts_abac: settings.hosts_abac,
            },
            shutdown,
        ));
    }
    if role == Role::Presence || everything {
        let (bus, store, shutdown) = parts();
        let mut config = settings.presence;
        if role == Role::Sandbox {
            // Its console sets a status that ends.
            config.mode = services::presence::Mode::Engine;
            // A demo has no licence, and a crowd of silent clients must not end what it shows.
            config.connections_max = u32::MAX;
        }
        services.spawn(services::presence::run(bus, store, config, shutdown));
    }
    if role == Role::Sandbox {
        let (bus, store, shutdown) = parts();
        services.spawn(services::sandbox::run(bus, store, shutdown));
    }
}

/// Health of a satellite: alive means that this runtime answers at all; ready tells the truth about the servers, in the
/// shape and the words of the gateway. What is returned is to be set when it drains.
async fn serve_health(
    settings: &Settings,
    bus: &Bus,
    store: &Store,
    hub: Option<services::stream_hub::Health>,
) -> anyhow::Result<Arc<AtomicBool>> {
    // A probe must not wait for the store's deadline: a task keeps asking, the probe reads the last answer.
    let reachable = Arc::new(AtomicBool::new(false));
    tokio::spawn({
        let (store, reachable) = (store.clone(), reachable.clone());
        async move {
            loop {
                let answered = timeout(PING_MAX, store.ping()).await;
                reachable.store(matches!(answered, Ok(Ok(()))), Relaxed);
                tokio::time::sleep(PING_EVERY).await;
            }
        }
    });
    let draining = Arc::new(AtomicBool::new(false));
    let (bus, drains) = (bus.clone(), draining.clone());
    let pages = move |path: &str| match path {
        "/health" | "/livez" => Some((StatusCode::OK, "text/plain", "ok".to_owned())),
        "/readyz" => {
            let status = bus.status();
            let hub = hub.as_ref().map(services::stream_hub::Health::report);
            let deaf = hub.as_ref().is_some_and(|report| !report.ready);
            let reasons = [
                (!status.connected, "\"the bus is not connected\""),
                (!status.announced, "\"our services are not announced\""),
                (!reachable.load(Relaxed), "\"the store is not reachable\""),
                (deaf, "\"the hub does not hear the store\""),
                (drains.load(Relaxed), "\"draining\""),
            ];
            let reasons: Vec<_> = reasons
                .into_iter()
                .filter_map(|(is_missing, reason)| is_missing.then_some(reason))
                .collect();
            let (ready, status) = match reasons.is_empty() {
                true => (true, StatusCode::OK),
                false => (false, StatusCode::SERVICE_UNAVAILABLE),
            };
            let hub = hub.map_or_else(String::new, |report| {
                format!(r#","hub":"{}""#, report.state)
            });
            let reasons = reasons.join(",");
            let body = format!(r#"{{"ready":{ready},"reasons":[{reasons}]{hub}}}"#);
            Some((status, "application/json", body))
        }
        _ => None,
    };
    http::serve_pages(settings.bind, settings.port, pages)
        .await
        .context("the health server (PORT)")?;
    Ok(draining)
}

/// Says what runs; on a terminal the sandbox also says what to try.
fn announce_start(role: Role, port: u16, settings: &Settings) {
    tracing::info!(
        role = role.name(),
        port,
        node = settings.bus.node_id,
        "started"
    );
    if role == Role::Sandbox {
        let is_open = |address: &std::net::IpAddr| !address.is_loopback();
        if let Some(address) = settings.gateway.bind.filter(is_open) {
            tracing::warn!(
                "the sandbox listens on {address}: whoever reaches it can log in as anybody; under names other than \
                 localhost it answers only those of --origins"
            );
        }
        let folder = match &settings.data {
            Some(path) => format!("in {}", path.display()),
            None => "in memory only".to_owned(),
        };
        println!("{}", services::sandbox::welcome(port, &folder));
    }
}

/// What ends a process.
struct Stop {
    /// An operator's order at the admin port.
    ordered: CancellationToken,
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Stop {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            ordered: CancellationToken::new(),
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn signalled(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// # Errors
    /// A refused licence; the caller drains first.
    async fn wait(&mut self, role: Role, bus: &Bus, settings: &Settings) -> anyhow::Result<()> {
        let ordered = self.ordered.clone();
        if role == Role::Sandbox {
            tokio::select! {
                () = self.signalled() => {}
                () = ordered.cancelled() => {}
            }
            return Ok(());
        }
        tokio::select! {
            () = self.signalled() => Ok(()),
            () = ordered.cancelled() => Ok(()),
            reason = license::refused(bus, settings.license_check, settings.license_fails) => {
                tracing::error!("{reason}");
                Err(anyhow::anyhow!(reason))
            }
        }
    }
}

/// A dead database is noticed within five seconds.
const PING_EVERY: Duration = Duration::from_secs(2);
const PING_MAX: Duration = Duration::from_secs(2);
