//! The environment and the command line, judged in one place: strings in, the crates' plain configurations out.

mod bus;
mod in_force;
mod reader;
mod table;
mod traces;
mod variable;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs as _},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use gateway::config::Origins;
use ipnet::IpNet;
use protocol::limits::Limits;

use self::{bus::bus, reader::Reader, traces::traces};
pub(crate) use self::{
    reader::{effective, unknown},
    table::VARIABLES,
    variable::{Group, Variable},
};
use crate::{admin, log, role::Role};

/// Everything one process was told, typed.
pub(crate) struct Settings {
    pub(crate) bind: Option<IpAddr>,
    pub(crate) port: u16,
    pub(crate) metrics_port: Option<u16>,
    pub(crate) log_level: String,
    pub(crate) admin: Option<admin::Listen>,
    pub(crate) log_format: log::Format,
    pub(crate) bus: backplane::Config,
    pub(crate) mongo_url: String,
    pub(crate) gateway: gateway::config::Config,
    pub(crate) hub: services::stream_hub::Config,
    pub(crate) license_check: Duration,
    pub(crate) license_fails: u32,
    pub(crate) hosts_abac: bool,
    pub(crate) presence: services::presence::Config,
    /// The sandbox's folder; `None` keeps nothing.
    pub(crate) data: Option<PathBuf>,
    pub(crate) traces: Option<crate::traces::Config>,
}

impl Settings {
    /// Reads all variables that concern this role.
    ///
    /// # Errors
    /// Every mistake found, one line each.
    pub(crate) fn read(role: Role, values: &BTreeMap<String, String>) -> Result<Self, Vec<String>> {
        let mut r = Reader::new(values.clone());
        let sandbox = role == Role::Sandbox;
        let bind = bind(&mut r, sandbox);
        let port = r.number("PORT", role.port(), 0..=u16::MAX);
        let metrics = r.flag("MS_METRICS", false);
        let metrics_port = r.number("MS_METRICS_PORT", 9458, 0..=u16::MAX);
        let bus = bus(&mut r);
        let settings = Self {
            bind,
            port,
            metrics_port: metrics.then_some(metrics_port),
            log_level: log_level(&mut r),
            admin: admin(&mut r),
            log_format: log_format(&mut r, sandbox),
            mongo_url: mongo_url(&mut r),
            gateway: gateway(&mut r, bind, port, sandbox, bus.heartbeat_timeout),
            hub: hub(&mut r),
            license_check: r.seconds(
                "LICENSE_CHECK_INTERVAL",
                Duration::from_secs(20),
                0.1..=86_400.0,
            ),
            license_fails: r.number("MAX_FAILS", 2, 1..=1_000),
            presence: presence(&mut r, bus.heartbeat_timeout),
            hosts_abac: !r.flag("USE_EXTERNAL_ABAC_SERVICE", false),
            data: data(&mut r),
            traces: traces(&mut r, role),
            bus,
        };
        match r.mistakes() {
            mistakes if mistakes.is_empty() => Ok(settings),
            mistakes => Err(mistakes),
        }
    }
}

/// The sandbox's folder; contradictions are mistakes.
fn data(r: &mut Reader) -> Option<PathBuf> {
    let folder = r.text("DDP_EDGE_DATA").map(PathBuf::from);
    if !r.flag("DDP_EDGE_EPHEMERAL", false) {
        return Some(folder.unwrap_or_else(|| "ddp-edge-data".into()));
    }
    if folder.is_some() {
        r.mistake(
            "DDP_EDGE_DATA",
            "a folder for what --ephemeral (DDP_EDGE_EPHEMERAL) does not keep; expected one of the two",
        );
    }
    None
}

fn bind(r: &mut Reader, sandbox: bool) -> Option<IpAddr> {
    let Some(parsed) = r.text("DDP_EDGE_BIND").map(str::parse) else {
        // Nobody else on the network reaches the sandbox unless that is asked for.
        return sandbox.then_some(Ipv4Addr::LOCALHOST.into());
    };
    parsed
        .map_err(|_| r.mistake("DDP_EDGE_BIND", "expected an IP address"))
        .ok()
}

