//! MongoDB: reachable, a replica set, its indexes, its clock.

use std::time::Duration;

use store::{Error, Examination, Store};

use super::finding::Finding;

/// Who looks for a fault does not wait as long as a service does.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// Statuses expire and tokens end by the clock: beyond this people notice.
const CLOCK_MAX: i64 = 2_000;

/// The findings, and the version of the workspace that has used this database last.
pub(super) async fn examine(
    store: Result<Store, Error>,
    url: &str,
) -> (Vec<Finding>, Option<String>) {
    let found = match store {
        Ok(store) => match store.examine().await {
            Ok(examination) => Ok((store, examination)),
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    };
    match found {
        Ok((store, examination)) => {
            let mut findings: Vec<_> = examination.iter().flat_map(judge).collect();
            let version = store.server_version().await.ok().flatten();
            findings.push(match &version {
                Some(version) => {
                    Finding::fine("workspace.version", format!("Rocket.Chat {version}"))
                }
                None => Finding::warning(
                    "workspace.version",
                    "this database has never seen a Rocket.Chat",
                    "it may be the wrong one: users and rooms are read from it",
                    "check the database in the path of MONGO_URL; it must be the monolith's",
                ),
            });
            (findings, version)
        }
        Err(error) => {
            let found = format!("{}: {error}", store::masked(url));
            let finding = Finding::fault(
                "mongo.reachable",
                found,
                "nobody can log in, and no room can be judged: a gateway is not ready",
                "check hosts, account, authSource and TLS options in MONGO_URL, and what lies between",
            );
            (vec![finding], None)
        }
    }
}

fn judge(server: &Examination) -> Vec<Finding> {
    let mut findings = vec![Finding::fine(
        "mongo.reachable",
        format!("MongoDB {}", server.version),
    )];
    findings.push(match &server.replica_set {
        Some(name) if server.is_primary => {
            Finding::fine("mongo.replica_set", format!("{name}, and a primary answers"))
        }
        Some(name) => Finding::fault(
            "mongo.replica_set",
            format!("{name}, and what answers is no primary"),
            "nothing can be written: no login, no presence",
            "name all members and replicaSet in MONGO_URL, without directConnection; see rs.status()",
        ),
        None => Finding::fault(
            "mongo.replica_set",
            "the server stands alone",
            "changes cannot be followed: the monolith and stream-hub announce nothing, and clients see no news",
            "start mongod with --replSet and call rs.initiate() once",
        ),
    });
    findings.push(if server.missing_indexes.is_empty() {
        Finding::fine("mongo.indexes", "those that our look-ups need are there")
    } else {
        Finding::warning(
            "mongo.indexes",
            format!("missing: {}", server.missing_indexes.join("; ")),
            "look-ups read whole collections: slow logins in a large workspace",
            "the monolith makes its own at its start; `presence` makes those of usersSessions and instances (DDP_EDGE_CREATE_INDEXES)",
        )
    });
    let (ahead, error) = (server.clock_ahead, server.clock_error);
    let is_off = ahead.unsigned_abs() > CLOCK_MAX.unsigned_abs() + error.as_millis() as u64;
    findings.push(if is_off {
        Finding::warning(
            "mongo.clock",
            format!("the server's clock is {ahead} ms ahead of this machine's"),
            "tokens and statuses end too early or too late, and processes that live are taken for dead",
            "run a time service (chrony, systemd-timesyncd) on both machines",
        )
    } else {
        Finding::fine("mongo.clock", format!("{ahead} ms ahead of ours"))
    });
    findings
}
