use protocol::session::SubKey;

use super::*;
use crate::{
    place::Place,
    streams::{
        question::{About, Question},
        table::RoomRule,
    },
};

/// So many grants of one client.
fn grants(count: u32) -> (Grants, Vec<GrantId>) {
    let mut grants = Grants::default();
    let place = Place {
        shard: 0,
        slot: 0,
        generation: 1,
    };
    let ids = (0..count).map(|number| {
        let question = Question {
            user: Some("u1".into()),
            about: About::Room {
                room: format!("r{number}").into(),
                rule: RoomRule::Read,
                tokens: None,
            },
        };
        grants.enter((place, SubKey(number)), question)
    });
    let ids = ids.collect();
    (grants, ids)
}

/// Every grant that is judged until `until`, with the time from `start`.
fn run(
    rejudge: &mut Rejudge,
    grants: &Grants,
    mut now: Instant,
    until: Instant,
) -> Vec<(Instant, GrantId)> {
    let mut judged = Vec::new();
    while now < until {
        match rejudge.turn(grants, now) {
            Turn::Judge(grant) => judged.push((now, grant)),
            Turn::Wait(next) => {
                assert!(next > now, "a wait that has no end");
                now = next;
            }
            Turn::Rest => break,
        }
    }
    judged
}

#[test]
fn what_is_touched_is_judged_at_once_and_once_more_later() {
    let (grants, ids) = grants(3);
    let (mut rejudge, now) = (Rejudge::default(), Instant::now());
    rejudge.touched([ids[1], ids[1]], now);
    let judged = run(&mut rejudge, &grants, now, now + Duration::from_secs(30));
    assert_eq!(judged, [(now, ids[1]), (now + ONCE_MORE, ids[1])]);
    assert_eq!(rejudge.len(), 0);
}

#[test]
fn whoever_is_touched_again_and_again_waits_once() {
    let (grants, ids) = grants(1);
    let (mut rejudge, now) = (Rejudge::default(), Instant::now());
    for number in 0..1_000 {
        rejudge.touched([ids[0]], now + Duration::from_millis(number));
    }
    assert_eq!((rejudge.soon.len(), rejudge.later.len()), (1, 1));
    let last = now + Duration::from_millis(999);
    let judged = run(&mut rejudge, &grants, now, now + Duration::from_secs(30));
    assert_eq!(judged, [(now, ids[0]), (last + ONCE_MORE, ids[0])]);
}

#[test]
fn two_laps_reach_everybody_at_a_bounded_rate() {
    let (grants, ids) = grants(2_000);
    let (mut rejudge, now) = (Rejudge::default(), Instant::now());
    // The walk stands somewhere in the middle.
    rejudge.lap.position = 700;
    rejudge.touched_all(&grants, now);
    let judged = run(&mut rejudge, &grants, now, now + Duration::from_secs(20));
    for id in &ids {
        let times = judged.iter().filter(|(_, other)| other == id);
        let times: Vec<_> = times.map(|(at, _)| *at - now).collect();
        assert!(times.len() >= 2, "{times:?}");
        assert!(times[1] >= ONCE_MORE, "{times:?}");
        assert!(times[0] <= Duration::from_secs(5), "{times:?}");
    }
    let first_second = judged
        .iter()
        .filter(|(at, _)| *at < now + Duration::from_secs(1));
    assert!(first_second.count() <= FAST_PER_SECOND as usize + 64);
}

#[test]
fn everybody_is_judged_within_five_minutes_without_a_reason() {
    for count in [1, 7, 5_000] {
        let (grants, ids) = grants(count);
        let (mut rejudge, now) = (Rejudge::default(), Instant::now());
        let judged = run(&mut rejudge, &grants, now, now + Duration::from_secs(300));
        let mut reached: Vec<_> = judged.iter().map(|(_, id)| *id).collect();
        reached.sort_unstable_by_key(|id| ids.iter().position(|other| other == id));
        reached.dedup();
        assert_eq!(reached.len(), ids.len());
        assert!(judged.len() <= 2 * ids.len(), "{}", judged.len());
    }
}

#[test]
fn without_grants_there_is_nothing_to_wait_for() {
    let mut rejudge = Rejudge::default();
    assert_eq!(rejudge.turn(&Grants::default(), Instant::now()), Turn::Rest);
}

#[test]
fn what_is_touched_again_keeps_its_place_between_others() {
    let (grants, ids) = grants(2);
    let (mut rejudge, start) = (Rejudge::default(), Instant::now());
    let after = |millis| start + Duration::from_millis(millis);
    rejudge.doubted(ids[0], start);
    rejudge.doubted(ids[0], after(1_000));
    rejudge.doubted(ids[1], after(1_900));
    let judged = run(&mut rejudge, &grants, start, after(4_000));
    assert_eq!(judged, [(after(3_000), ids[0]), (after(3_900), ids[1])]);
}
