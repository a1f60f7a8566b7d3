//! Wall time of every piece of the hot path, and of the JSON libraries where one was chosen over another.

use criterion::{Criterion, criterion_group, criterion_main};

fn pieces(c: &mut Criterion) {
    for case in benches::CASES.iter().chain(benches::READERS) {
        let mut work = (case.prepare)();
        c.bench_function(case.name, |b| b.iter(&mut work));
    }
}

criterion_group!(benches, pieces);
criterion_main!(benches);
