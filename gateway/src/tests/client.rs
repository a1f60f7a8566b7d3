//! The far end of a socket in memory.

use std::{rc::Rc, sync::Arc};

use bytes::Bytes;
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

/// A masked frame, with a mask of zeros.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length @ 126..=0xFFFF => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}
