//! `Accounts_LoginExpiration`: how long a resume token lives (services.md 2.4).

use backplane::ServiceError;
use serde_json::Value;
use store::{Error, Store};

use crate::{known::Known, settings::number};

/// The setting's value in days. No token with a date is judged before it is known.
#[derive(Default)]
pub(super) struct Expiration {
    days: Known<f64>,
}

impl Expiration {
    /// When a token made at `when` ends, both in ms since 1970.
    ///
    /// # Errors
    /// The setting cannot be read.
    pub(super) async fn ends_at(&self, when: i64, store: &Store) -> Result<i64, ServiceError> {
        let days = self.days.get_or_read(|| read(store)).await?;
        // Days that overflow a date mean "never" just as well at the end of time.
        #[expect(clippy::cast_possible_truncation, reason = "saturates, as wanted")]
        let span = (*days * DAY_MS) as i64;
        Ok(when.saturating_add(span))
    }

    pub(super) async fn refresh(&self, store: &Store) {
        self.days.refresh(read(store)).await;
    }

    pub(super) fn forget(&self) {
        self.days.forget();
    }

    /// Takes the value out of a `watch.settings` event; a removal brings the default back.
    pub(super) fn handle_setting(&self, args: &[u8]) {
        let Ok(args) = crate::json::read::<Value>(args) else {
            return;
        };
        let setting = &args[0]["setting"];
        if setting["_id"] == SETTING {
            let value = setting["value"].as_f64();
            self.days.set(usable(value));
        }
    }
}

async fn read(store: &Store) -> Result<f64, Error> {
    let value = store.setting(SETTING).await?;
    Ok(usable(value.as_ref().and_then(number)))
}

/// What is no number above 0 is the default.
fn usable(days: Option<f64>) -> f64 {
    days.filter(|days| *days > 0.0).unwrap_or(DEFAULT_DAYS)
}

const SETTING: &str = "Accounts_LoginExpiration";
const DEFAULT_DAYS: f64 = 90.0;
const DAY_MS: f64 = 86_400_000.0;

#[cfg(test)]
mod tests {
    use store::bson::{Bson, doc};

    use super::*;

    const WHEN: i64 = 1_768_032_000_000; // 2026-01-10T08:00:00Z

    async fn store_with(value: Option<Bson>) -> Store {
        let store = Store::embedded(None).unwrap();
        if let Some(value) = value {
            let setting = doc! { "_id": SETTING, "value": value };
            store.insert_setting(setting).await.unwrap();
        }
        store
    }

    #[tokio::test]
    async fn the_setting_is_normalised_as_the_contract_says() {
        for (stored, announced, end) in [
            (Some(Bson::Int32(90)), "90", 1_775_808_000_000), // 2026-04-10T08:00:00Z
            (Some(Bson::Int64(1)), "1", 1_768_118_400_000),   // 2026-01-11T08:00:00Z
            (Some(Bson::Double(0.5)), "0.5", 1_768_075_200_000), // 2026-01-10T20:00:00Z
            (Some(Bson::Int32(0)), "0", 1_775_808_000_000),
            (Some(Bson::Int32(-1)), "-1", 1_775_808_000_000),
            (Some(Bson::Double(f64::NAN)), "\"NaN\"", 1_775_808_000_000),
            (Some("30".into()), "\"30\"", 1_775_808_000_000),
            (Some(Bson::Null), "null", 1_775_808_000_000),
            (None, "{\"$gt\":1}", 1_775_808_000_000),
        ] {
            let (expiration, store) = (Expiration::default(), store_with(stored).await);
            assert_eq!(
                expiration.ends_at(WHEN, &store).await,
                Ok(end),
                "{announced}"
            );

            let (expiration, store) = (Expiration::default(), store_with(Some(7.into())).await);
            let event = format!(
                r#"[{{"clientAction":"updated","setting":{{"_id":"Accounts_LoginExpiration","value":{announced}}}}}]"#
            );
            expiration.handle_setting(event.as_bytes());
            assert_eq!(
                expiration.ends_at(WHEN, &store).await,
                Ok(end),
                "{announced}"
            );
        }
    }

    #[tokio::test]
    async fn a_removed_setting_is_the_default_and_other_events_change_nothing() {
        let (expiration, store) = (Expiration::default(), store_with(Some(1.into())).await);
        let days = async || (expiration.ends_at(WHEN, &store).await.unwrap() - WHEN) / 86_400_000;
        for event in [
            &br#"[{"setting":{"_id":"Site_Name","value":5}}]"#[..],
            b"[",
            b"[]",
            b"[null]",
        ] {
            expiration.handle_setting(event);
            assert_eq!(days().await, 1);
        }
        let removed =
            br#"[{"clientAction":"removed","setting":{"_id":"Accounts_LoginExpiration"}}]"#;
        expiration.handle_setting(removed);
        assert_eq!(days().await, 90);
        expiration.forget();
        assert_eq!(days().await, 1, "after a gap the database counts");
    }
}