/// Where the admin port of a process is, for whoever looks at it.
///
/// # Errors
/// What is wrong with the settings, one line each.
pub(crate) fn admin_port(values: &BTreeMap<String, String>) -> Result<admin::Listen, Vec<String>> {
    let mut r = Reader::new(values.clone());
    let listen = admin(&mut r);
    match (r.mistakes(), listen) {
        (mistakes, Some(listen)) if mistakes.is_empty() => Ok(listen),
        (mistakes, None) if mistakes.is_empty() => {
            Err(vec!["DDP_EDGE_ADMIN_LISTEN: is not set".to_owned()])
        }
        (mistakes, _) => Err(mistakes),
    }
}

/// Judged when it is asked for: without a token that nobody can guess there is no admin port.
fn admin(r: &mut Reader) -> Option<admin::Listen> {
    let address = r.text("DDP_EDGE_ADMIN_LISTEN")?.to_owned();
    let token_file = PathBuf::from(r.text_or("DDP_EDGE_ADMIN_TOKEN_FILE", ""));
    if admin::token(&token_file).is_none() {
        r.mistake(
            "DDP_EDGE_ADMIN_TOKEN_FILE",
            "expected a file with a token of 16 to 1024 bytes",
        );
    }
    let mut resolved = address.to_socket_addrs().ok().into_iter().flatten();
    let Some(address) = resolved.next() else {
        r.mistake("DDP_EDGE_ADMIN_LISTEN", "expected host:port");
        return None;
    };
    Some(admin::Listen {
        address,
        token_file,
    })
}

fn log_level(r: &mut Reader) -> String {
    match r
        .text_or("MOLECULER_LOG_LEVEL", "info")
        .to_ascii_lowercase()
        .as_str()
    {
        "fatal" | "error" => "error",
        "warn" => "warn",
        "info" => "info",
        "debug" => "debug",
        "trace" => "trace",
        _ => {
            r.mistake(
                "MOLECULER_LOG_LEVEL",
                "expected fatal, error, warn, info, debug or trace",
            );
            "info"
        }
    }
    .to_owned()
}

fn log_format(r: &mut Reader, sandbox: bool) -> log::Format {
    use std::io::IsTerminal as _;
    match r.text_or("DDP_EDGE_LOG_FORMAT", "auto").as_str() {
        "text" => log::Format::Text,
        "json" => log::Format::Json,
        "auto" if sandbox || std::io::stderr().is_terminal() => log::Format::Text,
        "auto" => log::Format::Json,
        _ => {
            r.mistake("DDP_EDGE_LOG_FORMAT", "expected text, json or auto");
            log::Format::Json
        }
    }
}

fn mongo_url(r: &mut Reader) -> String {
    let url = r.text_or("MONGO_URL", "mongodb://localhost:27017/rocketchat");
    if let Some(mistake) = store::url_mistake(&url) {
        r.mistake("MONGO_URL", mistake);
    }
    url
}

fn presence(r: &mut Reader, heartbeat_timeout: Duration) -> services::presence::Config {
    use services::presence::{Config, Mode};
    let mode = match r.text_or("DDP_EDGE_PRESENCE_MODE", "auto").as_str() {
        "auto" => Mode::Auto,
        "legacy" => Mode::Legacy,
        "engine" => Mode::Engine,
        _ => {
            r.mistake("DDP_EDGE_PRESENCE_MODE", "expected auto, legacy or engine");
            Mode::Auto
        }
    };
    let minutes = r.number("MULTIPLE_INSTANCES_EXPIRE", 1_u32, 1..=1_440);
    Config {
        heartbeat_timeout,
        instances_expire: Duration::from_secs(60) * minutes,
        mode,
        create_indexes: r.flag("DDP_EDGE_CREATE_INDEXES", true),
        ..Config::default()
    }
}

