//! The threads of a gateway, and the watchdog that measures how late they are.

use std::{
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use backplane::Driver;
use store::Store;
use tokio::runtime::{Builder, LocalOptions};
use tokio_util::sync::CancellationToken;

use crate::{link::ToBus, metrics, shard::Shard, shared::Shared};

/// Time between two questions of the watchdog.
const WATCH_EVERY: Duration = Duration::from_millis(500);

/// Part of a drain's time that belongs to leaving the bus.
pub(crate) const LEAVE_TIME: Duration = Duration::from_secs(2);

/// Starts a shard's thread; it returns the number of sockets that were left when it was told to stop.
pub(crate) fn shard(index: usize, shared: Arc<Shared>) -> io::Result<thread::JoinHandle<usize>> {
    start(format!("shard-{index}"), move || {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build_local(LocalOptions::default());
        let runtime = runtime.expect("the system has given the listener a reactor before");
        runtime.block_on(async {
            let number = u16::try_from(index).expect("there are at most 64 shards");
            let shard = Shard::new(number, shared.clone());
            tokio::task::spawn_local(answer(shared, index, {
                let shard = shard.clone();
                move || shard.measure()
            }));
            tokio::task::spawn_local(crate::http::run(shard.clone()));
            shard.run().await
        })
    })
}

/// Starts the bus thread; it ends some time after `stop`, when the bus has been left.
pub(crate) fn bus(
    shared: Arc<Shared>,
    driver: Option<Driver>,
    store: Store,
    work: tokio::runtime::Handle,
    stop: CancellationToken,
) -> io::Result<thread::JoinHandle<()>> {
    start("bus".into(), move || {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build_local(LocalOptions::default());
        let runtime = runtime.expect("the system has given the listener a reactor before");
        runtime.block_on(async {
            tokio::task::spawn_local(answer(shared.clone(), shared.config.shards, || ()));
            let leave = CancellationToken::new();
            let driver = driver.map(|driver| tokio::task::spawn_local(driver.run(leave.clone())));
            crate::bus::run(crate::bus::Parts {
                config: Arc::new(shared.config.clone()),
                bus: shared.bus.clone(),
                store,
                work,
                mailboxes: shared.mailboxes.to_vec(),
                inbox: shared.to_bus.clone(),
                interest: shared.interest.clone(),
                limiter: shared.limiter.clone(),
                readiness: shared.readiness.clone(),
                shutdown: stop,
            })
            .await;
            // A server that does not answer must not hold up the end.
            let _ = tokio::time::timeout(LEAVE_TIME, shared.bus.leave(LEAVE_TIME / 2)).await;
            leave.cancel();
            if let Some(driver) = driver {
                end(driver).await;
            }
        });
    })
}

fn start<T: Send + 'static>(
    name: String,
    body: impl FnOnce() -> T + Send + 'static,
) -> io::Result<thread::JoinHandle<T>> {
    thread::Builder::new().name(name).spawn(body)
}

/// Waits for a thread without blocking this one; a panic there goes on here.
pub(crate) async fn join<T: Send + 'static>(thread: thread::JoinHandle<T>) -> T {
    let joined = tokio::task::spawn_blocking(|| thread.join()).await;
    match joined {
        Ok(Ok(value)) => value,
        Ok(Err(panic)) => std::panic::resume_unwind(panic),
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Answers the watchdog as soon as this thread comes to it, and measures what the thread carries.
async fn answer(shared: Arc<Shared>, thread: usize, measure: impl Fn()) {
    let pulse = &shared.pulses[thread];
    loop {
        pulse.answer().await;
        measure();
    }
}

/// Measures all threads for ever. A bus thread that was late for longer than its peers wait for it may have missed
/// events: it is told so as soon as it runs again.
pub(crate) async fn watch(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(WATCH_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut stalled = None;
    loop {
        ticks.tick().await;
        shared.buffers.measure();
        for (thread, pulse) in shared.pulses.iter().enumerate() {
            let lag = pulse.lag();
            let bus = thread == shared.config.shards;
            metrics::lag(
                if bus {
                    "bus".into()
                } else {
                    format!("shard-{thread}")
                },
                lag,
            );
            if lag.is_zero() {
                if bus && let Some(since) = stalled.take() {
                    shared.to_bus.post(ToBus::Stalled { since }, 0);
                }
                pulse.ask();
            } else if bus && lag >= shared.config.stall_after {
                stalled.get_or_insert_with(|| Instant::now() - lag);
            }
        }
    }
}

/// A task of ours that panicked has panicked here.
pub(crate) async fn end(task: tokio::task::JoinHandle<()>) {
    if let Err(error) = task.await
        && error.is_panic()
    {
        std::panic::resume_unwind(error.into_panic());
    }
}
