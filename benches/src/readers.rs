//! The JSON libraries at the places where JSON is looked into or checked whole, with small and large documents: why each
//! place has the reader it has. simd-json writes into its input, so it works on a copy, which counts.

use std::hint::black_box;

use protocol::ddp::ejson;
use serde::{Deserialize, de::IgnoredAny};
use simd_json::prelude::ValueIntoString;

use crate::{Case, message};

/// Places and readers; the first of each place is the one that is used.
pub const READERS: &[Case] = &[
    Case {
        name: "event checked, 0.4 kB: serde_json IgnoredAny",
        prepare: || checked(1),
    },
    Case {
        name: "event checked, 0.4 kB: simd-json tape",
        prepare: || taped(1),
    },
    Case {
        name: "event checked, 4 kB: serde_json IgnoredAny",
        prepare: || checked(10),
    },
    Case {
        name: "event checked, 4 kB: simd-json tape",
        prepare: || taped(10),
    },
    Case {
        name: "event checked, 80 kB: serde_json IgnoredAny",
        prepare: || checked(200),
    },
    Case {
        name: "event checked, 80 kB: simd-json tape",
        prepare: || taped(200),
    },
    Case {
        name: "one field found, 0.4 kB: walker",
        prepare: || walked(1),
    },
    Case {
        name: "one field found, 0.4 kB: simd-json value",
        prepare: || indexed(1),
    },
    Case {
        name: "one field found, 80 kB: walker",
        prepare: || walked(200),
    },
    Case {
        name: "one field found, 80 kB: simd-json value",
        prepare: || indexed(200),
    },
    Case {
        name: "arguments into types, 0.4 kB: serde_json",
        prepare: || typed(1),
    },
    Case {
        name: "arguments into types, 0.4 kB: simd-json",
        prepare: || typed_by_simd(1),
    },
    Case {
        name: "arguments into types, 80 kB: serde_json",
        prepare: || typed(200),
    },
    Case {
        name: "arguments into types, 80 kB: simd-json",
        prepare: || typed_by_simd(200),
    },
];

/// What a service takes of a document that it is asked about.
#[derive(Deserialize)]
struct Document<'a> {
    _id: &'a str,
    rid: &'a str,
    #[serde(borrow)]
    u: Author<'a>,
}

#[derive(Deserialize)]
struct Author<'a> {
    username: &'a str,
}

/// So many room messages.
fn documents(count: usize) -> Vec<u8> {
    let all = vec![message(); count].join(",");
    format!("[{all}]").into_bytes()
}

/// The same text again and again in one place, for a reader that writes into it.
struct Copied {
    text: Vec<u8>,
    copy: Vec<u8>,
}

impl Copied {
    fn new(text: Vec<u8>) -> Self {
        let copy = Vec::with_capacity(text.len());
        Self { text, copy }
    }

    fn again(&mut self) -> &mut [u8] {
        self.copy.clear();
        self.copy.extend_from_slice(black_box(&self.text));
        &mut self.copy
    }
}

fn checked(count: usize) -> Box<dyn FnMut()> {
    let text = documents(count);
    Box::new(move || {
        assert!(serde_json::from_slice::<IgnoredAny>(black_box(&text)).is_ok());
        assert!(std::str::from_utf8(black_box(&text)).is_ok());
    })
}

fn taped(count: usize) -> Box<dyn FnMut()> {
    let text = documents(count);
    let mut buffers = simd_json::Buffers::new(text.len());
    let mut text = Copied::new(text);
    Box::new(move || {
        assert!(simd_json::to_tape_with_buffers(text.again(), &mut buffers).is_ok());
    })
}

/// The room of the last document.
fn walked(count: usize) -> Box<dyn FnMut()> {
    let text = String::from_utf8(documents(count)).expect("text");
    Box::new(move || {
        let room = ejson::at(black_box(&text), count - 1, &["rid"]);
        assert_eq!(black_box(room), Some("\"GENERAL\""));
    })
}

fn indexed(count: usize) -> Box<dyn FnMut()> {
    let text = documents(count);
    let mut buffers = simd_json::Buffers::new(text.len());
    let mut text = Copied::new(text);
    Box::new(move || {
        let tape = simd_json::to_tape_with_buffers(text.again(), &mut buffers).expect("JSON");
        let value = tape.as_value();
        let room = value
            .as_array()
            .and_then(|all| all.get(count - 1))
            .and_then(|last| last.get("rid"))
            .and_then(|room| room.into_string());
        assert_eq!(black_box(room), Some("GENERAL"));
    })
}

fn typed(count: usize) -> Box<dyn FnMut()> {
    let text = documents(count);
    Box::new(move || {
        let all: Vec<Document<'_>> = serde_json::from_slice(black_box(&text)).expect("documents");
        assert!(all.iter().all(Document::is_whole));
    })
}

fn typed_by_simd(count: usize) -> Box<dyn FnMut()> {
    let mut text = Copied::new(documents(count));
    Box::new(move || {
        let all: Vec<Document<'_>> = simd_json::from_slice(text.again()).expect("documents");
        assert!(all.iter().all(Document::is_whole));
    })
}

impl Document<'_> {
    fn is_whole(&self) -> bool {
        !self._id.is_empty() && !self.rid.is_empty() && !self.u.username.is_empty()
    }
}
