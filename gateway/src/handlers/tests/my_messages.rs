//! Who follows all messages: what he gets, and what it costs.

use super::{
    access::{bob, membership, room, world},
    *,
};

const SECOND: Duration = Duration::from_secs(1);

async fn follow(stage: &mut Stage, place: Place) -> Sub {
    let params = r#"["__my_messages__"]"#;
    let (number, sub) = stage.subscribe(place, "stream-room-messages", params);
    stage.pass(SECOND).await;
    assert_eq!(stage.answered(place, number), Some(&Answered::Ready));
    sub
}

/// What is shown of one message in each of these rooms: the viewer's argument.
async fn shown(stage: &mut Stage, place: Place, rooms: &[&str]) -> Vec<String> {
    for room in rooms {
        stage.event(
            "watch.messages",
            format!(r#"[{{"message":{{"_id":"m","rid":"{room}"}}}}]"#),
        );
    }
    stage.pass(SECOND).await;
    let got = std::mem::take(&mut stage.clients.get_mut(&place).unwrap().got);
    let viewer = |(topic, text): (Topic, String)| {
        assert_eq!(&*topic.event, "bob/__my_messages__");
        let text = text.replace('\\', "");
        let (_, viewer) = text.split_once("},{").unwrap();
        let viewer = viewer.split('}').next().unwrap();
        viewer.replace('"', "")
    };
    got.into_iter().map(viewer).collect()
}

const MEMBER: &str = "roomParticipant:true,roomType:p,roomName:private";
const READER: &str = "roomParticipant:false,roomType:c,roomName:public";

fn stage() -> Stage {
    let mut world = world();
    for (id, name) in [("p", "private"), ("c", "public")] {
        world.rooms.get_mut(id).unwrap().name = Some(name.into());
    }
    world
        .rooms
        .insert("secret".into(), room("secret", "p", None).1);
    Stage::new(1, world)
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn messages_of_own_and_of_public_rooms_are_shown_and_no_others() {
    let mut stage = stage();
    let place = bob(&mut stage).await;
    let sub = follow(&mut stage, place).await;
    assert_eq!(
        shown(&mut stage, place, &["p", "secret", "c", "none"]).await,
        [MEMBER, READER]
    );
    stage.unsubscribe(sub);
    assert!(shown(&mut stage, place, &["p", "c"]).await.is_empty());
    stage.close(place);
    stage.pass(SECOND).await;
    stage.assert_empty();
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn who_leaves_a_room_is_shown_nothing_more_of_it() {
    let mut stage = stage();
    let place = bob(&mut stage).await;
    follow(&mut stage, place).await;
    assert_eq!(shown(&mut stage, place, &["p"]).await, [MEMBER]);
    stage.script.world.borrow_mut().members.clear();
    stage.event("watch.subscriptions", membership("removed", "p", ""));
    assert!(shown(&mut stage, place, &["p", "p"]).await.is_empty());
    let member = ("secret".to_owned(), "bob".to_owned());
    stage.script.world.borrow_mut().members.insert(member);
    stage.event("watch.subscriptions", membership("inserted", "secret", ""));
    let told = shown(&mut stage, place, &["secret"]).await;
    assert_eq!(told, ["roomParticipant:true,roomType:p"]);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_message_costs_no_question_for_each_of_its_readers() {
    let mut stage = stage();
    stage.script.slowness.set(50);
    let place = bob(&mut stage).await;
    follow(&mut stage, place).await;
    let asked = |stage: &Stage| stage.script.called.borrow().len();
    let before = asked(&stage);
    let rooms = ["p", "p", "p", "c", "c", "p", "c"];
    let told = shown(&mut stage, place, &rooms).await;
    let expected = |room: &str| if room == "p" { MEMBER } else { READER };
    // In the order of each room.
    for kind in [MEMBER, READER] {
        let of = |told: &[String]| told.iter().filter(|one| *one == kind).count();
        let all: Vec<_> = rooms.iter().map(|room| expected(room).to_owned()).collect();
        assert_eq!(of(&told), of(&all));
    }
    assert_eq!(asked(&stage) - before, 2, "one for each room");
    stage.script.world.borrow_mut().set_kind("c", "p");
    stage.event(
        "watch.rooms",
        r#"[{"clientAction":"updated","room":{"_id":"c","t":"p"}}]"#.into(),
    );
    assert!(shown(&mut stage, place, &["c"]).await.is_empty());
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn messages_of_a_room_stay_in_order_while_it_is_asked_about() {
    let mut stage = stage();
    stage.script.slowness.set(200);
    let place = bob(&mut stage).await;
    follow(&mut stage, place).await;
    for number in 0..5 {
        let message = format!(r#"[{{"message":{{"_id":"m{number}","rid":"p"}}}}]"#);
        stage.event("watch.messages", message);
        stage.pass(Duration::from_millis(40)).await;
    }
    stage.pass(2 * SECOND).await;
    let got = stage.clients[&place].got.iter();
    let order = got.map(|(_, text)| text.split_once("_id").unwrap().1.chars().nth(6).unwrap());
    let order: String = order.collect();
    assert_eq!(order, "01234", "{:?}", stage.clients[&place].got.first());
}
