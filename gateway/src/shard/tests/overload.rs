//! More to do than a shard can, and the budget for what is held for all clients: before it, at it, behind it.

use std::time::Duration;

use super::*;
use crate::buffers::Pressure;

const BUDGET: usize = 100_000;
/// What one message to everybody holds of it for whoever does not read.
const MESSAGE: usize = 10_000;

#[tokio::test(flavor = "local", start_paused = true)]
async fn beyond_the_budget_the_worst_goes_and_everybody_else_stays() {
    let bench = bench(|config| config.buffer_bytes = BUDGET);
    let (crowd, alone) = (room(), Topic::new(Stream::RoomMessages, "r2"));
    let mut reader = bench.connected(1 << 20).await;
    bench.subscribe(&mut reader, "r1", &crowd).await;
    let mut slow = bench.connected(1_000).await;
    bench.subscribe(&mut slow, "r1", &crowd).await;
    let mut worst = bench.connected(1_000).await;
    bench.subscribe(&mut worst, "r2", &alone).await;

    let text = "x".repeat(MESSAGE);
    let settle = async |reader: &mut Client| {
        bench.publish(vec![message(&crowd, "sequence")]);
        assert_eq!(reader.next().await, Seen::Text(changed("sequence")));
    };
    bench.publish(vec![message(&crowd, &text)]);
    assert_eq!(reader.next().await, Seen::Text(changed(&text)));
    let pressures = [
        (6, Pressure::Easy),
        (8, Pressure::Tight),
        (9, Pressure::High),
    ];
    let mut sent = 0;
    for (count, pressure) in pressures {
        while sent + 1 < count {
            bench.publish(vec![message(&alone, &text)]);
            sent += 1;
        }
        settle(&mut reader).await;
        assert_eq!(bench.shared.buffers.pressure(), pressure, "{count}");
    }
    // What can be missed waits for nobody any more, and reaches whoever reads.
    bench.publish(vec![sheddable(&crowd, "typing")]);
    assert_eq!(reader.next().await, Seen::Text(changed("typing")));
    assert_eq!(bench.shared.refuses(), Some("overload"));

    for _ in 0..2 {
        bench.publish(vec![message(&alone, &text)]);
    }
    settle(&mut reader).await;
    assert_eq!(bench.shared.buffers.pressure(), Pressure::Easy);
    assert_eq!(worst.closed().await, Seen::Close(1013, "OVERLOAD".into()));
    assert_eq!(bench.shared.refuses(), None);
    // The one who is only slow has everything but what can be missed.
    assert_eq!(slow.next().await, Seen::Text(changed(&text)));
    for _ in 0..4 {
        assert_eq!(slow.next().await, Seen::Text(changed("sequence")));
    }
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn messages_in_part_and_waiting_calls_are_held_too() {
    let bench = bench(|config| config.buffer_bytes = BUDGET);
    let mut calling = bench.connected(1 << 20).await;
    let params = "x".repeat(20_000);
    for id in 0..3 {
        calling.send(&format!(
            r#"{{"msg":"method","id":"{id}","method":"m","params":["{params}"]}}"#
        ));
    }
    let ToBus::Method { ticket, .. } = bench.next_to_bus().await else {
        panic!("not asked")
    };
    assert_eq!(bench.shared.buffers.pressure(), Pressure::Easy);

    // A frame of 60,000 bytes, of which the last does not come.
    let mut begun = bench.connected(1 << 20).await;
    let mut frame = vec![0x81, 0x80 | 126];
    frame.extend(60_000_u16.to_be_bytes());
    frame.extend([0; 4]);
    frame.extend(vec![b'x'; 59_999]);
    let written = begun.end.try_write(&[std::io::IoSlice::new(&frame)]);
    assert_eq!(written.unwrap(), frame.len());
    while !matches!(bench.next_to_bus().await, ToBus::Closed(_)) {}
    assert!(matches!(
        begun.closed().await,
        Seen::Close(1013, _) | Seen::End
    ));
    assert_eq!(bench.shared.buffers.pressure(), Pressure::Easy);

    let outcome = Ok(None);
    let then = Effect::Nothing;
    bench.post(ToShard::Answer(ticket, Answer::Method { outcome, then }));
    assert!(matches!(calling.next().await, Seen::Text(_)));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn what_can_be_missed_is_left_out_where_it_would_come_late() {
    let bench = bench(|_| {});
    let mut client = bench.connected(1 << 20).await;
    bench.subscribe(&mut client, "a", &room()).await;
    let (late, kept) = (sheddable(&room(), "late"), message(&room(), "kept"));
    tokio::time::advance(Duration::from_millis(90)).await;
    let fresh = sheddable(&room(), "fresh");
    tokio::time::advance(Duration::from_millis(20)).await;
    bench.publish(vec![late, kept, fresh]);
    assert_eq!(client.next().await, Seen::Text(changed("kept")));
    assert_eq!(client.next().await, Seen::Text(changed("fresh")));
}

#[tokio::test(flavor = "local", start_paused = true)]
async fn a_crowd_of_small_publications_is_written_in_portions() {
    let bench = bench(|_| {});
    let mut members = Vec::new();
    for _ in 0..100 {
        let mut member = bench.connected(1 << 20).await;
        bench.subscribe(&mut member, "a", &room()).await;
        members.push(member);
    }
    let crowd = (0..1_000).map(|number| message(&room(), &number.to_string()));
    bench.publish(crowd.collect());
    while bench.shard.backlog.borrow().is_empty() {
        assert_eq!(members[0].end.available(), 0, "all of it at once");
        tokio::task::yield_now().await;
    }
    for number in 0..1_000 {
        for member in &mut members {
            assert_eq!(
                member.next().await,
                Seen::Text(changed(&number.to_string()))
            );
        }
    }
}
