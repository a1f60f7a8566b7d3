//! What differs between lines of the workspace.

use super::{access::bob, *};

const SECOND: Duration = Duration::from_secs(1);

fn world() -> World {
    World {
        tokens: [("t".to_owned(), "bob".to_owned())].into(),
        permissions: [("bob".to_owned(), "view-l-room".to_owned())].into(),
        ..World::default()
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn agents_hear_of_the_queue_by_the_rules_of_their_line() {
    for (version, expected) in [
        (None, ["agent/a", "public"].as_slice()),
        (Some("6.14.0"), &["public"]),
        (Some("8.1.0"), &["agent/a"]),
    ] {
        let mut stage = Stage::new(1, world());
        stage.script.world.borrow_mut().version = version.map(str::to_owned);
        let place = bob(&mut stage).await;
        for event in ["public", "agent/a"] {
            let params = format!(r#"["{event}"]"#);
            let name = "stream-livechat-inquiry-queue-observer";
            let (number, _) = stage.subscribe(place, name, &params);
            stage.pass(SECOND).await;
            assert_eq!(stage.answered(place, number), Some(&Answered::Ready));
        }
        let inquiry = r#"{"_id":"i","defaultAgent":{"agentId":"a"}}"#;
        let args = format!(r#"[{{"clientAction":"inserted","inquiry":{inquiry}}}]"#);
        stage.event("watch.inquiries", args);
        stage.take();
        let got = stage.clients[&place].got.iter();
        let got: Vec<_> = got.map(|(topic, _)| &*topic.event).collect();
        assert_eq!(got, expected, "{version:?}");
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_word_before_an_off_the_record_talk_is_passed_on_while_the_setting_is_on() {
    for (is_on, word, passes) in [
        (true, r#""handshake",{"key":1}"#, true),
        (true, r#""end""#, true),
        (true, r#""attack""#, false),
        (true, "{}", false),
        (false, r#""handshake""#, false),
    ] {
        let mut stage = Stage::new(1, world());
        let settings = HashMap::from([("OTR_Enable".to_owned(), is_on)]);
        stage.script.world.borrow_mut().settings = settings;
        let place = bob(&mut stage).await;
        stage.method(
            place,
            "stream-notify-user",
            &format!(r#"["eve/otr",{word}]"#),
        );
        stage.pass(SECOND).await;
        let relay = format!(r#"[["notify-user","eve/otr",[{word}]]]"#);
        let said = stage.script.said.borrow();
        let relays: Vec<_> = said.iter().filter(|(event, _)| event == "stream").collect();
        let expected = ("stream".to_owned(), relay);
        assert_eq!(
            relays,
            passes.then_some(&expected).as_slice(),
            "{is_on} {word}"
        );
    }
}
