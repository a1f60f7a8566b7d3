//! BSON and Meteor's EJSON text, both ways.

use proptest::prelude::*;
use store::ErrorKind;
use store::bson::oid::ObjectId;
use store::bson::spec::BinarySubtype;
use store::bson::{Binary, Bson, DateTime, Decimal128, Document, Regex, Timestamp, doc};
use store::ejson::{from_text, to_text, value_to_text};

fn binary(bytes: &[u8]) -> Bson {
    Bson::Binary(Binary {
        subtype: BinarySubtype::Generic,
        bytes: bytes.to_vec(),
    })
}

fn regex(pattern: &str, options: &str) -> Bson {
    let [pattern, options] = [pattern, options].map(|text| text.to_owned().try_into().unwrap());
    Bson::RegularExpression(Regex { pattern, options })
}

/// The value is written as the text, and the text is read as the value.
fn check(value: impl Into<Bson>, text: &str) {
    let value = value.into();
    assert_eq!(value_to_text(&value), text);
    assert_eq!(from_text(text).unwrap(), value);
}

fn check_written(value: impl Into<Bson>, text: &str) {
    assert_eq!(value_to_text(&value.into()), text);
}

fn check_read(text: &str, value: impl Into<Bson>) {
    assert_eq!(from_text(text).unwrap(), value.into(), "{text}");
}

fn check_refused(text: &str) {
    assert_eq!(
        from_text(text).unwrap_err().kind(),
        ErrorKind::Invalid,
        "{text}"
    );
}

