//! Visitors of old livechat widgets.

use super::*;

/// The connection object of the last broadcast of this event.
fn connection(stage: &Stage, event: &str) -> String {
    let said = stage.script.said.borrow();
    let (_, args) = said.iter().rev().find(|(said, _)| said == event).unwrap();
    args.clone()
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_is_broadcast_of_a_guests_connection_names_his_first_token() {
    let mut stage = Stage::new(1, World::default());
    let place = stage.open();
    assert!(!connection(&stage, "socket.connected").contains("livechatToken"));
    for token in ["first", "second"] {
        let params = format!(r#"[{{"token":"{token}"}}]"#);
        stage.method(place, "livechat:setUpConnection", &params);
        stage.pass(Duration::from_secs(1)).await;
    }
    stage.close(place);
    let told = connection(&stage, "socket.disconnected");
    assert!(told.contains(r#""livechatToken":"first""#), "{told}");
    stage.pass(Duration::from_secs(1)).await;
    let called = stage.script.called.borrow();
    let (action, params) = called.last().unwrap();
    assert_eq!(action, "meteor.notifyGuestStatusChanged");
    assert_eq!(params, r#"["first","offline"]"#);
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_logout_without_a_login_is_broadcast_without_a_user() {
    let mut stage = Stage::new(1, World::default());
    let place = stage.open();
    stage.method(place, "logout", "[]");
    stage.pass(Duration::from_secs(1)).await;
    let told = connection(&stage, "accounts.logout");
    assert!(told.starts_with(r#"[{"connection":{"#), "{told}");
    let called = stage.script.called.borrow();
    assert!(called.iter().all(|(action, _)| action != "accounts.logout"));
}
