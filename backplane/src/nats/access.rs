//! Servers, and how we prove who we are: judged once at the start, read again for every connection.

use std::{fs, io, path::PathBuf};

use async_nats::{Auth, AuthError, ConnectOptions, ServerAddr};
use nkeys::KeyPair;

/// What a NATS server may ask for besides what stands in its address; all of it in files, which may be replaced while we
/// run.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// A user's nkey seed.
    pub nkey: Option<PathBuf>,
    /// A credentials file: JWT and nkey seed.
    pub credentials: Option<PathBuf>,
    /// Certificate authorities (PEM) instead of the system's; makes TLS a must.
    pub ca: Option<PathBuf>,
    /// Our own certificate and its key (PEM), always both; makes TLS a must.
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
}

impl Access {
    /// Everything that keeps the files from being used: the file's part, and why.
    pub fn mistakes(&self) -> Vec<(AccessPart, String)> {
        let mut mistakes = Vec::new();
        let mut check = |part, path: &Option<PathBuf>, judge: fn(&str) -> Result<(), String>| {
            let Some(path) = path else { return };
            let judged = fs::read_to_string(path).map_err(|error| unreadable(&error));
            if let Err(why) = judged.and_then(|text| judge(&text)) {
                mistakes.push((part, why));
            }
        };
        check(AccessPart::Nkey, &self.nkey, |text| seed(text).map(drop));
        check(AccessPart::Credentials, &self.credentials, |text| {
            credentials(text).map(drop)
        });
        for (part, path) in [
            (AccessPart::Ca, &self.ca),
            (AccessPart::Certificate, &self.certificate),
        ] {
            check(part, path, |text| pem(text, "CERTIFICATE"));
        }
        check(AccessPart::Key, &self.key, |text| pem(text, "PRIVATE KEY"));
        match (&self.certificate, &self.key) {
            (Some(_), None) => mistakes.push((AccessPart::Key, "is missing".to_owned())),
            (None, Some(_)) => mistakes.push((AccessPart::Certificate, "is missing".to_owned())),
            _ => {}
        }
        if self.nkey.is_some() && self.credentials.is_some() {
            let why = "has a seed of its own: choose one".to_owned();
            mistakes.push((AccessPart::Credentials, why));
        }
        mistakes
    }

    /// Who we are, for one connection and its nonce.
    pub(super) fn auth(&self, account: &Account, nonce: &[u8]) -> Result<Auth, AuthError> {
        let mut auth = Auth::new();
        if let Some(user) = &account.user {
            auth.username = Some(user.clone());
            auth.password = Some(account.password.clone().unwrap_or_default());
            // A name without a password is a token for other clients: the server looks at what it asks for.
            if account.password.is_none() {
                auth.token = Some(user.clone());
            }
        }
        let read =
            |path| fs::read_to_string(path).map_err(|error| AuthError::new(unreadable(&error)));
        let pair = if let Some(path) = &self.credentials {
            let text = read(path)?;
            let (jwt, pair) = credentials(&text).map_err(AuthError::new)?;
            auth.jwt = Some(jwt);
            pair
        } else if let Some(path) = &self.nkey {
            let pair = seed(&read(path)?).map_err(AuthError::new)?;
            auth.nkey = Some(pair.public_key());
            pair
        } else {
            return Ok(auth);
        };
        let signature = pair.sign(nonce);
        auth.signature = Some(signature.map_err(|_| AuthError::new("the seed cannot sign"))?);
        Ok(auth)
    }

    /// The TLS part of the options.
    pub(super) fn tls(&self, mut options: ConnectOptions) -> ConnectOptions {
        if let Some(ca) = &self.ca {
            options = options.add_root_certificates(ca.clone()).require_tls(true);
        }
        if let (Some(certificate), Some(key)) = (&self.certificate, &self.key) {
            options = options
                .add_client_certificate(certificate.clone(), key.clone())
                .require_tls(true);
        }
        options
    }
}

/// One of the files of [`Access`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessPart {
    Nkey,
    Credentials,
    Ca,
    Certificate,
    Key,
}

/// A NATS server: where it is, and as whom we go there.
#[derive(Clone)]
pub struct Server {
    pub(super) address: ServerAddr,
    pub(super) account: Account,
}

#[derive(Clone, Default)]
pub(super) struct Account {
    user: Option<String>,
    password: Option<String>,
}

