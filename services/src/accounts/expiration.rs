//! `Accounts_LoginExpiration`: how long a resume token lives (services.md 2.4).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::Value;
use store::{Store, bson::Bson};

const SETTING: &str = "Accounts_LoginExpiration";
const DEFAULT_DAYS: f64 = 90.0;
const DAY_MS: f64 = 86_400_000.0;

/// The setting's value in days; unknown until it was read once, and no login is judged before that.
#[derive(Default)]
pub(super) struct Expiration {
    known: AtomicBool,
    /// Bits of an f64.
    days: AtomicU64,
}

impl Expiration {
    pub(super) fn is_known(&self) -> bool {
        self.known.load(Ordering::Acquire)
    }

    /// Reads the setting; an unreachable store leaves what was known.
    pub(super) async fn read(&self, store: &Store) {
        match store.setting(SETTING).await {
            Ok(value) => self.set(value.and_then(|value| number(&value))),
            Err(error) => tracing::warn!(%error, "cannot read {SETTING}"),
        }
    }

    /// Takes the value out of a `watch.settings` event; a removal brings the default back.
    pub(super) fn handle_setting(&self, args: &[u8]) {
        let Ok(args) = serde_json::from_slice::<Value>(args) else {
            return;
        };
        let setting = &args[0]["setting"];
        if setting["_id"] == SETTING {
            self.set(setting["value"].as_f64());
        }
    }

    /// When a token made at `when` (ms since the epoch) ends; `None` while the setting is unknown.
    pub(super) fn ends_at(&self, when: i64) -> Option<i64> {
        self.is_known().then(|| {
            let days = f64::from_bits(self.days.load(Ordering::Acquire));
            // Days that overflow a date mean "never" just as well at the end of time.
            #[expect(clippy::cast_possible_truncation, reason = "saturates, as wanted")]
            let span = (days * DAY_MS) as i64;
            when.saturating_add(span)
        })
    }

    fn set(&self, days: Option<f64>) {
        let days = days.filter(|days| *days > 0.0).unwrap_or(DEFAULT_DAYS);
        self.days.store(days.to_bits(), Ordering::Release);
        self.known.store(true, Ordering::Release);
    }
}

/// A number of any BSON kind.
fn number(value: &Bson) -> Option<f64> {
    match value {
        Bson::Double(number) => Some(*number),
        Bson::Int32(number) => Some((*number).into()),
        #[expect(
            clippy::cast_precision_loss,
            reason = "days beyond 2^53 are all the same"
        )]
        Bson::Int64(number) => Some(*number as f64),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setting_is_normalised_as_the_original_does() {
        let when = 1_768_032_000_000; // 2026-01-10T08:00:00Z
        for (value, days) in [
            ("90", 90.0),
            ("1", 1.0),
            ("0.5", 0.5),
            ("0", 90.0),
            ("-1", 90.0),
            ("\"30\"", 90.0),
            ("null", 90.0),
        ] {
            let expiration = Expiration::default();
            assert_eq!(expiration.ends_at(when), None);
            let event = format!(
                r#"[{{"clientAction":"updated","setting":{{"_id":"Accounts_LoginExpiration","value":{value}}}}}]"#
            );
            expiration.handle_setting(event.as_bytes());
            assert_eq!(
                expiration.ends_at(when),
                Some(when + (days * DAY_MS) as i64),
                "value {value}"
            );
        }
    }

    #[test]
    fn other_settings_and_garbage_change_nothing() {
        let expiration = Expiration::default();
        expiration.handle_setting(br#"[{"setting":{"_id":"Site_Name","value":1}}]"#);
        expiration.handle_setting(b"[");
        expiration.handle_setting(b"[]");
        assert!(!expiration.is_known());
    }
}
