//! One verdict per login: resume (services.md 2.3) or, where it is switched on, password (2.5, with its defects mended).

use backplane::ServiceError;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use store::LoginToken;

use super::Accounts;
use crate::{
    errors::{forbidden, plain, unavailable},
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
        match params.get(0).and_then(|login| login.get("resume")) {
            // A value that is not a string must not fall through to the password branch.
            Some(Value::String(token)) if !token.is_empty() => self.resume(token).await,
            None | Some(Value::Null) if self.config.password_login => self.password(params).await,
            _ => Ok(refused()),
        }
    }

    async fn resume(&self, token: &str) -> Result<Bytes, ServiceError> {
        let hashed = hashed(token);
        let Some(owner) = self
            .store
            .user_by_token_hash(&hashed)
            .await
            .map_err(unavailable)?
        else {
            return Ok(refused());
        };
        if !owner.active {
            return Err(forbidden("User has been deactivated"));
        }
        let expires = match owner.token.when {
            // A personal access token has no date and no end.
            None => None,
            Some(when) => Some(
                self.expiration
                    .ends_at(when)
                    .ok_or_else(|| plain("login settings are not known yet"))?,
            ),
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

    async fn password(&self, params: &Params) -> Result<Bytes, ServiceError> {
        let login = params.get(0);
        let Some(username) = login.and_then(|login| login["user"]["username"].as_str()) else {
            return Ok(refused());
        };
        let Some(digest) = login.and_then(|login| digest(&login["password"])) else {
            return Ok(refused());
        };
        let Some(stored) = self
            .store
            .password_hash(username)
            .await
            .map_err(unavailable)?
        else {
            return Ok(refused());
        };
        let Ok(_permit) = self.hashing.acquire().await else {
            return Ok(refused());
        };
        let bcrypt = stored.bcrypt.clone();
        let verified = tokio::task::spawn_blocking(move || bcrypt::verify(digest, &bcrypt)).await;
        if !matches!(verified, Ok(Ok(true))) {
            return Ok(refused());
        }
        // After the comparison, so that the answer's time does not tell which of the three it was.
        if !stored.active || stored.has_second_factor {
            return Ok(refused());
        }
        let token = uuid::Uuid::new_v4().to_string();
        let (hashed, when) = (hashed(&token), now_ms());
        let expires = self.expiration.ends_at(when);
        let stored_token = LoginToken {
            hashed: hashed.clone(),
            when: Some(when),
            kind: None,
        };
        self.store
            .push_login_token(&stored.user, &stored_token)
            .await
            .map_err(unavailable)?;
        Ok(Granted {
            user: &stored.user,
            token: &token,
            hashed: &hashed,
            expires,
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
