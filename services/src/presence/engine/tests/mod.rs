//! The vectors of services.md 11.

mod model;

use super::*;

const NOW: i64 = 1_000;

fn claim(default: &str, source: &str, text: Option<&str>, id: Option<&str>) -> Claim {
    Claim {
        default: Some(default.into()),
        text: text.map(Into::into),
        source: Some(source.into()),
        expires: None,
        id: id.map(Into::into),
    }
}

fn online() -> Vec<Option<String>> {
    vec![Some("online".into())]
}

fn scene(connections: &[Option<String>]) -> Scene<'_> {
    Scene {
        is_service: false,
        connections,
        now: NOW,
    }
}

fn connected(claim: Claim, previous: Option<Claim>) -> Status {
    let shown = match claim.default.as_deref() {
        None | Some("online") => "online".to_owned(),
        Some(default) => default.to_owned(),
    };
    Status {
        shown: Some(shown),
        connection: Some("online".into()),
        claim,
        previous,
    }
}

fn on(before: &Status, input: Input) -> Option<Status> {
    step(before, scene(&online()), &input)
}

fn end(id: &str) -> Input {
    Input::End(Some(id.into()))
}

fn manual_away() -> Status {
    connected(claim("away", "manual", Some("lunch"), None), None)
}

#[test]
fn e1_a_manual_claim_takes_a_user_without_source() {
    let mut before = connected(Claim::default(), None);
    before.claim.expires = Some(5_000);
    before.claim.id = Some("old".into());
    before.previous = Some(claim("away", "external", None, None));
    let after = on(
        &before,
        Input::Set(claim("busy", "manual", Some("x"), None)),
    )
    .unwrap();
    assert_eq!(
        after,
        connected(claim("busy", "manual", Some("x"), None), None)
    );
}

#[test]
fn e2_an_external_claim_waits_behind_a_manual_one() {
    let before = connected(claim("busy", "manual", Some("x"), None), None);
    let after = on(
        &before,
        Input::Set(claim("away", "external", None, Some("e"))),
    )
    .unwrap();
    let waiting = claim("away", "external", Some(""), Some("e"));
    assert_eq!(
        after,
        Status {
            previous: Some(waiting),
            ..before
        }
    );
}

#[test]
fn e3_and_e4_an_internal_claim_stashes_the_manual_one_and_gives_it_back() {
    let before = manual_away();
    let during = on(
        &before,
        Input::Set(claim("busy", "internal", Some("call"), Some("c1"))),
    )
    .unwrap();
    let stash = claim("away", "manual", Some("lunch"), None);
    let expected = connected(
        claim("busy", "internal", Some("call"), Some("c1")),
        Some(stash),
    );
    assert_eq!(during, expected);
    assert_eq!(on(&during, end("c1")).unwrap(), before);
}

#[test]
fn e5_ending_another_claim_is_rejected() {
    let during = on(
        &manual_away(),
        Input::Set(claim("busy", "internal", None, Some("c1"))),
    )
    .unwrap();
    assert_eq!(on(&during, end("c2")), None);
}

#[test]
fn e6_a_second_internal_claim_stashes_the_first_whose_end_drops_the_stash() {
    let first = on(
        &manual_away(),
        Input::Set(claim("busy", "internal", None, Some("c1"))),
    )
    .unwrap();
    let second = on(
        &first,
        Input::Set(claim("busy", "internal", None, Some("c2"))),
    )
    .unwrap();
    assert_eq!(second.previous.as_ref().unwrap().id.as_deref(), Some("c1"));
    let ended = on(&second, end("c1")).unwrap();
    assert_eq!(ended.previous, None);
    assert_eq!(ended.claim.id.as_deref(), Some("c2"));
}

#[test]
fn e7_only_a_manual_claim_ends_invisibility() {
    let before = connected(claim("offline", "manual", None, None), None);
    for source in ["external", "internal"] {
        assert_eq!(
            on(&before, Input::Set(claim("busy", source, None, None))),
            None
        );
    }
    assert!(on(&before, Input::Set(claim("busy", "manual", None, None))).is_some());
}

#[test]
fn e8_without_a_connection_a_claim_shows_only_for_service_users() {
    for (is_service, shown) in [(false, "offline"), (true, "busy")] {
        let scene = Scene {
            is_service,
            ..scene(&[])
        };
        let input = Input::Set(claim("busy", "manual", None, None));
        let after = step(&Status::default(), scene, &input).unwrap();
        assert_eq!(after.shown.as_deref(), Some(shown));
        assert_eq!(after.connection.as_deref(), Some("offline"));
        assert_eq!(after.claim.default.as_deref(), Some("busy"));
    }
}

