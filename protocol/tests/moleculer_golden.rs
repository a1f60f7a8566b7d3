//! Frames of real Moleculer nodes (fixtures/moleculer/README.md) against the codec.

use std::{collections::BTreeMap, fs, path::Path};

use protocol::moleculer::{
    Announcement, DecodeError, Disconnect, Discover, Emission, Event, Heartbeat, Info, Ping, Pong,
    Request, Response, Version, decode, encode, event_name,
};
use serde_json::value::RawValue;

struct Frame {
    file: String,
    subject: String,
    payload: String,
}

impl Frame {
    /// The subject's token that names the kind.
    fn kind(&self) -> &str {
        self.subject.split('.').nth(1).unwrap()
    }
}

/// All captured frames of protocol 4, oldest file first.
fn frames() -> Vec<Frame> {
    #[derive(serde::Deserialize)]
    struct Line {
        subject: String,
        payload: String,
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/moleculer");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let mut frames = Vec::new();
    for path in files {
        let file = path.file_stem().unwrap().to_str().unwrap().to_owned();
        // README, another protocol version, another broker.
        if file == "README" || file.starts_with("60_") || file.starts_with("70_") {
            continue;
        }
        for line in fs::read_to_string(&path).unwrap().lines() {
            let Line { subject, payload } = serde_json::from_str(line).unwrap();
            frames.push(Frame {
                file: file.clone(),
                subject,
                payload,
            });
        }
    }
    frames
}

/// Decodes a frame and encodes it again; INFO has no encoder for other peoples' services, so its text comes back.
fn round_trip(frame: &Frame) -> Result<String, DecodeError> {
    fn through<'a, P: protocol::moleculer::Packet<'a> + serde::Serialize>(
        payload: &'a str,
    ) -> Result<Vec<u8>, DecodeError> {
        decode::<P>(payload.as_bytes()).map(|packet| encode(&packet))
    }
    let payload = frame.payload.as_str();
    let bytes = match frame.kind() {
        "DISCOVER" => through::<Discover<'_>>(payload),
        "HEARTBEAT" => through::<Heartbeat<'_>>(payload),
        "REQ" | "REQB" => through::<Request<'_>>(payload),
        "RES" => through::<Response<'_>>(payload),
        "PING" => through::<Ping<'_>>(payload),
        "PONG" => through::<Pong<'_>>(payload),
        "DISCONNECT" => through::<Disconnect<'_>>(payload),
        "INFO" => decode::<Info<'_>>(payload.as_bytes()).map(|_| payload.as_bytes().to_vec()),
        "EVENT" | "EVENTB" => Event::decode(payload).map(|event| again(payload, &event)),
        kind => panic!("{}: unknown kind {kind}", frame.file),
    }?;
    Ok(String::from_utf8(bytes).unwrap())
}

/// The event as we would send it with the original's ids.
fn again(payload: &str, event: &Event<'_>) -> Vec<u8> {
    let all: serde_json::Value = serde_json::from_str(payload).unwrap();
    let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
    let groups: Vec<&str> = event.groups.iter().map(String::as_str).collect();
    encode(&Emission {
        id: all["id"].as_str().unwrap_or_default(),
        event: &event.event,
        data: &raw(event.data),
        groups: &groups,
        broadcast: event.broadcast,
        meta: &raw(event.meta),
        level: 1,
        tracing: None,
        parent_id: None,
        request_id: all["requestID"].as_str(),
        caller: all["caller"].as_str(),
        need_ack: None,
        ver: Version,
        sender: &event.sender,
    })
}

#[test]
fn every_frame_of_a_real_node_decodes_and_encodes_to_the_same_bytes() {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for frame in frames() {
        // Hand-written frames: minimal members in another order, or wrong on purpose.
        let by_hand = frame.payload.starts_with(r#"{"ver""#)
            || frame.file.starts_with("25_")
            || frame.file.starts_with("50_")
            // Streams carry a member `seq`, which nothing of ours reads.
            || frame.file.starts_with("10_");
        match round_trip(&frame) {
            Ok(text) if text == frame.payload => {
                *counts.entry(frame.kind().to_owned()).or_default() += 1
            }
            Ok(_) if by_hand && frame.payload.contains(r#""ver":"4""#) => {}
            Ok(text) => wrong.push(format!(
                "{} {}\n  {}\n  {text}",
                frame.file, frame.subject, frame.payload
            )),
            Err(_) if by_hand => {}
            Err(error) => wrong.push(format!(
                "{} {}: {error}\n  {}",
                frame.file, frame.subject, frame.payload
            )),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for kind in [
        "DISCOVER",
        "INFO",
        "HEARTBEAT",
        "REQ",
        "RES",
        "EVENT",
        "PING",
        "PONG",
        "DISCONNECT",
    ] {
        assert!(
            counts.get(kind).is_some_and(|count| *count > 0),
            "no frame of kind {kind} was compared"
        );
    }
}

#[test]
fn hand_written_frames_of_protocol_4_decode() {
    for frame in frames() {
        let is_event_without_array =
            frame.kind() == "EVENT" && !frame.payload.contains(r#""data":["#);
        if frame.file.starts_with("25_") || is_event_without_array {
            continue;
        }
        assert!(
            round_trip(&frame).is_ok(),
            "{} {}",
            frame.file,
            frame.payload
        );
    }
}

#[test]
fn bad_packets_are_told_apart() {
    let infos: Vec<_> = frames()
        .into_iter()
        .filter(|frame| frame.file.starts_with("25_") && frame.kind() != "HEARTBEAT")
        .map(|frame| round_trip(&frame).map(drop))
        .collect();
    use DecodeError::{Malformed, WrongVersion};
    // ver "5", ver missing, ver number 4, no JSON, null, REQ of another version, no sender.
    let expected = [
        WrongVersion,
        WrongVersion,
        WrongVersion,
        Malformed,
        WrongVersion,
        WrongVersion,
        Malformed,
    ];
    assert_eq!(infos, expected.map(Err));
}

#[test]
fn event_data_that_is_no_array_is_not_handed_out() {
    let events: Vec<_> = frames()
        .into_iter()
        .filter(|frame| frame.file.starts_with("14_") && frame.kind() == "EVENT")
        .map(|frame| {
            let payload = frame.payload.as_bytes();
            assert_eq!(event_name(payload).unwrap(), "license.module");
            Event::decode(&frame.payload)
                .map(|event| (event.data.to_owned(), event.broadcast, event.groups))
        })
        .collect();
    let emitted = r#"[{"module":"x","valid":true}]"#.to_owned();
    let malformed = Err(DecodeError::Malformed);
    assert_eq!(
        events,
        [
            malformed.clone(),
            malformed,
            Ok((emitted, false, vec!["presence".to_owned()]))
        ]
    );
}

#[test]
fn a_request_without_usable_params_still_names_whom_to_answer() {
    let packet = br#"{"ver":"4","sender":"nobody-1","id":"hand-3","action":"presence.echo"}"#;
    let request: Request<'_> = decode(packet).unwrap();
    assert!(request.params.is_none() && request.meta.is_none());
    assert_eq!((&*request.sender, &*request.id), ("nobody-1", "hand-3"));
}

#[test]
fn null_and_absent_results_stay_apart() {
    let data = |text: &str| {
        let packet: Response<'_> = decode(text.as_bytes()).unwrap();
        packet.data.map(|raw| raw.get().to_owned())
    };
    assert_eq!(
        data(r#"{"id":"1","success":true,"ver":"4","sender":"a"}"#),
        None
    );
    assert_eq!(
        data(r#"{"id":"1","success":true,"data":null,"ver":"4","sender":"a"}"#).as_deref(),
        Some("null")
    );
}

#[test]
fn an_error_code_may_be_a_number_or_a_string() {
    let codes: Vec<_> = frames()
        .iter()
        .filter(|frame| frame.kind() == "RES")
        .filter_map(|frame| {
            let packet: Response<'_> = decode(frame.payload.as_bytes()).ok()?;
            Some(packet.error?.code?.to_string())
        })
        .collect();
    for code in ["404", "504", "500", "MAX_PAYLOAD_EXCEEDED"] {
        assert!(
            codes.iter().any(|found| found == code),
            "{code} in {codes:?}"
        );
    }
}

#[test]
fn our_own_info_is_what_peers_read() {
    let announced = Announcement {
        services: &[(
            "presence",
            &["presence.newConnection"],
            &["watch.instanceStatus"],
        )],
        hostname: "edge",
        client: ("rust", "0.1.0", "1.95"),
        instance_id: "d6ab01bd",
        seq: 5,
        sender: "edge-1",
    };
    let text = String::from_utf8(encode(&announced)).unwrap();
    assert_eq!(
        text,
        concat!(
            r#"{"services":[{"name":"presence","fullName":"presence","settings":{},"metadata":{},"actions":"#,
            r#"{"presence.newConnection":{"rawName":"newConnection","name":"presence.newConnection"}},"#,
            r#""events":{"watch.instanceStatus":{"name":"watch.instanceStatus"}}}],"ipList":[],"hostname":"edge","#,
            r#""client":{"type":"rust","version":"0.1.0","langVersion":"1.95"},"config":{},"instanceID":"d6ab01bd","#,
            r#""metadata":{},"seq":5,"ver":"4","sender":"edge-1"}"#
        )
    );
    let info: Info<'_> = decode(text.as_bytes()).unwrap();
    let services = info.services.unwrap();
    assert_eq!(services[0].name(), Some("presence"));
    assert_eq!(
        services[0].actions[0].name.as_deref(),
        Some("presence.newConnection")
    );
    assert_eq!(
        services[0].events[0].name.as_deref(),
        Some("watch.instanceStatus")
    );
}

#[test]
fn actions_may_be_an_array_and_may_be_private() {
    let packet =
        br#"{"ver":"4","sender":"x","services":[{"fullName":"a","actions":[{"name":"a.b"},null,
        {"name":"a.c","visibility":"private"},{"rawName":"d"}],"events":null},{"name":null}]}"#;
    let info: Info<'_> = decode(packet).unwrap();
    let services = info.services.unwrap();
    assert_eq!((services[0].name(), services[1].name()), (Some("a"), None));
    let public: Vec<_> = services[0]
        .actions
        .iter()
        .filter(|a| a.is_public())
        .map(|a| a.name.as_deref())
        .collect();
    assert_eq!(public, [Some("a.b"), None]);
}
