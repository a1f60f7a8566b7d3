//! Every variable this binary reads, as data: the parser, the flags, the printed configuration and CONFIG.md all follow it.

use crate::role::Role;

/// One environment variable; `--the-same-name` on the command line overrides it.
pub(crate) struct Variable {
    pub(crate) name: &'static str,
    /// The value that applies when it is unset or empty, as one would write it; empty when there is none.
    pub(crate) default: &'static str,
    /// Who reads it.
    pub(crate) group: Group,
    /// One line for `--help` and CONFIG.md.
    pub(crate) meaning: &'static str,
}

impl Variable {
    /// Its flag's name: `MS_METRICS_PORT` is `--ms-metrics-port`; our own prefix is left out: `DDP_EDGE_DATA` is `--data`.
    pub(crate) fn flag(&self) -> String {
        let name = self.name.strip_prefix("DDP_EDGE_").unwrap_or(self.name);
        name.to_ascii_lowercase().replace('_', "-")
    }

    /// Whether it is read as true or false.
    pub(crate) fn is_switch(&self) -> bool {
        // Of those without a default one is: unset means that the server's line decides.
        matches!(self.default, "true" | "false") || self.name == "DISABLE_DB_WATCHERS"
    }

    /// Whether its value may hold a password, so that none of it is ever shown as it was given.
    pub(crate) fn is_secret(&self) -> bool {
        matches!(self.name, "TRANSPORTER" | "MONGO_URL")
    }
}

/// Which commands a variable concerns.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    /// Every role.
    Process,
    /// Every role but the sandbox: NATS and MongoDB.
    Servers,
    /// Whatever runs the gateway.
    Gateway,
    /// Whatever runs the gateway, and the accounts service.
    Logins,
    /// Whatever runs the authorization service on real servers.
    Authorization,
    /// Whatever runs the presence service on real servers.
    Presence,
    /// Whatever runs the stream-hub on real servers.
    Hub,
    /// The sandbox alone.
    Sandbox,
    /// Known from the original and accepted, without an effect here.
    Accepted,
}

impl Group {
    pub(crate) fn concerns(self, role: Role) -> bool {
        let gateway = matches!(role, Role::Gateway | Role::All | Role::Sandbox);
        match self {
            Self::Process => true,
            Self::Servers | Self::Accepted => role != Role::Sandbox,
            Self::Gateway => gateway,
            Self::Logins => gateway || role == Role::Accounts,
            Self::Authorization => matches!(role, Role::Authorization | Role::All),
            Self::Presence => matches!(role, Role::Presence | Role::All),
            Self::Hub => matches!(role, Role::StreamHub | Role::All),
            Self::Sandbox => role == Role::Sandbox,
        }
    }
}

const fn var(
    name: &'static str,
    default: &'static str,
    group: Group,
    meaning: &'static str,
) -> Variable {
    Variable {
        name,
        default,
        group,
        meaning,
    }
}

use Group::{Accepted, Authorization, Gateway, Hub, Logins, Presence, Process, Sandbox, Servers};

