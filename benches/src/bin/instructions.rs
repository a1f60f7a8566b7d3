//! Runs one case a number of times, for `scripts/instructions`, which counts under valgrind: twice with different numbers, so
//! that the difference is the work alone.
//!
//! `instructions` lists the pieces of the hot path, `instructions readers` the JSON libraries at their places, the numbers going
//! on; `instructions NUMBER TIMES` runs one.

use benches::{CASES, READERS};

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let numbers: Vec<usize> = arguments.iter().flat_map(|text| text.parse()).collect();
    let &[number, times] = numbers.as_slice() else {
        let are_readers = arguments.first().is_some_and(|first| first == "readers");
        for case in if are_readers { READERS } else { CASES } {
            println!("{}", case.name);
        }
        return;
    };
    let Some(case) = CASES.iter().chain(READERS).nth(number) else {
        return;
    };
    let mut work = (case.prepare)();
    for _ in 0..times {
        work();
    }
}