impl Server {
    /// Reads a comma separated list of `nats://[user[:password]@]host[:port]`, or `tls://` where the client insists on
    /// TLS. An account without a server of its own: that of one serves all that name none, as peers do it.
    ///
    /// # Errors
    /// What is wrong with which of them, without a word of them.
    pub fn list(text: &str) -> Result<Vec<Self>, String> {
        let parts = text.split(',').map(str::trim).enumerate();
        let mut servers = parts
            .map(|(index, part)| {
                Self::parse(part).map_err(|why| format!("server {}: {why}", index + 1))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let shared = servers.iter().find(|server| server.account.user.is_some());
        if let Some(shared) = shared.map(|server| server.account.clone()) {
            for server in &mut servers {
                if server.account.user.is_none() {
                    server.account = shared.clone();
                }
            }
        }
        Ok(servers)
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        // Peers start with this prefix only; `tls` is ours.
        if !(text.starts_with("nats://") || text.starts_with("tls://")) {
            return Err("expected nats:// or tls://");
        }
        let address: ServerAddr = text
            .parse()
            .map_err(|_| "expected [user[:password]@]host[:port]; /, ?, # and @ in a password must be percent-encoded")?;
        if address.host().is_empty() {
            return Err("has no host");
        }
        // With one of these in a password its beginning would be the host.
        let scheme = text.split("://").next().unwrap_or_default();
        let behind = text
            .rsplit('@')
            .next()
            .filter(|rest| rest.len() < text.len());
        let is_odd = behind.is_some_and(|rest| {
            let bare = format!("{scheme}://{rest}").parse::<ServerAddr>();
            bare.map_or(true, |bare| {
                (bare.host(), bare.port()) != (address.host(), address.port())
            })
        });
        if is_odd {
            return Err("/, ?, # and @ in a password must be percent-encoded");
        }
        Ok(Self {
            account: Account {
                user: address.username().map(str::to_owned),
                password: address.password().map(str::to_owned),
            },
            address,
        })
    }

    /// Host and port, for logs.
    pub fn place(&self) -> String {
        match self.address.host() {
            host if host.contains(':') => format!("[{host}]:{}", self.address.port()),
            host => format!("{host}:{}", self.address.port()),
        }
    }

    /// The address without the account, for logs.
    pub fn masked(&self) -> String {
        let account = if self.account.user.is_some() {
            "***@"
        } else {
            ""
        };
        format!("{}://{account}{}", self.address.scheme(), self.place())
    }
}

fn unreadable(error: &io::Error) -> String {
    format!("cannot be read: {}", error.kind())
}

fn seed(text: &str) -> Result<KeyPair, String> {
    let is_seed = |line: &&str| line.starts_with("SU");
    let line = text.lines().map(str::trim).find(is_seed);
    let pair = line.and_then(|line| KeyPair::from_seed(line).ok());
    pair.ok_or_else(|| "holds no seed of a user's nkey".to_owned())
}

fn credentials(text: &str) -> Result<(String, KeyPair), String> {
    let mut lines = text.lines().map(str::trim);
    let is_begin = |line: &str| line.starts_with("-----BEGIN NATS USER JWT-----");
    let jwt = lines.by_ref().skip_while(|line| !is_begin(line)).nth(1);
    let jwt = jwt.filter(|jwt| jwt.split('.').count() == 3);
    let jwt = jwt.ok_or_else(|| "holds no JWT of a NATS user".to_owned())?;
    Ok((jwt.to_owned(), seed(text)?))
}

fn pem(text: &str, label: &str) -> Result<(), String> {
    let is_begin = |line: &str| {
        line.starts_with("-----BEGIN ") && line.trim_end().ends_with(&format!("{label}-----"))
    };
    let found = text.lines().any(is_begin);
    found
        .then_some(())
        .ok_or_else(|| format!("holds no PEM block {label}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_serves_the_servers_that_name_none() {
        let servers = Server::list("nats://a, nats://u:p@b:4223,nats://v:q@[::1]").unwrap();
        let read: Vec<_> = servers
            .iter()
            .map(|server| (server.place(), server.account.user.as_deref()))
            .collect();
        assert_eq!(
            read,
            [
                ("a:4222".to_owned(), Some("u")),
                ("b:4223".to_owned(), Some("u")),
                ("[::1]:4222".to_owned(), Some("v")),
            ]
        );
        assert_eq!(servers[1].masked(), "nats://***@b:4223");
    }

    #[test]
    fn a_bad_address_is_refused_without_a_word_of_it() {
        for text in [
            "",
            "TCP",
            "s3cret@h",
            "nats:u:s3cret@h",
            "http://u:s3cret@h",
            "nats://",
            "nats://u:s3cret@",
            "nats://u:s3cret@h:x",
            "nats://u:s3cret@h:70000",
            "nats://u:s3/cret@h",
            "nats://u:1/s3cret@h",
            "nats://u:1?s3cret@h",
            "nats://u:1#s3cret@h",
            "nats://h,nats://u:s3cret",
            "nats://u:s3cret@h h",
        ] {
            let Err(why) = Server::list(text) else {
                panic!("{text} was taken");
            };
            assert!(
                why.starts_with("server ") && !why.contains("cret"),
                "{text}: {why}"
            );
        }
    }
}
