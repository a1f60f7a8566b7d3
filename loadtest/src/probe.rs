//! A connection of its own, in a thread of its own, that measures `ping` to `pong` beside the load.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use serde_json::{Value, json};

use crate::report::Histogram;
use crate::target::Target;
use crate::{sys, ws};

const INTERVAL: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(10);

/// A running probe; it ends with `finish`.
pub(crate) struct Probe {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Histogram>>,
}

impl Probe {
    /// Connects and starts to ping, on the CPU of the calling thread but ahead of it.
    pub(crate) fn start(target: Target) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            // Without the right to do so the probe only reads its clock a little late.
            let _ = sys::raise_priority();
            ping_until(&target, &seen)
        });
        Self { stop, thread }
    }

    /// Stops and returns what was measured.
    pub(crate) fn finish(self) -> Result<Histogram> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread
            .join()
            .map_err(|_| anyhow!("the probe panicked"))?
    }
}

fn ping_until(target: &Target, stop: &AtomicBool) -> Result<Histogram> {
    let mut stream = TcpStream::connect_timeout(&target.addr, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut out = Vec::new();
    target.push_upgrade(&mut out, false);
    stream.write_all(&out)?;
    let mut input = Vec::new();
    let length = loop {
        read_more(&mut stream, &mut input)?;
        if let Some(length) = ws::parse_upgrade_response(&input)? {
            break length;
        }
    };
    input.drain(..length);
    out.clear();
    target.framing.push_message(
        &mut out,
        &json!({"msg":"connect","version":"1","support":["1","pre2","pre1"]}),
    );
    stream.write_all(&out)?;

    let mut histogram = Histogram::default();
    for number in 0_u64.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        out.clear();
        let id = number.to_string();
        target
            .framing
            .push_message(&mut out, &json!({"msg":"ping","id":id}));
        let sent = Instant::now();
        stream.write_all(&out)?;
        while !take_pong(&mut input, target, &id)? {
            read_more(&mut stream, &mut input)?;
        }
        let elapsed = sent.elapsed();
        histogram.record(elapsed.as_nanos().try_into().unwrap_or(u64::MAX));
        thread::sleep(INTERVAL.saturating_sub(elapsed));
    }
    Ok(histogram)
}

/// Consumes whole frames until the pong with `id`; false if it has not come yet.
fn take_pong(input: &mut Vec<u8>, target: &Target, id: &str) -> Result<bool> {
    while let Some(frame) = ws::parse(input)? {
        let len = frame.len;
        if frame.opcode == ws::CLOSE {
            bail!("the server closed the probe");
        }
        let mut found = false;
        if frame.opcode == ws::TEXT {
            for message in target.framing.messages(frame.payload)? {
                let message: Value = serde_json::from_str(&message)?;
                found |= message["msg"] == "pong" && message["id"] == id;
            }
        }
        input.drain(..len);
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

fn read_more(stream: &mut TcpStream, input: &mut Vec<u8>) -> Result<()> {
    let mut chunk = [0; 4096];
    let count = stream.read(&mut chunk)?;
    if count == 0 {
        bail!("the server ended the probe's connection");
    }
    input.extend_from_slice(&chunk[..count]);
    Ok(())
}
