//! Runs one case of the hot path a number of times, for `scripts/instructions`, which counts under valgrind: twice with
//! different numbers, so that the difference is the work alone.
//!
//! `instructions` lists the cases; `instructions NUMBER TIMES` runs one.

fn main() {
    let mut arguments = std::env::args()
        .skip(1)
        .filter_map(|argument| argument.parse::<usize>().ok());
    let (Some(number), Some(times)) = (arguments.next(), arguments.next()) else {
        for case in benches::CASES {
            println!("{}", case.name);
        }
        return;
    };
    let Some(case) = benches::CASES.get(number) else {
        return;
    };
    let mut work = (case.prepare)();
    for _ in 0..times {
        work();
    }
}
