//! The driver over the embedded store's feed: one process, nothing to lease, and every change comes with its document.

use std::time::{Duration, Instant};

use backplane::Bus;
use store::{Change, ErrorKind, Feed, Store};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{
    metrics,
    reads::settle,
    rules::{Facts, Known},
    send::{Origin, send},
};

/// Announces the feed's changes until the shutdown or the end of the store.
pub(super) async fn run(bus: &Bus, store: &Store, mut feed: Feed, shutdown: &CancellationToken) {
    let mut facts = Facts::default();
    // When everything before was announced.
    let mut announced = Instant::now();
    loop {
        let changes = tokio::select! {
            () = shutdown.cancelled() => return,
            changes = feed.next() => changes,
        };
        let outcome = match changes {
            Ok(Some(changes)) => announce(bus, store, &changes, &mut facts).await,
            Ok(None) => return,
            Err(error) => Err(error),
        };
        let Err(error) = outcome else {
            announced = Instant::now();
            continue;
        };
        tracing::error!(%error, "the change feed broke; going on from now");
        if error.kind() != ErrorKind::HistoryLost {
            // Such as a disk that cannot be read: not mended by asking at once.
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = sleep(AFTER_FAILURE) => {}
            }
        }
        match store.changes(None) {
            Ok(fresh) => {
                feed = fresh;
                bus.history_lost(announced);
            }
            Err(error) => return tracing::error!(%error, "the store has no change feed"),
        }
    }
}

async fn announce(
    bus: &Bus,
    store: &Store,
    changes: &[(u64, Change)],
    facts: &mut Facts,
) -> Result<(), store::Error> {
    for batch in changes.split_inclusive(|(_, change)| Facts::are_in(change)) {
        if !facts.are_read() {
            *facts = Facts::read(
                &store
                    .documents_by_id(store::Collection::Settings, &Facts::ids(), &["value"])
                    .await?,
            );
        }
        let changes: Vec<&Change> = batch.iter().map(|(_, change)| change).collect();
        let settled = settle(store, &changes, facts, Known::of_feed).await?;
        for (change, announcements) in changes.iter().zip(&settled) {
            metrics::change(change);
            // In process there is no connection to lose.
            let _ = send(bus, announcements, &Origin::Here);
        }
        if changes.last().is_some_and(|change| Facts::are_in(change)) {
            *facts = Facts::default();
        }
    }
    Ok(())
}

const AFTER_FAILURE: Duration = Duration::from_secs(1);
