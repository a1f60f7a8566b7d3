//! Logins (services.md 2): who a token belongs to, whether it is still good, and its end.

mod expiration;
mod hashing;
mod lockout;
mod login;

use std::{sync::Arc, time::Duration};

use backplane::{Bus, Incoming, Service, ServiceError};
use serde_json::json;
use store::{Store, TokenOwner, bson::doc, ejson};
use tokio_util::sync::CancellationToken;

pub(crate) use self::login::hashed;
use self::{expiration::Expiration, hashing::Hashing, lockout::Lockout};
use crate::{
    errors::{COMPLAINTS, plain, unavailable},
    gather::Gather,
    params::{Params, optional_text},
    serve::{Call, Handler, Outcome, serve},
};

/// Settings of the accounts service.
#[derive(Clone, Debug)]
pub struct Config {
    /// Answers `{user, password}` logins; without it only `resume` is a login.
    pub password_login: bool,
    /// Logins judged at the same time; more wait.
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

struct Accounts {
    bus: Bus,
    store: Store,
    /// By the hash of a token.
    owners: Gather<String, TokenOwner>,
    config: Config,
    expiration: Expiration,
    hashing: Hashing,
    lockout: Lockout,
}

/// Serves `accounts` until the shutdown.
pub async fn run(bus: Bus, store: Store, config: Config, shutdown: CancellationToken) {
    let inbox = bus.announce(Service {
        name: "accounts",
        actions: vec!["accounts.login", "accounts.logout"],
        events: vec!["watch.settings"],
    });
    let concurrent = config.concurrent_logins;
    let tokens = store.clone();
    let owners = Gather::new(move |hashes: Vec<String>| {
        let tokens = tokens.clone();
        async move { tokens.token_owners(&hashes).await }
    });
    let accounts = Arc::new(Accounts {
        bus,
        store,
        owners,
        config,
        expiration: Expiration::default(),
        hashing: Hashing::default(),
        lockout: Lockout::default(),
    });
    tokio::select! {
        () = serve(accounts.clone(), inbox, "accounts", concurrent, &shutdown) => {}
        () = accounts.keep_fresh() => {}
    }
}

impl Handler for Accounts {
    async fn handle_call(self: Arc<Self>, call: Call) -> Outcome {
        match call.action {
            "accounts.login" => self.login(&call.params).await.map(Some),
            "accounts.logout" => self.logout(&call.params).await.map(|()| None),
            _ => Err(plain("unknown action")),
        }
    }

    fn handle_news(self: Arc<Self>, news: Incoming) -> impl Future<Output = ()> + Send + 'static {
        match news {
            Incoming::Event(event) => self.expiration.handle_setting(event.args.as_bytes()),
            // It may have changed unheard.
            Incoming::Up | Incoming::Gap(_) => self.expiration.forget(),
            _ => {}
        }
        std::future::ready(())
    }
}

impl Accounts {
    /// Reads the expiry setting now and then, in case its event was missed.
    async fn keep_fresh(&self) {
        loop {
            self.expiration.refresh(&self.store).await;
            tokio::time::sleep(REREAD_EVERY).await;
        }
    }

    /// `[{userId, token}]` with the hashed token. Without either nothing is removed.
    async fn logout(&self, params: &Params) -> Result<(), ServiceError> {
        let member = |name| optional_text(params.object(0)?.and_then(|logout| logout.get(name)));
        let (Some(user), Some(token)) = (member("userId")?, member("token")?) else {
            return Ok(());
        };
        let pulled = self.store.pull_login_token(user, token).await;
        if pulled.map_err(unavailable)? {
            self.announce_logout(user).await;
        }
        Ok(())
    }

    /// Nobody else does so where no hub watches the database, and other sockets with the same token stay open for as
    /// long as nobody knows.
    async fn announce_logout(&self, user: &str) {
        let left = match self.store.login_tokens(user).await {
            Ok(left) => left,
            Err(error) => return COMPLAINTS.warn("a logout is not announced", &error),
        };
        let diff = ejson::to_text(&doc! { "services.resume.loginTokens": left });
        let id = json!(user);
        let event =
            format!(r#"[{{"clientAction":"updated","id":{id},"diff":{diff},"unset":{{}}}}]"#);
        self.bus.broadcast("watch.users", &event);
    }
}

/// How often the expiry setting is read again.
const REREAD_EVERY: Duration = Duration::from_secs(60);