pub(crate) const VARIABLES: &[Variable] = &[
    var(
        "PORT",
        "by role",
        Process,
        "HTTP port; gateway, `all` and sandbox 3000, accounts 3033, authorization 3034, presence 3031, stream-hub 3035",
    ),
    var(
        "DDP_EDGE_BIND",
        "",
        Process,
        "address to listen on; empty is every address (IPv6 and IPv4), in the sandbox loopback (127.0.0.1 and ::1)",
    ),
    var(
        "MS_METRICS",
        "false",
        Process,
        "serve Prometheus metrics at /metrics",
    ),
    var("MS_METRICS_PORT", "9458", Process, "port of the metrics"),
    var(
        "MOLECULER_LOG_LEVEL",
        "info",
        Process,
        "fatal, error, warn, info, debug or trace; RUST_LOG refines it",
    ),
    var(
        "DDP_EDGE_LOG_FORMAT",
        "auto",
        Process,
        "text, json or auto: text on a terminal and in the sandbox, json elsewhere",
    ),
    var(
        "DDP_EDGE_DRAIN_SECONDS",
        "25",
        Process,
        "time a graceful stop may take",
    ),
    var(
        "DDP_EDGE_ADMIN_LISTEN",
        "",
        Process,
        "host:port of the admin port (connections, kick, shed, drain, log level), off without; keep it on loopback or a private network",
    ),
    var(
        "DDP_EDGE_ADMIN_TOKEN_FILE",
        "",
        Process,
        "file with the token (16 bytes or more) that every request to the admin port carries",
    ),
    var(
        "TRANSPORTER",
        "nats://localhost:4222",
        Servers,
        "NATS servers, comma separated: nats://[user:password@]host[:port]; a name without a password is a token, tls:// insists on TLS",
    ),
    var(
        "DDP_EDGE_NATS_NKEY",
        "",
        Servers,
        "file with the nkey seed of our NATS user",
    ),
    var(
        "DDP_EDGE_NATS_CREDS",
        "",
        Servers,
        "credentials file (JWT and seed) of our NATS user",
    ),
    var(
        "DDP_EDGE_NATS_CA",
        "",
        Servers,
        "file with the certificate authorities (PEM) of NATS, instead of the system's; makes TLS a must",
    ),
    var(
        "DDP_EDGE_NATS_CERT",
        "",
        Servers,
        "file with our certificate (PEM) for NATS; makes TLS a must",
    ),
    var(
        "DDP_EDGE_NATS_KEY",
        "",
        Servers,
        "file with the private key (PEM) of DDP_EDGE_NATS_CERT",
    ),
    var(
        "MS_NAMESPACE",
        "",
        Servers,
        "Moleculer namespace, part of every NATS subject; must equal the monolith's",
    ),
    var(
        "MONGO_URL",
        "mongodb://localhost:27017/rocketchat",
        Servers,
        "MongoDB; the path names the database",
    ),
    var(
        "HEARTBEAT_INTERVAL",
        "10",
        Servers,
        "seconds between heartbeats on the bus",
    ),
    var(
        "HEARTBEAT_TIMEOUT",
        "30",
        Servers,
        "seconds without a heartbeat until a peer counts as lost; also when a stalled thread of ours counts as a gap",
    ),
    var(
        "REQUEST_TIMEOUT",
        "60",
        Servers,
        "seconds a call on the bus may take",
    ),
    var(
        "BALANCE_PREFER_LOCAL",
        "true",
        Servers,
        "a service in the same process always gets the call",
    ),
    var(
        "BALANCE_STRATEGY",
        "RoundRobin",
        Servers,
        "which of several nodes gets a call: RoundRobin, Random, CpuUsage, Latency or Shard",
    ),
    var("SERIALIZER", "EJSON", Servers, "only EJSON is spoken"),
    var("BROKER", "moleculer", Servers, "only moleculer is spoken"),
    var(
        "LICENSE_CHECK_INTERVAL",
        "20",
        Servers,
        "seconds between two licence checks",
    ),
    var(
        "MAX_FAILS",
        "2",
        Servers,
        "refused licence checks in a row until the node that the original would end drains and exits",
    ),
    var(
        "USE_EXTERNAL_ABAC_SERVICE",
        "false",
        Authorization,
        "leave the service abac to another node and ask that; without it authorization offers abac.canAccessObject itself",
    ),
    var(
        "MULTIPLE_INSTANCES_EXPIRE",
        "1",
        Presence,
        "minutes after which a document in `instances` that has not moved stands for a dead process",
    ),
    var(
        "DDP_EDGE_PRESENCE_MODE",
        "auto",
        Presence,
        "rules of a status: `engine` (8.6 and later), `legacy`, or `auto`, which looks at the server's version and its peers",
    ),
    var(
        "DDP_EDGE_CREATE_INDEXES",
        "true",
        Presence,
        "make missing indexes on `usersSessions` and `instances` at start",
    ),
    var(
        "DDP_EDGE_DRAIN_LINGER_SECONDS",
        "2",
        Gateway,
        "time in which a gateway that stops says so at /readyz and still lets clients in, for proxies that do not try another one; part of DDP_EDGE_DRAIN_SECONDS",
    ),
    var(
        "MULTIPLE_INSTANCES_PING_INTERVAL",
        "10",
        Gateway,
        "seconds between two updates of this process' document in `instances`",
    ),
    var(
        "HTTP_FORWARDED_COUNT",
        "0",
        Gateway,
        "trusted proxies in front: which element of X-Forwarded-For, from the end, is the client",
    ),
    var(
        "DDP_EDGE_TRUSTED_PROXIES",
        "",
        Gateway,
        "proxies in front by address (`10.0.0.0/8, 192.0.2.7`): the last element of X-Forwarded-For that is none of them is the client; replaces HTTP_FORWARDED_COUNT",
    ),
    var(
        "DDP_EDGE_PROXY_PROTOCOL",
        "false",
        Gateway,
        "connections of trusted proxies begin with a PROXY header (v1 or v2), which says who the client is; needs DDP_EDGE_TRUSTED_PROXIES",
    ),
    var(
        "DDP_EDGE_HTTP_PER_ADDRESS",
        "100",
        Gateway,
        "sockets of one address (one /64) that are no websockets (yet); for one more the oldest of them goes. Judged where there are DDP_EDGE_TRUSTED_PROXIES",
    ),
    var(
        "DDP_EDGE_HTTP_SECONDS",
        "10",
        Gateway,
        "time that the header of a request may take; six times that is the longest that a socket may speak HTTP",
    ),
    var(
        "DDP_MAX_BUFFERED_BYTES",
        "4194304",
        Gateway,
        "bytes that may wait for one client before it is closed with 1013",
    ),
    var(
        "DDP_EDGE_BUFFER_BYTES",
        "1073741824",
        Gateway,
        "bytes held for all clients together: what waits to be written or has come in part; from 3/4 on typing and the like are not held, from 9/10 on new websockets get 503, beyond it whoever holds most is closed with 1013",
    ),
    var(
        "DDP_EDGE_SHARDS",
        "cores",
        Gateway,
        "threads that own sockets",
    ),
    var(
        "DDP_EDGE_MAX_CONNECTIONS",
        "100000",
        Gateway,
        "open sockets on this node, fewer where the system lets it open fewer files; more get 503",
    ),
    var(
        "DDP_EDGE_ANONYMOUS_PER_ADDRESS",
        "200",
        Gateway,
        "sockets without login from one address (one /64), judged when HTTP_FORWARDED_COUNT > 0 or there are trusted proxies",
    ),
    var(
        "DDP_EDGE_CONNECTIONS_PER_ADDRESS",
        "5000",
        Gateway,
        "sockets from one address (one /64), judged as those without login",
    ),
    var(
        "DDP_EDGE_CONNECTIONS_PER_USER",
        "200",
        Gateway,
        "sockets of one user, judged as those without login",
    ),
    var(
        "DDP_EDGE_HANDSHAKES_PER_SECOND",
        "2000",
        Gateway,
        "websocket handshakes admitted per second",
    ),
    var(
        "DDP_EDGE_LOGINS_PER_SECOND",
        "1000",
        Gateway,
        "logins passed on per second",
    ),
    var(
        "DDP_EDGE_MAX_MESSAGE_BYTES",
        "1048576",
        Gateway,
        "largest message of a logged-in client",
    ),
    var(
        "DDP_EDGE_IDLE_CLOSE_CODE",
        "1001",
        Gateway,
        "close code of an idle connection; 4000 is the original's, after which the mobile app stays away",
    ),
    var(
        "DDP_EDGE_PASSWORD_LOGIN",
        "false",
        Logins,
        "password logins over the socket (bots of old lines); the sandbox turns it on",
    ),
    var(
        "DDP_EDGE_ORIGINS",
        "*",
        Gateway,
        "pages that may connect: * or a comma separated list of origins; the sandbox takes loopback pages and those of a list",
    ),
    var(
        "DDP_EDGE_BROADCAST_SECRET_HEADERS",
        "false",
        Gateway,
        "leave cookies and authorization in the connection objects on the bus, as the original does",
    ),
    var(
        "DDP_EDGE_RATE_LIMITS",
        "true",
        Gateway,
        "apply the workspace's DDP_Rate_Limit_* settings; windows: count exactly in windows as the monolith does, for tests",
    ),
    var(
        "DDP_EDGE_RESYNC_SECONDS",
        "10",
        Gateway,
        "time over which sockets are closed after events may have been missed",
    ),
    var(
        "DISABLE_DB_WATCHERS",
        "",
        Hub,
        "whether the workspace announces its changes itself; unset follows its line: before 7.7 it does not, from 7.7 on it does",
    ),
    var(
        "CHANGESTREAM_FULL_DOCUMENT",
        "false",
        Hub,
        "updates are read with their document, and some events carry it",
    ),
    var(
        "DBWATCHER_ONLY_COLLECTIONS",
        "",
        Hub,
        "collections to announce, comma separated; wins over DBWATCHER_EXCLUDE_COLLECTIONS",
    ),
    var(
        "DBWATCHER_EXCLUDE_COLLECTIONS",
        "",
        Hub,
        "collections not to announce, comma separated",
    ),
    var(
        "DDP_EDGE_DATA",
        "ddp-edge-data",
        Sandbox,
        "folder of the embedded store",
    ),
    var(
        "DDP_EDGE_EPHEMERAL",
        "false",
        Sandbox,
        "keep nothing on disk",
    ),
    var(
        "NODE_ENV",
        "",
        Accepted,
        "the original proxies HTTP outside production; nothing is proxied here",
    ),
    var(
        "CACHE",
        "",
        Accepted,
        "the original's action cache, which nothing uses",
    ),
    var(
        "RETRY_ENABLED",
        "false",
        Accepted,
        "calls are never retried",
    ),
    var("RETRY_RETRIES", "", Accepted, "see RETRY_ENABLED"),
    var("RETRY_DELAY", "", Accepted, "see RETRY_ENABLED"),
    var("RETRY_MAX_DELAY", "", Accepted, "see RETRY_ENABLED"),
    var("RETRY_FACTOR", "", Accepted, "see RETRY_ENABLED"),
    var(
        "BULKHEAD_ENABLED",
        "",
        Accepted,
        "calls are bounded by their own limits",
    ),
    var("BULKHEAD_CONCURRENCY", "", Accepted, "see BULKHEAD_ENABLED"),
    var(
        "BULKHEAD_MAX_QUEUE_SIZE",
        "",
        Accepted,
        "see BULKHEAD_ENABLED",
    ),
    var(
        "SKIP_PROCESS_EVENT_REGISTRATION",
        "",
        Accepted,
        "signals are always handled",
    ),
    var(
        "WAIT_FOR_SERVICES_TIMEOUT",
        "",
        Accepted,
        "a missing service fails the call at once",
    ),
    var(
        "IGNORE_CHANGE_STREAM",
        "",
        Accepted,
        "the oplog is never read: change streams only",
    ),
    var("USE_NATIVE_OPLOG", "", Accepted, "see IGNORE_CHANGE_STREAM"),
    var("MONGO_OPLOG_URL", "", Accepted, "see IGNORE_CHANGE_STREAM"),
    var("TRACING_ENABLED", "", Accepted, "no traces are exported"),
    var(
        "DISABLE_MESSAGE_PARSER",
        "",
        Accepted,
        "messages are never parsed here",
    ),
];
