//! `ddp-edge top`: a live view of a running process through its admin port; one page without rates where nobody looks at a
//! terminal.

mod page;

use std::{
    io::{self, IsTerminal as _, Write as _},
    process::ExitCode,
    thread::sleep,
    time::{Duration, Instant},
};

use self::page::Sample;
use crate::{
    admin::{self, Listen},
    ask,
};

/// Draws until it is interrupted, or once.
pub(crate) fn run(listen: &Listen) -> ExitCode {
    let Some(token) = admin::token(&listen.token_file) else {
        eprintln!("ddp-edge: the file of DDP_EDGE_ADMIN_TOKEN_FILE cannot be read any more");
        return ExitCode::FAILURE;
    };
    let mut before: Option<(Instant, Sample)> = None;
    loop {
        let page = ask::get(listen.address, "/metrics", Some(&token));
        let stats = ask::get(listen.address, "/stats", Some(&token));
        let (Ok(page), Ok(stats)) = (&page, &stats) else {
            let error = page
                .err()
                .or_else(|| stats.err())
                .map(|error| error.to_string());
            let error = error.unwrap_or_default();
            eprintln!("ddp-edge: the admin port at {}: {error}", listen.address);
            return ExitCode::FAILURE;
        };
        let (now, sample) = (Instant::now(), Sample::of(page));
        let past = before.as_ref().map(|(then, past)| (now - *then, past));
        let text = page::draw(stats, &sample, past);
        if !io::stdout().is_terminal() {
            print!("{text}");
            return ExitCode::SUCCESS;
        }
        // Home, the page with what was right of each line erased, and everything below it erased.
        let text = text.replace('\n', "\x1b[K\n");
        let mut out = io::stdout().lock();
        if write!(out, "\x1b[H{text}\x1b[J")
            .and_then(|()| out.flush())
            .is_err()
        {
            return ExitCode::SUCCESS;
        }
        drop(out);
        before = Some((now, sample));
        sleep(EVERY);
    }
}

const EVERY: Duration = Duration::from_secs(1);
