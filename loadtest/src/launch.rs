//! Starting a nats-server and servers, each on the CPUs that it is to have.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::sys;

const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Where things run and what they are told.
pub(crate) struct Launch {
    pub(crate) nats_server: PathBuf,
    /// Where the servers' output goes.
    pub(crate) logs: PathBuf,
    /// Environment of the servers; `{port}` and `{nats}` are filled in.
    pub(crate) env: Vec<(String, String)>,
    /// What runs beside each server under test, and off its CPU: service and command.
    pub(crate) satellites: Vec<(String, String)>,
    /// The servers' CPU, and nobody else's.
    pub(crate) server_cpu: usize,
    pub(crate) generator_cpu: usize,
    /// Those of everything else.
    pub(crate) other_cpus: Vec<usize>,
}

/// Servers beside their nats-server; all end with the value.
pub(crate) struct Running {
    servers: Vec<Process>,
    pub(crate) addrs: Vec<SocketAddr>,
    pub(crate) nats_addr: SocketAddr,
    _satellites: Vec<(Process, SocketAddr)>,
    _nats: Process,
}

/// A child that does not outlive its run.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone afterwards.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Launch {
    /// Starts `count` servers by `command` on the servers' CPU and leaves the calling thread on the generator's.
    pub(crate) fn start(
        &self,
        name: &str,
        command: &[String],
        count: usize,
        with_satellites: bool,
    ) -> Result<Running> {
        fs::create_dir_all(&self.logs)?;
        // Off the servers' CPU: what nats-server takes there would be missing in one run and not in another.
        sys::run_on(&self.other_cpus)?;
        let (mut nats, nats_addr) = self.start_nats()?;
        wait_for_port(nats_addr, &mut nats)?;
        let mut satellites = Vec::new();
        for (service, command) in self.satellites.iter().filter(|_| with_satellites) {
            let words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
            let (mut satellite, addr) = self.start_server(service, &words, 0, nats_addr)?;
            wait_for_port(addr, &mut satellite)?;
            satellites.push((satellite, addr));
        }
        sys::run_on(&[self.server_cpu])?;
        let started: Result<Vec<_>> = (0..count)
            .map(|number| self.start_server(name, command, number, nats_addr))
            .collect();
        sys::run_on(&[self.generator_cpu])?;
        let (mut servers, addrs): (Vec<_>, Vec<_>) = started?.into_iter().unzip();
        for (server, &addr) in servers.iter_mut().zip(&addrs) {
            wait_for_port(addr, server)?;
        }
        Ok(Running {
            servers,
            addrs,
            nats_addr,
            _satellites: satellites,
            _nats: nats,
        })
    }

    fn start_nats(&self) -> Result<(Process, SocketAddr)> {
        let addr = free_addr()?;
        let mut command = Command::new(&self.nats_server);
        command.args(["-a", "127.0.0.1", "-p", &addr.port().to_string()]);
        Ok((self.spawn(command, "nats-server")?, addr))
    }

    fn start_server(
        &self,
        name: &str,
        words: &[String],
        number: usize,
        nats: SocketAddr,
    ) -> Result<(Process, SocketAddr)> {
        let addr = free_addr()?;
        let port = addr.port().to_string();
        let fill = |text: &String| {
            text.replace("{port}", &port)
                .replace("{nats}", &nats.to_string())
        };
        let mut words = words.iter().map(fill);
        let mut command = Command::new(words.next().context("an empty command")?);
        command
            .args(words)
            .env("PORT", &port)
            .env("TRANSPORTER", format!("nats://{nats}"))
            .envs(self.env.iter().map(|(name, value)| (name, fill(value))));
        let log = format!("{}-{number}", name.replace([' ', '/'], "-"));
        Ok((self.spawn(command, &log)?, addr))
    }

    fn spawn(&self, mut command: Command, name: &str) -> Result<Process> {
        let log = File::create(self.logs.join(format!("{name}.log")))?;
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {:?}", command.get_program()))?;
        Ok(Process(child))
    }
}

impl Running {
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.servers.iter().map(|server| server.0.id()).collect()
    }
}

/// An address that was free a moment ago.
fn free_addr() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

fn wait_for_port(addr: SocketAddr, process: &mut Process) -> Result<()> {
    let deadline = Instant::now() + START_TIMEOUT;
    while TcpStream::connect_timeout(&addr, Duration::from_secs(1)).is_err() {
        if let Some(status) = process.0.try_wait()? {
            bail!("the server ended at its start: {status}");
        }
        if Instant::now() > deadline {
            bail!(
                "nothing listens on {addr} after {} s",
                START_TIMEOUT.as_secs()
            );
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
