//! What every store must do, one file per noun.

pub(crate) mod messages;
pub(crate) mod presence;
pub(crate) mod rooms;
pub(crate) mod status;
pub(crate) mod users;
pub(crate) mod workspace;

use store::bson::{Bson, Document};
use store::ejson;

/// EJSON object text as a document.
fn parsed(text: &str) -> Document {
    match ejson::from_text(text).unwrap() {
        Bson::Document(document) => document,
        other => panic!("{other} is no object"),
    }
}

fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort();
    texts
}
