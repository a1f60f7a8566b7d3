//! Wall time of every piece of the hot path, and of the JSON libraries where one was chosen over another.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};

fn pieces(c: &mut Criterion) {
    for case in benches::CASES {
        let mut work = (case.prepare)();
        c.bench_function(case.name, |b| b.iter(&mut work));
    }
}

/// Whether a packet is looked into as raw slices, as a tree, or by simd-json on a copy (it writes into its input).
fn json_libraries(c: &mut Criterion) {
    let packet = benches::event_packet();
    let mut group = c.benchmark_group("whole packet, other libraries");
    group.bench_function("serde_json tree", |b| {
        b.iter(|| serde_json::from_slice::<serde_json::Value>(&packet).is_ok())
    });
    group.bench_function("simd-json tape on a copy", |b| {
        b.iter_batched(
            || packet.clone(),
            |mut copy| simd_json::to_tape(&mut copy).is_ok(),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(benches, pieces, json_libraries);
criterion_main!(benches);
