//! One verdict per login: resume (services.md 2.3) or, where it is switched on, password (2.5, with its defects mended).

use std::time::Instant;

use backplane::ServiceError;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use store::LoginToken;

use super::{Accounts, lockout::Limits};
use crate::{
    errors::{forbidden, meteor, unavailable},
    now_ms,
    params::Params,
};

/// base64 of the SHA-256 of a resume token, as it stands in `services.resume.loginTokens`.
#[must_use]
pub(crate) fn hashed(token: &str) -> String {
    BASE64_STANDARD.encode(Sha256::digest(token.as_bytes()))
}

/// A login that succeeded.
struct Granted<'a> {
    user: &'a str,
    token: &'a str,
    hashed: &'a str,
    expires: Option<i64>,
    kind: &'static str,
}

impl Granted<'_> {
    fn text(&self) -> Bytes {
        let mut result = json!({ "uid": self.user, "token": self.token, "hashedToken": self.hashed, "type": self.kind });
        if let Some(expires) = self.expires {
            result["tokenExpires"] = json!({ "$date": expires });
        }
        result.to_string().into()
    }
}

/// "No such user or token, or bad input": the caller turns it into error 403.
fn refused() -> Bytes {
    Bytes::from_static(b"false")
}

impl Accounts {
    pub(super) async fn login(&self, params: &Params) -> Result<Bytes, ServiceError> {
        let Some(login) = params.get(0).and_then(Value::as_object) else {
            return Ok(refused());
        };
        match login.get("resume") {
            Some(Value::String(token)) if !token.is_empty() => self.resume(token).await,
            // A value that is not a string must not fall through to the password branch.
            None | Some(Value::Null) if login.contains_key("password") => {
                if !self.config.password_login {
                    return Err(forbidden(
                        "Password logins are off here: log in at the workspace, then resume with its token",
                    ));
                }
                self.password(login).await
            }
            _ => Ok(refused()),
        }
    }

    async fn resume(&self, token: &str) -> Result<Bytes, ServiceError> {
        let hashed = hashed(token);
        let Some(owner) = self.owners.find(hashed.clone()).await? else {
            return Ok(refused());
        };
        if !owner.active {
            return Err(forbidden("User has been deactivated"));
        }
        let expires = match owner.token.when {
            // A personal access token has no date and no end.
            None => None,
            Some(when) => Some(self.expiration.ends_at(when, &self.store).await?),
        };
        if expires.is_some_and(|end| now_ms() >= end) {
            return Err(forbidden("Your session has expired. Please log in again."));
        }
        Ok(Granted {
            user: &owner.user,
            token,
            hashed: &hashed,
            expires,
            kind: "resume",
        }
        .text())
    }

    /// Whatever is wrong, the answer and the time it takes are the same: they do not tell which names exist.
    async fn password(&self, login: &Map<String, Value>) -> Result<Bytes, ServiceError> {
        let username = login.get("user").and_then(|user| user.get("username"));
        let username = username
            .and_then(Value::as_str)
            .filter(|name| (1..=USERNAME_MAX).contains(&name.len()));
        let digest = login.get("password").and_then(digest);
        let (Some(username), Some(digest)) = (username, digest) else {
            return Ok(refused());
        };
        let limits = Limits::read(&self.store).await.map_err(unavailable)?;
        if limits.is_some_and(|limits| !self.lockout.begin(username, limits, Instant::now())) {
            return Err(meteor(
                "error-login-blocked-for-user",
                "Too many logins of this user have failed; try again later",
            ));
        }
        let judged = self.judge(username, digest).await;
        match &judged {
            Ok(Some(_)) => self.lockout.succeeded(username),
            Ok(None) => {}
            Err(_) => self.lockout.withdraw(username),
        }
        let Some(user) = judged? else {
            return Ok(refused());
        };
        self.start_session(&user).await
    }

    /// The id of the user with this name, if the password is theirs and enough to log in.
    async fn judge(&self, username: &str, digest: String) -> Result<Option<String>, ServiceError> {
        let stored = self
            .store
            .password_hash(username)
            .await
            .map_err(unavailable)?;
        let hash = stored.as_ref().map(|stored| stored.bcrypt.as_str());
        let is_theirs = self.hashing.verify(digest, hash).await?;
        // The second factor is the monolith's to ask for.
        let stored = stored.filter(|of| is_theirs && of.active && !of.has_second_factor);
        Ok(stored.map(|stored| stored.user))
    }

    async fn start_session(&self, user: &str) -> Result<Bytes, ServiceError> {
        let token = uuid::Uuid::new_v4().to_string();
        let (hashed, when) = (hashed(&token), now_ms());
        let expires = self.expiration.ends_at(when, &self.store).await?;
        let stored = LoginToken {
            hashed: hashed.clone(),
            when: Some(when),
            kind: None,
        };
        let pushed = self.store.push_login_token(user, &stored).await;
        if !pushed.map_err(unavailable)? {
            return Ok(refused());
        }
        Ok(Granted {
            user,
            token: &token,
            hashed: &hashed,
            expires: Some(expires),
            kind: "password",
        }
        .text())
    }
}

/// What bcrypt was fed: the lower-case hex SHA-256 of the password, sent as such or made here.
fn digest(password: &Value) -> Option<String> {
    match password {
        Value::String(plain) => Some(hex(&Sha256::digest(plain.as_bytes()))),
        Value::Object(object)
            if object.get("algorithm").and_then(Value::as_str) == Some("sha-256") =>
        {
            object
                .get("digest")
                .and_then(Value::as_str)
                .map(str::to_ascii_lowercase)
        }
        _ => None,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes of a name; longer ones nobody has.
const USERNAME_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_hash_as_the_contract_says() {
        assert_eq!(
            hashed("abc"),
            "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="
        );
        assert_eq!(
            hashed("1f2e3d4c-5b6a-4798-8899-aabbccddeeff"),
            "OfwIBw0O7wKjvzIm70YMi5OGVwNtC84f096e9VdM+ec="
        );
    }

    #[test]
    fn a_password_may_come_plain_or_as_its_digest_and_nothing_else() {
        let expected = "4104d36f8da2c254349f85836793ebe029e0c957063a34c91c2e9203187b5631";
        assert_eq!(digest(&json!("correct horse")).as_deref(), Some(expected));
        assert_eq!(
            digest(&json!({ "digest": expected, "algorithm": "sha-256" })).as_deref(),
            Some(expected)
        );
        assert_eq!(
            hashed("Zq0_Y8mC3vJt1xLwN5uRkPdHsBfGaEiOyT7cXnMbVhQ"),
            "dziiPOFiZ4ih7EzFTKdSPipczBUttZvMzyL3tN8dnt4="
        );
        for bad in [
            json!({ "digest": { "$ne": 1 }, "algorithm": "sha-256" }),
            json!({ "digest": expected }),
            json!(5),
            json!(null),
        ] {
            assert_eq!(digest(&bad), None, "{bad}");
        }
    }
}
