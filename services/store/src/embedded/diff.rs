//! What differs between two versions of a document, as MongoDB's `updateDescription` says it.

use bson::{Bson, Document};

/// Fields with new values and fields that are gone, as dotted paths into sub-documents. An array that differs is given
/// whole: consumers look for `services.resume.loginTokens` under exactly that key (services.md 5.11).
pub(super) fn diff(before: &Document, after: &Document) -> (Document, Vec<String>) {
    let mut found = (Document::new(), Vec::new());
    compare("", before, after, &mut found);
    found
}

fn compare(prefix: &str, before: &Document, after: &Document, found: &mut (Document, Vec<String>)) {
    for (key, new) in after {
        match (before.get(key), new) {
            (Some(old), new) if old == new => {}
            (Some(Bson::Document(old)), Bson::Document(new)) => {
                compare(&format!("{prefix}{key}."), old, new, found)
            }
            _ => {
                found.0.insert(format!("{prefix}{key}"), new.clone());
            }
        }
    }
    let gone = before.keys().filter(|key| !after.contains_key(key));
    found.1.extend(gone.map(|key| format!("{prefix}{key}")));
}

#[cfg(test)]
mod tests {
    use bson::doc;

    use super::*;

    fn check(before: Document, after: Document, updated: Document, removed: &[&str]) {
        assert_eq!(
            diff(&before, &after),
            (
                updated,
                removed.iter().map(|path| (*path).to_owned()).collect()
            )
        );
    }

    #[test]
    fn equal_documents_do_not_differ() {
        check(
            doc! { "a": { "b": [1, 2] } },
            doc! { "a": { "b": [1, 2] } },
            doc! {},
            &[],
        );
    }

    #[test]
    fn a_field_inside_a_sub_document_is_named_by_its_path() {
        check(
            doc! { "u": { "name": "a", "old": 1 }, "gone": true },
            doc! { "u": { "name": "b", "new": 2 } },
            doc! { "u.name": "b", "u.new": 2 },
            &["u.old", "gone"],
        );
    }

    #[test]
    fn an_array_that_shrank_is_given_whole() {
        check(
            doc! { "services": { "resume": { "loginTokens": [{ "hashedToken": "a" }, { "hashedToken": "b" }] } } },
            doc! { "services": { "resume": { "loginTokens": [{ "hashedToken": "b" }] } } },
            doc! { "services.resume.loginTokens": [{ "hashedToken": "b" }] },
            &[],
        );
    }

    #[test]
    fn a_value_that_becomes_a_document_is_given_whole() {
        check(
            doc! { "v": 1 },
            doc! { "v": { "x": 1 } },
            doc! { "v": { "x": 1 } },
            &[],
        );
    }
}
