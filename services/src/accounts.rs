//! Logins (services.md 2): who a token belongs to, whether it is still good, and its end.

mod expiration;
mod login;

use std::{sync::Arc, time::Duration};

use backplane::{Bus, Incoming, Service};
use store::Store;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use self::expiration::Expiration;
pub(crate) use self::login::hashed;
use crate::{
    errors::{plain, unavailable},
    params::Params,
    serve::{Call, Handler, Outcome, serve},
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
/// How long until the next try when it could not be read.
const RETRY_AFTER: Duration = Duration::from_secs(1);

struct Accounts {
    store: Store,
    config: Config,
    expiration: Expiration,
    /// bcrypt costs tens of milliseconds of CPU: as many at once as there are cores.
    hashing: Semaphore,
}

/// Serves `accounts` until the shutdown.
pub async fn run(bus: Bus, store: Store, config: Config, shutdown: CancellationToken) {
    let inbox = bus.announce(Service {
        name: "accounts",
        actions: vec!["accounts.login", "accounts.logout"],
        events: vec!["watch.settings"],
    });
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let concurrent = config.concurrent_logins;
    let accounts = Arc::new(Accounts {
        store,
        config,
        expiration: Expiration::default(),
        hashing: Semaphore::new(cores),
    });
    tokio::select! {
        () = serve(accounts.clone(), inbox, "accounts", concurrent, &shutdown) => {}
        () = accounts.keep_fresh() => {}
    }
}

impl Handler for Accounts {
    async fn handle_call(self: Arc<Self>, call: Call) -> Outcome {
        self.dispatch(call.action, &call.params).await
    }

    async fn handle_news(self: Arc<Self>, news: Incoming) {
        if let Incoming::Event(event) = news {
            self.expiration.handle_setting(&event.args);
        }
    }
}

impl Accounts {
    /// Reads the expiry setting until it is known, and again and again after that.
    async fn keep_fresh(&self) {
        loop {
            self.expiration.read(&self.store).await;
            let known = self.expiration.is_known();
            tokio::time::sleep(if known { REREAD_EVERY } else { RETRY_AFTER }).await;
        }
    }

    async fn dispatch(&self, action: &str, params: &Params) -> Outcome {
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
