//! Whether what is sent now reaches everybody.

use std::time::Duration;

use backplane::{Bus, Inbox, Incoming};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

/// Follows the bus for ever and says through `reaches` whether events may be sent.
pub(super) async fn follow(bus: &Bus, mut inbox: Inbox, reaches: &watch::Sender<bool>) {
    // Before the workspace is there, nobody listens that counts.
    while !bus.status().announced {
        sleep(LOOK_EVERY).await;
    }
    // Others may be slower to tell us that they are there.
    sleep(HELLOS_WITHIN).await;
    let mut was_down = false;
    loop {
        match inbox.recv().await {
            Incoming::Up => {
                if was_down {
                    // Peers that lost the same server are back when they answer.
                    let settled =
                        async { while !matches!(inbox.recv().await, Incoming::Settled) {} };
                    // Said or not: the bus itself gives up before that.
                    let _ = timeout(SETTLED_WITHIN, settled).await;
                }
                reaches.send_replace(bus.status().connected);
            }
            Incoming::Down => {
                was_down = true;
                reaches.send_replace(false);
            }
            _ => {}
        }
    }
}

const LOOK_EVERY: Duration = Duration::from_millis(100);
const HELLOS_WITHIN: Duration = Duration::from_secs(1);
/// A little more than the bus itself waits for answers.
const SETTLED_WITHIN: Duration = Duration::from_secs(6);
