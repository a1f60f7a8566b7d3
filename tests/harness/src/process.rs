//! A child process with its output at hand, which does not outlive the test.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

/// How long a process may take to become ready or to end. Generous: the machine may be busy with other tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A running child. Dropping it kills it; a panicking test then shows what it printed last.
pub(crate) struct Process {
    name: String,
    child: Child,
    stdin: ChildStdin,
    log: Arc<Log>,
    /// How many lines of the log [`next_stdout`](Self::next_stdout) has passed.
    read: usize,
}

impl Process {
    /// Starts a program; `name` stands before its lines when they are shown.
    pub(crate) fn start(name: &str, program: &str, configure: impl FnOnce(&mut Command)) -> Self {
        // The kernel ends the child when the thread that made it ends, which a killed test process needs too.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", program]);
        configure(&mut command);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child =
            spawn(command).unwrap_or_else(|error| panic!("cannot start {name}: {error}"));

        let stdin = child.stdin.take().expect("stdin is piped");
        let log = Arc::new(Log::default());
        log.collect(
            Stream::Stdout,
            child.stdout.take().expect("stdout is piped"),
        );
        log.collect(
            Stream::Stderr,
            child.stderr.take().expect("stderr is piped"),
        );
        Self {
            name: name.to_owned(),
            child,
            stdin,
            log,
            read: 0,
        }
    }

    pub(crate) fn write_line(&mut self, line: &str) {
        let Self { name, stdin, .. } = self;
        writeln!(stdin, "{line}")
            .unwrap_or_else(|error| panic!("{name} does not read its input: {error}"));
    }

    /// The next line of standard output, or `None` when there is none within `limit` or the process has ended.
    pub(crate) fn next_stdout(&mut self, limit: Duration) -> Option<String> {
        let deadline = Instant::now() + limit;
        let mut state = self
            .log
            .state
            .lock()
            .expect("no thread panics with the log");
        loop {
            while let Some((stream, line)) = state.lines.get(self.read) {
                self.read += 1;
                if *stream == Stream::Stdout {
                    return Some(line.clone());
                }
            }
            if state.closed == 2 {
                return None;
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            state = self
                .log
                .grew
                .wait_timeout(state, left)
                .expect("no thread panics with the log")
                .0;
        }
    }

    /// Waits for a line of either stream that contains `text`, printed at any time, and returns it.
    pub(crate) fn wait_for_line(&self, text: &str) -> String {
        let state = self
            .log
            .state
            .lock()
            .expect("no thread panics with the log");
        let missing = |state: &mut State| state.closed < 2 && state.find(text).is_none();
        let (state, _) = self
            .log
            .grew
            .wait_timeout_while(state, PATIENCE, missing)
            .expect("no thread panics with the log");
        let found = state.find(text).map(str::to_owned);
        drop(state);
        found
            .unwrap_or_else(|| panic!("{} never printed {text:?}:\n{}", self.name, self.log.tail()))
    }

    /// Everything printed so far, in the order of arrival.
    pub(crate) fn output(&self) -> Vec<String> {
        let state = self
            .log
            .state
            .lock()
            .expect("no thread panics with the log");
        state.lines.iter().map(|(_, line)| line.clone()).collect()
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends SIGKILL and waits for the end.
    pub(crate) fn kill9(&mut self) {
        // An error here means that it has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends a signal such as `TERM`. After `STOP` it returns only when every thread stands still: until then a process
    /// may still answer.
    pub(crate) fn signal(&self, signal: &str) {
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -{signal} {}", self.child.id())])
            .status();
        assert!(
            sent.is_ok_and(|status| status.success()),
            "cannot send {signal} to {}",
            self.name
        );
        while signal == "STOP" && !self.is_stopped() {
            thread::yield_now();
        }
    }

    /// Whether every thread of it is stopped (or it has ended).
    fn is_stopped(&self) -> bool {
        let Ok(threads) = fs::read_dir(format!("/proc/{}/task", self.child.id())) else {
            return true;
        };
        threads.flatten().all(|thread| {
            // `1234 (name) T ..`; the name may hold anything but a closing bracket behind it.
            let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            let state = stat
                .rsplit(") ")
                .next()
                .and_then(|rest| rest.chars().next());
            !matches!(state, Some('R' | 'S' | 'D'))
        })
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait_for_end(&mut self) -> ExitStatus {
        // Both streams close when it ends, which can be waited for with a limit.
        let state = self
            .log
            .state
            .lock()
            .expect("no thread panics with the log");
        let (state, _) = self
            .log
            .grew
            .wait_timeout_while(state, PATIENCE, |state| state.closed < 2)
            .expect("no thread panics with the log");
        let closed = state.closed;
        drop(state);
        assert!(
            closed == 2,
            "{} does not end:\n{}",
            self.name,
            self.log.tail()
        );
        self.child.wait().expect("the child is ours")
    }

    /// The last lines printed, for the message of a failed test.
    pub(crate) fn tail(&self) -> String {
        self.log.tail()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill9();
        if thread::panicking() {
            eprintln!("-- {} printed last:\n{}", self.name, self.log.tail());
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stream {
    Stdout,
    Stderr,
}

#[derive(Default)]
struct Log {
    state: Mutex<State>,
    grew: Condvar,
}

#[derive(Default)]
struct State {
    lines: Vec<(Stream, String)>,
    /// How many of the two streams have ended.
    closed: u8,
}

impl State {
    fn find(&self, text: &str) -> Option<&str> {
        self.lines
            .iter()
            .map(|(_, line)| line.as_str())
            .find(|line| line.contains(text))
    }
}

impl Log {
    fn collect(self: &Arc<Self>, stream: Stream, source: impl Read + Send + 'static) {
        let log = Arc::clone(self);
        thread::spawn(move || {
            let mut source = BufReader::new(source);
            let mut line = Vec::new();
            while matches!(source.read_until(b'\n', &mut line), Ok(n) if n > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                log.state
                    .lock()
                    .expect("no thread panics with the log")
                    .lines
                    .push((stream, text));
                log.grew.notify_all();
                line.clear();
            }
            log.state
                .lock()
                .expect("no thread panics with the log")
                .closed += 1;
            log.grew.notify_all();
        });
    }

    fn tail(&self) -> String {
        let state = self.state.lock().expect("no thread panics with the log");
        let first = state.lines.len().saturating_sub(40);
        state.lines[first..]
            .iter()
            .map(|(_, line)| format!("   {line}\n"))
            .collect()
    }
}

/// Starts a command from a thread that lives as long as the test process.
///
/// The parent-death signal comes when the *thread* ends that made the child, and tests run in threads of their own:
/// a server that tests share would die with the first of them.
fn spawn(command: Command) -> io::Result<Child> {
    type Order = (Command, SyncSender<io::Result<Child>>);
    static LAUNCHER: OnceLock<Mutex<SyncSender<Order>>> = OnceLock::new();
    let launcher = LAUNCHER.get_or_init(|| {
        let (orders, taken) = mpsc::sync_channel::<Order>(1);
        thread::spawn(move || {
            for (mut command, reply) in taken {
                let _ = reply.send(command.spawn());
            }
        });
        Mutex::new(orders)
    });
    let (reply, started) = mpsc::sync_channel(1);
    let orders = launcher
        .lock()
        .expect("no thread panics with the launcher")
        .clone();
    orders
        .send((command, reply))
        .expect("the launcher never ends");
    started.recv().expect("the launcher answers every order")
}
