//! Attributes of rooms and users (`abacAttributes`): what a user must have to enter a room.

use std::collections::HashSet;

use bson::{RawBsonRef, RawDocument};

use crate::raw;

/// Keys with their values, as far as they can be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Key and values, in the order in which they are stored.
    pub list: Vec<(String, Vec<String>)>,
    /// Something in it is of another shape: nobody knows what it asks for.
    pub is_odd: bool,
}

impl Attributes {
    pub(crate) fn of(document: &RawDocument) -> Self {
        let mut attributes = Self::default();
        match document.get(ATTRIBUTES) {
            Ok(None | Some(RawBsonRef::Null)) => {}
            Ok(Some(RawBsonRef::Array(entries))) => {
                for entry in entries {
                    match entry.ok().and_then(|entry| attribute(entry.as_document()?)) {
                        Some(attribute) => attributes.list.push(attribute),
                        None => attributes.is_odd = true,
                    }
                }
            }
            _ => attributes.is_odd = true,
        }
        attributes
    }

    /// Whether somebody with these attributes has every key that `wanted` asks for, with all of its values.
    pub fn cover(&self, wanted: &Self) -> bool {
        let has = |(key, values): &(String, Vec<String>)| {
            self.list.iter().any(|(held, of)| {
                let of: HashSet<&String> = of.iter().collect();
                held == key && values.iter().all(|value| of.contains(value))
            })
        };
        !wanted.is_odd && wanted.list.iter().all(has)
    }
}

fn attribute(entry: &RawDocument) -> Option<(String, Vec<String>)> {
    let values = entry.get_array("values").ok()?;
    let values = values
        .into_iter()
        .map(|value| Some(value.ok()?.as_str()?.to_owned()));
    Some((raw::text(entry, "key")?, values.collect::<Option<_>>()?))
}

pub(crate) const ATTRIBUTES: &str = "abacAttributes";