fn gateway(
    r: &mut Reader,
    bind: Option<IpAddr>,
    port: u16,
    sandbox: bool,
    stall_after: Duration,
) -> gateway::config::Config {
    let defaults = gateway::config::Config::default();
    let limits = Limits {
        message_bytes: r.number(
            "DDP_EDGE_MAX_MESSAGE_BYTES",
            1_048_576,
            65_536..=104_857_600,
        ),
        outbox_bytes: r.number("DDP_MAX_BUFFERED_BYTES", 4_194_304, 65_536..=1_073_741_824),
        idle_close_code: r.number("DDP_EDGE_IDLE_CLOSE_CODE", 1001, 1000..=4999),
        ..Limits::default()
    };
    if !matches!(limits.idle_close_code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        r.mistake(
            "DDP_EDGE_IDLE_CLOSE_CODE",
            "not a close code that may be sent",
        );
    }
    let drain_within = r.seconds(
        "DDP_EDGE_DRAIN_SECONDS",
        defaults.drain_within,
        0.0..=3_600.0,
    );
    let trusted_proxies = trusted_proxies(r);
    let proxy_protocol = r.flag("DDP_EDGE_PROXY_PROTOCOL", false);
    if proxy_protocol && trusted_proxies.is_empty() {
        r.mistake(
            "DDP_EDGE_PROXY_PROTOCOL",
            "say in DDP_EDGE_TRUSTED_PROXIES whose headers are believed",
        );
    }
    let is_alone = sandbox && r.text("DDP_EDGE_BIND").is_none();
    gateway::config::Config {
        bind,
        bind_also: is_alone.then_some(Ipv6Addr::LOCALHOST.into()),
        // So that a visitor sees within seconds what becomes of a client that does not read.
        send_buffer: sandbox.then_some(64 * 1024),
        port,
        shards: r.number("DDP_EDGE_SHARDS", defaults.shards, 1..=63),
        limits: Arc::new(limits),
        forwarded_count: r.number("HTTP_FORWARDED_COUNT", 0, 0..=100),
        trusted_proxies,
        connections_max: r.number(
            "DDP_EDGE_MAX_CONNECTIONS",
            defaults.connections_max,
            1..=10_000_000,
        ),
        lobby_per_address: r.number(
            "DDP_EDGE_HTTP_PER_ADDRESS",
            defaults.lobby_per_address,
            1..=1_000_000,
        ),
        header_timeout: r.seconds(
            "DDP_EDGE_HTTP_SECONDS",
            defaults.header_timeout,
            0.1..=3_600.0,
        ),
        proxy_protocol,
        buffer_bytes: r.number(
            "DDP_EDGE_BUFFER_BYTES",
            defaults.buffer_bytes,
            16_777_216..=1_099_511_627_776,
        ),
        anonymous_per_address: r.number(
            "DDP_EDGE_ANONYMOUS_PER_ADDRESS",
            defaults.anonymous_per_address,
            1..=10_000_000,
        ),
        connections_per_address: r.number(
            "DDP_EDGE_CONNECTIONS_PER_ADDRESS",
            defaults.connections_per_address,
            1..=10_000_000,
        ),
        connections_per_user: r.number(
            "DDP_EDGE_CONNECTIONS_PER_USER",
            defaults.connections_per_user,
            1..=10_000_000,
        ),
        handshakes_per_second: r.number(
            "DDP_EDGE_HANDSHAKES_PER_SECOND",
            defaults.handshakes_per_second,
            1..=1_000_000,
        ),
        logins_per_second: r.number(
            "DDP_EDGE_LOGINS_PER_SECOND",
            defaults.logins_per_second,
            1..=1_000_000,
        ),
        origins: origins(r, sandbox),
        password_login: r.flag("DDP_EDGE_PASSWORD_LOGIN", sandbox),
        broadcast_secret_headers: r.flag("DDP_EDGE_BROADCAST_SECRET_HEADERS", false),
        rate_limits: rate_limits(r),
        resync_over: r.seconds(
            "DDP_EDGE_RESYNC_SECONDS",
            defaults.resync_over,
            0.0..=3_600.0,
        ),
        drain_within,
        drain_linger: drain_linger(r, sandbox, drain_within),
        instance_ping: r.seconds(
            "MULTIPLE_INSTANCES_PING_INTERVAL",
            defaults.instance_ping,
            0.1..=3_600.0,
        ),
        stall_after,
        ..defaults
    }
}

