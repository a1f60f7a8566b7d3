//! What a panic may end: one connection where it happens inside one session's step, the process everywhere else.

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Once,
};

thread_local! {
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// Ends the process, with a clear message, on every panic that is not contained in a session's step: tokio would
/// swallow it and leave a half-dead server. Meant for the binary; call it once, before any thread is started.
pub fn end_process_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            print(panic);
            if !CONTAINED.get() {
                let thread = std::thread::current();
                tracing::error!(
                    thread = thread.name(),
                    "a thread has panicked: this is a bug, the process ends"
                );
                std::process::abort();
            }
        }));
    });
}

/// Runs one step of one session; `None` is a panic, after which only closing the connection is safe.
pub(crate) fn contained<T>(step: impl FnOnce() -> T) -> Option<T> {
    CONTAINED.set(true);
    // The state that a panic may leave half changed is the session's own, and its connection ends.
    let outcome = catch_unwind(AssertUnwindSafe(step));
    CONTAINED.set(false);
    outcome.ok()
}
