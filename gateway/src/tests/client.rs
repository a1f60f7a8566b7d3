//! The far end of a socket in memory.

use std::{rc::Rc, sync::Arc};

use bytes::Bytes;
use harness::frame;
use protocol::sockjs::Framing;

use crate::{
    io::{Io, memory},
    shard::{Arrival, Shard},
    shared::Shared,
};

/// Somebody comes to a shard, and says nothing yet. He takes so many bytes unread.
pub(crate) fn open(
    shard: &Rc<Shard>,
    shared: &Arc<Shared>,
    framing: Framing,
    bytes: usize,
) -> memory::End {
    let (ours, theirs) = memory::pair(bytes);
    let arrival = Arrival {
        framing,
        address: None,
        source: [127, 0, 0, 1].into(),
        headers: "{}".into(),
        #[cfg(feature = "echo")]
        echo: false,
    };
    let mut seat = shared.admission.seat([127, 0, 0, 1].into()).unwrap();
    seat.upgrade([127, 0, 0, 1].into()).unwrap();
    shard.open(Io::Memory(ours), Bytes::new(), arrival, seat);
    theirs
}

/// A text message as a client's frame.
pub(crate) fn text(payload: &str) -> Vec<u8> {
    frame(0x81, payload.as_bytes())
}
