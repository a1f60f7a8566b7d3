//! One DDP message, and the readers of the parameters that it was found to carry.

#![no_main]

use protocol::{
    ddp::{ClientMessage, decode::decode, ejson},
    limits::Limits,
};
use serde::de::IgnoredAny;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let Ok(message) = decode(text, &Limits::default()) else {
        return;
    };
    assert!(
        serde_json::from_str::<IgnoredAny>(text).is_ok(),
        "nothing but JSON is accepted"
    );
    if let ClientMessage::Method {
        params: Ok(params), ..
    }
    | ClientMessage::Sub {
        params: Ok(params), ..
    } = message
    {
        let elements: Vec<&str> = ejson::elements(params).collect();
        let expected: Vec<IgnoredAny> =
            serde_json::from_str(params).expect("parameters are an array");
        assert_eq!(elements.len(), expected.len());
        for (index, element) in elements.into_iter().enumerate() {
            assert_eq!(ejson::at(params, index, &[]), Some(element));
            ejson::string(element);
            for (_, value) in ejson::fields(element) {
                assert!(
                    serde_json::from_str::<IgnoredAny>(value).is_ok(),
                    "a field's value is JSON"
                );
            }
        }
    }
});
