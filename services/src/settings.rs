//! The workspace's settings, read from the database. A value of an odd type says nothing.

use backplane::ServiceError;
use store::{Store, bson::Bson};

use crate::errors::unavailable;

/// Whether a setting is `true`.
pub(crate) async fn is_on(store: &Store, id: &str) -> Result<bool, ServiceError> {
    let value = store.setting(id).await.map_err(unavailable)?;
    Ok(value == Some(Bson::Boolean(true)))
}

/// A number of any BSON kind.
pub(crate) fn number(value: &Bson) -> Option<f64> {
    match value {
        Bson::Double(number) => Some(*number),
        Bson::Int32(number) => Some((*number).into()),
        #[expect(
            clippy::cast_precision_loss,
            reason = "what is set beyond 2^53 is all the same"
        )]
        Bson::Int64(number) => Some(*number as f64),
        _ => None,
    }
}
