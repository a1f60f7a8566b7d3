//! The workspace's settings, read from the database. A value of an odd type says nothing.

use store::bson::Bson;

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