/// Nobody stands in front of a sandbox, and a short drain has no time for it.
fn drain_linger(r: &mut Reader, sandbox: bool, within: Duration) -> Duration {
    let default = Duration::from_secs(2);
    let linger = r.seconds("DDP_EDGE_DRAIN_LINGER_SECONDS", default, 0.0..=60.0);
    if sandbox {
        Duration::ZERO
    } else {
        linger.min(within / 2)
    }
}

fn hub(r: &mut Reader) -> services::stream_hub::Config {
    let list = |text: Option<&str>| -> Option<Vec<String>> {
        let names = text?.split(',').map(|name| name.trim().to_owned());
        Some(names.filter(|name| !name.is_empty()).collect())
    };
    services::stream_hub::Config {
        only: list(r.text("DBWATCHER_ONLY_COLLECTIONS")),
        exclude: list(r.text("DBWATCHER_EXCLUDE_COLLECTIONS")).unwrap_or_default(),
        full_documents: r.flag("CHANGESTREAM_FULL_DOCUMENT", false),
        disable_watchers: r
            .text("DISABLE_DB_WATCHERS")
            .is_some()
            .then(|| r.flag("DISABLE_DB_WATCHERS", true)),
    }
}

fn trusted_proxies(r: &mut Reader) -> Vec<IpNet> {
    let list = r.text_or("DDP_EDGE_TRUSTED_PROXIES", "");
    let parse = |text: &str| {
        text.parse()
            .ok()
            .or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
    };
    let parts = list
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    let nets: Option<Vec<IpNet>> = parts.map(parse).collect();
    nets.unwrap_or_else(|| {
        r.mistake(
            "DDP_EDGE_TRUSTED_PROXIES",
            "expected addresses or networks such as 10.0.0.0/8, comma separated",
        );
        Vec::new()
    })
}

fn rate_limits(r: &mut Reader) -> gateway::config::RateLimits {
    use gateway::config::RateLimits;
    const NAME: &str = "DDP_EDGE_RATE_LIMITS";
    if r.text(NAME) == Some("windows") {
        RateLimits::Windows
    } else if r.flag(NAME, true) {
        RateLimits::On
    } else {
        RateLimits::Off
    }
}