#[test]
fn e9_clearing_without_a_connection_shows_offline() {
    let before = connected(claim("busy", "manual", Some("x"), None), None);
    let after = step(&before, scene(&[]), &Input::Clear).unwrap();
    assert_eq!(after.shown.as_deref(), Some("offline"));
    assert_eq!(after.claim.default.as_deref(), Some("online"));
    assert_eq!(after.claim.text.as_deref(), Some(""));
}

#[test]
fn e10_an_external_claim_over_an_external_one_changes_in_place() {
    let before = connected(claim("away", "external", Some("a"), None), None);
    let after = on(&before, Input::Set(claim("busy", "external", None, None))).unwrap();
    assert_eq!(
        after,
        connected(claim("busy", "external", Some("a"), None), None)
    );
}

#[test]
fn e12_a_stash_whose_time_is_up_does_not_come_back() {
    let mut before = connected(claim("busy", "internal", Some("call"), Some("c1")), None);
    before.previous = Some(Claim {
        expires: Some(NOW - 1),
        ..claim("away", "manual", Some("lunch"), None)
    });
    let reset = Claim {
        default: Some("online".into()),
        text: Some(String::new()),
        ..Claim::default()
    };
    assert_eq!(on(&before, end("c1")).unwrap(), connected(reset, None));
    // At its very time it still counts.
    before.previous.as_mut().unwrap().expires = Some(NOW);
    assert_eq!(
        on(&before, end("c1")).unwrap().claim.default.as_deref(),
        Some("away")
    );
}

#[test]
fn a_claim_expires_behind_its_time_and_not_before() {
    let mut before = manual_away();
    for (expires, is_over) in [
        (None, false),
        (Some(NOW + 1), false),
        (Some(NOW), false),
        (Some(NOW - 1), true),
    ] {
        before.claim.expires = expires;
        let after = on(&before, Input::Expire);
        assert_eq!(after.is_some(), is_over, "{expires:?}");
    }
}

#[test]
fn a_choice_of_an_older_server_ends_claims_and_makes_none() {
    let during = on(
        &manual_away(),
        Input::Set(claim("busy", "internal", Some("call"), Some("c1"))),
    )
    .unwrap();
    let choice = Input::Choose {
        default: Some("online"),
        text: None,
    };
    let after = on(&during, choice).unwrap();
    let plain = Claim {
        default: Some("online".into()),
        text: Some("call".into()),
        ..Claim::default()
    };
    assert_eq!(after, connected(plain, None));
}

#[test]
fn a_missing_choice_is_used_and_not_stored() {
    let before = connected(claim("busy", "manual", None, None), None);
    let choice = Input::Choose {
        default: None,
        text: Some("new".into()),
    };
    let after = on(&before, choice).unwrap();
    assert_eq!(after.shown.as_deref(), Some("online"));
    assert_eq!(after.claim.default.as_deref(), Some("busy"));
    assert_eq!(after.claim.text.as_deref(), Some("new"));
}

#[test]
fn an_audit_moves_only_what_contradicts_the_connections() {
    let alone = Scene {
        is_service: true,
        ..scene(&[])
    };
    let bot = step(
        &Status::default(),
        alone,
        &Input::Set(claim("busy", "manual", None, None)),
    )
    .unwrap();
    assert_eq!(step(&bot, alone, &Input::Audit), None);
    let ghost = connected(Claim::default(), None);
    let after = step(&ghost, scene(&[]), &Input::Audit).unwrap();
    assert_eq!(after.shown.as_deref(), Some("offline"));
}

#[test]
fn an_unknown_word_is_computed_with_and_never_told() {
    let mut before = connected(Claim::default(), None);
    before.claim.default = Some("gone fishing".into());
    let after = on(&before, Input::Recompute).unwrap();
    assert_eq!(after.shown.as_deref(), Some("gone fishing"));
    assert!(!is_told(&before, &after));
    let back = step(&after, scene(&[]), &Input::Recompute).unwrap();
    assert!(is_told(&after, &back));
}

#[test]
fn only_what_shows_is_told() {
    let before = manual_away();
    let mut after = before.clone();
    after.connection = Some("busy".into());
    after.claim.id = Some("c".into());
    after.previous = Some(Claim::default());
    assert!(!is_told(&before, &after));
    let mut changes = [
        before.clone(),
        before.clone(),
        before.clone(),
        before.clone(),
    ];
    changes[0].shown = Some("busy".into());
    changes[1].claim.text = Some("other".into());
    changes[2].claim.source = Some("external".into());
    changes[3].claim.expires = Some(1);
    for changed in changes {
        assert!(is_told(&before, &changed), "{changed:?}");
    }
}
