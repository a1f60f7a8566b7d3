//! Logins (services.md 2): who a token belongs to, whether it is still good, and its end.

mod expiration;
mod login;

use std::{sync::Arc, time::Duration};

use backplane::{Bus, Incoming, Request, Service, ServiceError};
use bytes::Bytes;
use store::Store;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use self::expiration::Expiration;
pub(crate) use self::login::hashed;
use crate::{
    errors::{plain, unavailable},
    params::Params,
};

/// Settings of the accounts service.
#[derive(Clone, Debug)]
pub struct Config {
    /// Answers `{user, password}` logins; without it only `resume` is a login.
    pub password_login: bool,
    /// Logins judged at the same time; more wait on the bus.
    pub concurrent_logins: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            password_login: false,
            concurrent_logins: 256,
        }
    }
}

/// How often the expiry setting is read again, in case its event was missed.
const REREAD_EVERY: Duration = Duration::from_secs(60);

struct Accounts {
    store: Store,
    config: Config,
    expiration: Expiration,
    /// bcrypt costs tens of milliseconds of CPU: as many at once as there are cores.
    hashing: Semaphore,
}

/// Serves `accounts` until the shutdown.
pub async fn run(bus: Bus, store: Store, config: Config, shutdown: CancellationToken) {
    let mut inbox = bus.announce(Service {
        name: "accounts",
        actions: vec!["accounts.login", "accounts.logout"],
        events: vec!["watch.settings"],
    });
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let permits = Arc::new(Semaphore::new(config.concurrent_logins));
    let accounts = Arc::new(Accounts {
        store,
        config,
        expiration: Expiration::default(),
        hashing: Semaphore::new(cores),
    });
    let mut reread = tokio::time::interval(REREAD_EVERY);
    let mut retry = tokio::time::interval(Duration::from_secs(1));
    loop {
        let incoming = tokio::select! {
            () = shutdown.cancelled() => return bus.withdraw("accounts"),
            _ = reread.tick() => { accounts.expiration.read(&accounts.store).await; continue }
            _ = retry.tick(), if !accounts.expiration.is_known() => { accounts.expiration.read(&accounts.store).await; continue }
            incoming = inbox.recv() => incoming,
        };
        match incoming {
            Incoming::Event(event) => accounts.expiration.handle_setting(&event.args),
            Incoming::Request(request) => {
                let Ok(permit) = permits.clone().acquire_owned().await else {
                    return;
                };
                let accounts = accounts.clone();
                tokio::spawn(async move {
                    accounts.answer(request).await;
                    drop(permit);
                });
            }
            _ => {}
        }
    }
}

impl Accounts {
    async fn answer(&self, request: Request) {
        let outcome = match Params::parse(&request.params) {
            Ok(params) => self.dispatch(request.action, &params).await,
            Err(error) => Err(error),
        };
        request.respond(outcome);
    }

    async fn dispatch(&self, action: &str, params: &Params) -> Result<Option<Bytes>, ServiceError> {
        match action {
            "accounts.login" => self.login(params).await.map(Some),
            "accounts.logout" => {
                if let (Some(user), Some(token)) =
                    (params.member(0, "userId"), params.member(0, "token"))
                {
                    self.store
                        .pull_login_token(user, token)
                        .await
                        .map_err(unavailable)?;
                }
                Ok(None)
            }
            _ => Err(plain("unknown action")),
        }
    }
}
