//! `ddp-edge doctor`: looks at everything that a role of ours depends on, and says what is wrong and how to mend it.

mod finding;
mod machine;
mod mongo;
mod nats;
mod network;

use std::process::ExitCode;

use store::{MongoConfig, Store};

use self::finding::{Finding, Level};
use crate::config::Settings;

/// Looks at everything, prints what was found, and says by the exit code whether something is broken: 0 nothing, 1
/// something. A configuration that cannot be used ends the process before (2).
pub(crate) fn run(settings: &Settings, as_json: bool) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let findings = runtime.block_on(examine(settings));
    // What still waits for a server that is away is not waited for.
    runtime.shutdown_background();
    println!("{}", finding::print(&findings, as_json));
    let is_broken = findings.iter().any(|finding| finding.level == Level::Fault);
    Ok(ExitCode::from(u8::from(is_broken)))
}

async fn examine(settings: &Settings) -> Vec<Finding> {
    let mut findings = nats::examine(&settings.bus).await;
    let nats_works = findings.iter().all(|finding| finding.level != Level::Fault);
    let config = MongoConfig {
        url: settings.mongo_url.clone(),
        deadline: mongo::PATIENCE,
    };
    let store = Store::mongo(config).await;
    let (in_mongo, version) = mongo::examine(store, &settings.mongo_url).await;
    findings.extend(in_mongo);
    if nats_works {
        findings.extend(network::examine(settings, version.as_deref()).await);
    }
    findings.extend(machine::examine(settings));
    findings
}