fn origins(r: &mut Reader, sandbox: bool) -> Origins {
    match (r.text("DDP_EDGE_ORIGINS"), sandbox) {
        (None, true) => Origins::Loopback(Vec::new()),
        (Some("*"), true) => {
            r.mistake(
                "DDP_EDGE_ORIGINS",
                "with it any page on the web could use the sandbox; expected the origins of yours, such as http://192.0.2.7:3000",
            );
            Origins::Loopback(Vec::new())
        }
        (None | Some("*"), false) => Origins::Any,
        (Some(list), _) => {
            let origins: Vec<String> = list
                .split(',')
                .map(|origin| origin.trim().trim_end_matches('/').to_ascii_lowercase())
                .collect();
            if origins
                .iter()
                .any(|o| !(o.starts_with("https://") || o.starts_with("http://")))
            {
                r.mistake(
                    "DDP_EDGE_ORIGINS",
                    "expected * or origins such as https://chat.example.org, comma separated",
                );
            }
            match sandbox {
                true => Origins::Loopback(origins),
                false => Origins::List(origins),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(role: Role, values: &[(&str, &str)]) -> Result<Settings, Vec<String>> {
        Settings::read(
            role,
            &values
                .iter()
                .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
                .collect(),
        )
    }

    #[test]
    fn nothing_set_gives_the_documented_defaults() {
        let settings = read(Role::Gateway, &[]).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
        assert_eq!(settings.port, 3000);
        assert_eq!(settings.metrics_port, None);
        assert_eq!(settings.gateway.limits.outbox_bytes, 4 * 1024 * 1024);
        assert_eq!(settings.bus.heartbeat_timeout, Duration::from_secs(30));
    }

    #[test]
    fn mistakes_in_different_parts_are_listed_together() {
        let wrong = [
            ("PORT", "70000"),
            ("TRANSPORTER", "TCP"),
            ("SERIALIZER", "MsgPack"),
            ("BROKER", "nats"),
            ("MONGO_URL", "localhost"),
            ("DDP_EDGE_ORIGINS", "chat.example.org"),
            ("DDP_EDGE_IDLE_CLOSE_CODE", "1005"),
            ("DDP_EDGE_TRUSTED_PROXIES", "10.0.0.1, proxy"),
            ("MOLECULER_LOG_LEVEL", "loud"),
        ];
        let mistakes = read(Role::Gateway, &wrong).err().unwrap_or_default();
        for (name, _) in wrong {
            assert!(
                mistakes.iter().any(|m| m.starts_with(name)),
                "{name} is missing in {mistakes:?}"
            );
        }
    }

    fn sandbox(values: &[(&str, &str)]) -> Settings {
        read(Role::Sandbox, values).unwrap_or_else(|mistakes| panic!("{mistakes:?}"))
    }

    #[test]
    fn the_sandbox_stays_on_loopback_unless_it_is_told_otherwise() {
        let alone = sandbox(&[]);
        let addresses = [alone.gateway.bind, alone.gateway.bind_also];
        assert_eq!(
            addresses,
            [
                Some(Ipv4Addr::LOCALHOST.into()),
                Some(Ipv6Addr::LOCALHOST.into())
            ]
        );
        assert_eq!(alone.gateway.origins, Origins::Loopback(vec![]));
        assert!(alone.gateway.password_login);
        let told = sandbox(&[
            ("DDP_EDGE_BIND", "0.0.0.0"),
            ("DDP_EDGE_ORIGINS", "http://192.0.2.7:3000"),
        ]);
        let addresses = [told.gateway.bind, told.gateway.bind_also];
        assert_eq!(addresses, [Some(Ipv4Addr::UNSPECIFIED.into()), None]);
        let named = vec!["http://192.0.2.7:3000".to_owned()];
        assert_eq!(told.gateway.origins, Origins::Loopback(named));
    }

    #[test]
    fn the_sandbox_refuses_what_would_open_it_to_the_web() {
        let mistakes = read(Role::Sandbox, &[("DDP_EDGE_ORIGINS", "*")]).err();
        let mistakes = mistakes.unwrap_or_default();
        assert!(mistakes[0].contains("any page on the web"), "{mistakes:?}");
    }

    #[test]
    fn the_printed_configuration_is_what_is_in_force() {
        let printed = |role: Role, values: &[(&str, &str)]| {
            let settings = read(role, values).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
            let values = values
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect();
            effective(role, &values, &settings.in_force())
        };
        let sandbox = printed(Role::Sandbox, &[("DDP_EDGE_EPHEMERAL", "yes")]);
        for line in [
            "PORT=3000 (default)",
            "DDP_EDGE_PASSWORD_LOGIN=true (default)",
            "DDP_EDGE_ORIGINS=loopback (default)",
            "DDP_EDGE_BIND=127.0.0.1,::1 (default)",
        ] {
            assert!(sandbox.iter().any(|l| l == line), "{line}: {sandbox:?}");
        }
        assert!(!sandbox.iter().any(|line| line.contains("DDP_EDGE_DATA")));
        let accounts = printed(Role::Accounts, &[]);
        assert!(accounts.iter().any(|line| line == "PORT=3033 (default)"));
        let off = "DDP_EDGE_PASSWORD_LOGIN=false (default)";
        assert!(accounts.iter().any(|line| line == off));
    }

    #[test]
    fn a_mistake_names_the_flag_and_the_value_that_were_given() {
        let mistakes = |values: &[(&str, &str)]| {
            read(Role::Sandbox, values)
                .err()
                .unwrap_or_default()
                .join("\n")
        };
        let wanted = "expected a number from 0 to 65535, not `http`";
        assert_eq!(mistakes(&[("PORT", "http")]), format!("PORT: {wanted}"));
        assert_eq!(
            mistakes(&[("PORT", "http"), ("--port", "http")]),
            format!("--port: {wanted}")
        );
        let both = [("DDP_EDGE_EPHEMERAL", "true"), ("DDP_EDGE_DATA", "x")];
        assert!(mistakes(&both).contains("expected one of the two"));
    }
}
