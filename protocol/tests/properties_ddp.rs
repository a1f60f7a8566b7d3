//! DDP messages against serde_json: what is encoded reads back, what a client says is understood, and raw JSON is taken
//! apart as a tree would be.

use proptest::{collection::vec, prelude::*};
use protocol::{
    close::CloseReason,
    ddp::{ClientMessage, Error, Refused, decode::decode, ejson, encode},
    limits::Limits,
};
use serde_json::{Map, Value, json};

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_encoded_reads_back(id in id(), text in text(), other in text(), value in value()) {
        let raw = value.to_string();
        let raw_id = id.to_string();
        check(&encode::connected(&text), json!({"msg": "connected", "session": text}))?;
        check(&encode::failed(&text), json!({"msg": "failed", "version": text}))?;
        check(&encode::pong(Some(&raw_id)), json!({"msg": "pong", "id": id}))?;
        check(&encode::result(&raw_id, Ok(Some(raw.as_bytes()))), json!({"msg": "result", "id": id, "result": value}))?;
        check(&encode::updated(&raw_id), json!({"msg": "updated", "methods": [id]}))?;
        check(&encode::ready(&raw_id), json!({"msg": "ready", "subs": [id]}))?;
        check(
            &encode::added(&text, &other, &raw),
            json!({"msg": "added", "collection": text, "id": other, "fields": value}),
        )?;
        check(
            &encode::changed(&text, &other, &raw),
            json!({"msg": "changed", "collection": text, "id": other, "fields": value}),
        )?;
        check(&encode::removed(&text, &other), json!({"msg": "removed", "collection": text, "id": other}))?;
        check(
            &encode::stream_changed(&text, &other, &raw),
            json!({"msg": "changed", "collection": format!("stream-{text}"), "id": "id",
                "fields": {"eventName": other, "args": value}}),
        )?;
        check(
            &encode::presence_changed(&text, &raw),
            json!({"msg": "changed", "collection": "stream-user-presence", "id": text,
                "fields": {"uid": text, "args": [value], "eventName": text}}),
        )?;
    }

    #[test]
    fn an_error_reads_back(id in id(), code in text(), reason in text(), details in value()) {
        let error = Error::recovered(&code, false, Some(reason.clone()), Some(details.to_string().into()));
        let message = if reason.is_empty() { format!("[{code}]") } else { format!("{reason} [{code}]") };
        check(
            &encode::nosub(&id.to_string(), Some(&error)),
            json!({"msg": "nosub", "id": id, "error": {"isClientSafe": true, "errorType": "Meteor.Error",
                "error": code, "reason": reason, "details": details, "message": message}}),
        )?;
    }

    #[test]
    fn what_a_client_says_is_understood(id in id(), name in text(), params in vec(value(), 0..4), extra in value()) {
        prop_assume!(!name.is_empty());
        let params = Value::from(params);
        let text = json!({"msg": "method", "id": id, "method": name, "params": params, "more": extra}).to_string();
        let (raw_id, raw_params) = (id.to_string(), params.to_string());
        let expected = if is_truthy(&id) {
            let params = if is_undecodable(&params) { Err(Refused::Undecodable) } else { Ok(&*raw_params) };
            Ok(ClientMessage::Method { id: &raw_id, name: name.into(), params })
        } else {
            Err(CloseReason::MalformedMessage)
        };
        prop_assert_eq!(decode(&text, &Limits::default()), expected);
    }

    #[test]
    fn raw_json_is_taken_apart_as_a_tree_is(value in value()) {
        for raw in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            let elements: Vec<Value> = ejson::elements(&raw).map(parse).collect();
            prop_assert_eq!(elements, value.as_array().cloned().unwrap_or_default());
            let fields: Map<String, Value> = ejson::fields(&raw).map(|(key, value)| (key.into(), parse(value))).collect();
            prop_assert_eq!(&fields, &value.as_object().cloned().unwrap_or_default());
            for (key, value) in &fields {
                prop_assert_eq!(ejson::field(&raw, key).map(parse), Some(value.clone()));
            }
            prop_assert_eq!(ejson::string(&raw).map(String::from), value.as_str().map(String::from));
        }
    }
}

#[track_caller]
fn check(message: &str, expected: Value) -> Result<(), TestCaseError> {
    prop_assert_eq!(
        serde_json::from_str::<Value>(message).ok(),
        Some(expected),
        "{}",
        message
    );
    Ok(())
}

fn parse(raw: &str) -> Value {
    serde_json::from_str(raw).unwrap()
}

fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(truth) => *truth,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}

/// What EJSON's reader would throw at, written down as it works: from the outside in.
fn is_undecodable(value: &Value) -> bool {
    match value {
        Value::Array(elements) => elements.iter().any(is_undecodable),
        Value::Object(fields)
            if fields.len() == 2
                && fields.contains_key("$type")
                && fields.contains_key("$value") =>
        {
            true
        }
        Value::Object(fields) if fields.len() == 1 && fields.contains_key("$binary") => {
            !fields["$binary"].is_string()
        }
        Value::Object(fields) if fields.len() == 1 && fields.contains_key("$date") => false,
        Value::Object(fields) if fields.len() == 1 && fields.contains_key("$escape") => {
            match &fields["$escape"] {
                Value::Null => true,
                Value::Object(escaped) => escaped.values().any(is_undecodable),
                other => is_undecodable(other),
            }
        }
        Value::Object(fields) => fields.values().any(is_undecodable),
        _ => false,
    }
}

/// Ids of every JSON type, the falsy ones among them.
fn id() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => text().prop_map(Value::from),
        2 => any::<i32>().prop_map(Value::from),
        1 => prop::sample::select(vec![json!(0), json!(-0.0), json!(""), json!(null), json!(false), json!(true)]),
        1 => value(),
    ]
    .prop_filter("ids are short", |id| id.to_string().len() <= 1_024)
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1_000_000..1_000_000i32).prop_map(|number| Value::from(f64::from(number) / 64.0)),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((key(), inner), 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![2 => text(), 2 => prop::sample::select(vec!["$type", "$value", "$escape", "$binary", "$date"]).prop_map(String::from)]
}

fn text() -> impl Strategy<Value = String> {
    let special = prop::sample::select(vec![
        '"', '\\', '\0', '\n', '\u{1f}', '[', '}', ',', '\u{2028}', '😀',
    ]);
    vec(
        prop_oneof![1 => special, 1 => any::<char>(), 3 => prop::char::range('a', 'z')],
        0..8,
    )
    .prop_map(String::from_iter)
}