#[test]
fn plain_json_is_itself() {
    check(Bson::Null, "null");
    check(true, "true");
    check(-7, "-7");
    check(9_007_199_254_740_993_i64, "9007199254740993");
    check(0.1, "0.1");
    check(1e300, "1e300");
    check("", r#""""#);
    check(Bson::Array(vec![]), "[]");
    check(doc! {}, "{}");
    check(
        doc! { "b": [1, { "a": "x" }], "a": null_free() },
        r#"{"b":[1,{"a":"x"}],"a":{"z":1,"y":2}}"#,
    );
}

fn null_free() -> Document {
    doc! { "z": 1, "y": 2 }
}

#[test]
fn text_is_escaped_only_where_json_asks_for_it() {
    check(
        "a\"b\\c\nd\re\tf\u{1}g/\u{7f}",
        "\"a\\\"b\\\\c\\nd\\re\\tf\\u0001g/\u{7f}\"",
    );
    check("ü\u{2028}🚀", "\"ü\u{2028}🚀\"");
    check(doc! { "k\"": 1 }, r#"{"k\"":1}"#);
    check_read(r#""\ud83d\ude80\u00fc""#, "🚀ü");
}

#[test]
fn values_beyond_json_have_their_markers() {
    check(
        DateTime::from_millis(1_700_000_000_123),
        r#"{"$date":1700000000123}"#,
    );
    check(DateTime::from_millis(-1), r#"{"$date":-1}"#);
    check(f64::INFINITY, r#"{"$InfNaN":1}"#);
    check(f64::NEG_INFINITY, r#"{"$InfNaN":-1}"#);
    check_written(f64::NAN, r#"{"$InfNaN":0}"#);
    assert!(
        from_text(r#"{"$InfNaN":0}"#)
            .unwrap()
            .as_f64()
            .unwrap()
            .is_nan()
    );
    check(binary(&[1, 2, 3, 255]), r#"{"$binary":"AQID/w=="}"#);
    check(regex("ab+c", "gi"), r#"{"$regexp":"ab+c","$flags":"gi"}"#);
    check(
        doc! { "at": [DateTime::from_millis(5)] },
        r#"{"at":[{"$date":5}]}"#,
    );
}

#[test]
fn whole_doubles_look_as_in_javascript() {
    check_written(3.0, "3");
    check_written(-0.0, "0");
    check_written(1e15, "1000000000000000");
    check_written(1e16, "1e16");
    check_written(-123_456_789_012_345.0, "-123456789012345");
}

#[test]
fn plain_data_that_looks_like_a_marker_is_wrapped() {
    check(doc! { "$date": 1 }, r#"{"$escape":{"$date":1}}"#);
    check(doc! { "$binary": "x" }, r#"{"$escape":{"$binary":"x"}}"#);
    check(doc! { "$InfNaN": 2 }, r#"{"$escape":{"$InfNaN":2}}"#);
    check(doc! { "$escape": 1 }, r#"{"$escape":{"$escape":1}}"#);
    check(
        doc! { "$type": "oid", "$value": "x" },
        r#"{"$escape":{"$type":"oid","$value":"x"}}"#,
    );
    check(
        doc! { "$flags": "", "$regexp": "" },
        r#"{"$escape":{"$flags":"","$regexp":""}}"#,
    );
    // What is inside is a value again.
    check(
        doc! { "$date": DateTime::from_millis(5) },
        r#"{"$escape":{"$date":{"$date":5}}}"#,
    );
    check(
        doc! { "$escape": { "$date": 1 } },
        r#"{"$escape":{"$escape":{"$escape":{"$date":1}}}}"#,
    );
    check(
        doc! { "$date": { "$date": 1 } },
        r#"{"$escape":{"$date":{"$escape":{"$date":1}}}}"#,
    );
}

#[test]
fn a_marker_with_further_keys_is_plain_data() {
    check(doc! { "$date": 1, "x": 2 }, r#"{"$date":1,"x":2}"#);
    check(doc! { "x": 2, "$date": 1 }, r#"{"x":2,"$date":1}"#);
    check(doc! { "$type": "oid" }, r#"{"$type":"oid"}"#);
    check(doc! { "$regexp": "a" }, r#"{"$regexp":"a"}"#);
    check_read(
        r#"{"$escape":{"$date":5},"x":1}"#,
        doc! { "$escape": DateTime::from_millis(5), "x": 1 },
    );
}

#[test]
fn types_without_an_ejson_form_leave_as_their_json() {
    check_written(
        ObjectId::from_bytes([0xab; 12]),
        r#""abababababababababababab""#,
    );
    check_written(
        "1.50".parse::<Decimal128>().unwrap(),
        r#"{"$numberDecimal":"1.50"}"#,
    );
    check_written(
        Timestamp {
            time: 1,
            increment: 2,
        },
        r#"{"$timestamp":"4294967298"}"#,
    );
    check_written(Bson::Symbol("s".into()), r#""s""#);
    check_written(Bson::JavaScriptCode("x".into()), r#"{"code":"x"}"#);
    check_written(Bson::MinKey, r#"{"$minKey":1}"#);
}

#[test]
fn undefined_vanishes_from_objects_and_is_null_in_arrays() {
    check_written(
        doc! { "a": Bson::Undefined, "b": [Bson::Undefined] },
        r#"{"b":[null]}"#,
    );
}

#[test]
fn dates_are_read_from_numbers_and_texts() {
    check_read(r#"{"$date":1.9}"#, DateTime::from_millis(1));
    check_read(
        r#"{"$date":"2020-01-01"}"#,
        DateTime::from_millis(1_577_836_800_000),
    );
    check_read(
        r#"{"$date":"2020-01-01T00:00:00.5Z"}"#,
        DateTime::from_millis(1_577_836_800_500),
    );
    for invalid in ["null", "true", "[]", r#""soon""#, "1e300"] {
        check_read(&format!(r#"{{"$date":{invalid}}}"#), Bson::Null);
    }
}

#[test]
fn of_two_members_with_one_name_the_last_one_counts() {
    check_read(r#"{"a":1,"a":2}"#, doc! { "a": 2 });
}

#[test]
fn numbers_take_the_smallest_type_that_holds_them() {
    check_read("2147483647", 2_147_483_647_i32);
    check_read("2147483648", 2_147_483_648_i64);
    check_read("18446744073709551615", 18_446_744_073_709_551_615.0);
    check_read("1.0", 1.0);
}

#[test]
fn malformed_text_is_refused() {
    for text in [
        "",
        "{",
        "[1,]",
        "nul",
        "1 2",
        r#"{"a"}"#,
        "{'a':1}",
        "\"\u{1}\"",
        r#""\ud800""#,
        r#"{"$type":"oid","$value":"abababababababababababab"}"#,
        r#"{"$binary":"!"}"#,
        r#"{"$binary":1}"#,
        r#"{"$regexp":1,"$flags":""}"#,
        r#"{"$regexp":"a\u0000","$flags":""}"#,
        r#"{"a\u0000b":1}"#,
    ] {
        check_refused(text);
    }
    check_refused(&"[".repeat(100_000));
    check_refused(&r#"{"a":"#.repeat(100_000));
}

fn any_bson() -> impl Strategy<Value = Bson> {
    let leaf = prop_oneof![
        Just(Bson::Null),
        any::<bool>().prop_map(Bson::Boolean),
        any::<i32>().prop_map(Bson::Int32),
        (i64::from(i32::MAX) + 1..).prop_map(Bson::Int64),
        any::<f64>()
            .prop_filter("whole ones come back as integers", |n| n.fract() != 0.0)
            .prop_map(Bson::Double),
        any::<String>().prop_map(Bson::String),
        (-8_640_000_000_000_000..=8_640_000_000_000_000_i64)
            .prop_map(|ms| Bson::DateTime(DateTime::from_millis(ms))),
        any::<Vec<u8>>().prop_map(|bytes| binary(&bytes)),
    ];
    let key = prop_oneof![
        "[^\0]{0,4}",
        prop::sample::select(vec![
            "$date", "$escape", "$type", "$value", "$binary", "$InfNaN", "$regexp", "$flags"
        ])
        .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Bson::Array),
            prop::collection::vec((key.clone(), inner), 0..6)
                .prop_map(|members| Bson::Document(members.into_iter().collect())),
        ]
    })
}

proptest! {
    // Failures print what is needed to repeat them; a file beside the tests would be one more thing to keep.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_back(value in any_bson()) {
        let text = value_to_text(&value);
        prop_assert_eq!(&from_text(&text).unwrap(), &value, "{}", text);
        // Whatever we write is JSON.
        prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
        if let Bson::Document(document) = value {
            prop_assert_eq!(to_text(&document), text);
        }
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in r#"([\[\]{}:,"0-9a-z$\\ .-]|"\$(date|escape|type|value|binary)"){0,40}"#) {
        let _ = from_text(&text);
    }
}
