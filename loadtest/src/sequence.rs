//! Whether one connection got every message of one topic, once, and in order.

/// What a sequence number says about the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// New and nothing is missing before it.
    InOrder,
    /// New, but this many before it have not come (yet).
    Gap(u64),
    /// One of a gap came after all.
    Reordered,
    /// Came before, or is so old that it must have.
    Duplicate,
}

/// The next number expected on one connection and topic, and which of the last 64 came.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sequence {
    next: u64,
    /// Bit `n` is set when `next - 1 - n` was seen.
    seen: u64,
}

impl Sequence {
    /// A sequence whose first number is `number`: for a listener that comes late.
    pub(crate) fn starting_at(number: u64) -> Self {
        Self {
            next: number,
            seen: 0,
        }
    }

    /// Judges `number` and remembers it.
    pub(crate) fn judge(&mut self, number: u64) -> Verdict {
        if number >= self.next {
            let missing = number - self.next;
            self.seen = if missing < 63 {
                self.seen << (missing + 1)
            } else {
                0
            } | 1;
            self.next = number + 1;
            return if missing == 0 {
                Verdict::InOrder
            } else {
                Verdict::Gap(missing)
            };
        }
        let age = self.next - 1 - number;
        if age >= 64 || self.seen & (1 << age) != 0 {
            return Verdict::Duplicate;
        }
        self.seen |= 1 << age;
        Verdict::Reordered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(numbers: &[u64], expected: &[Verdict]) {
        let mut sequence = Sequence::default();
        let verdicts: Vec<_> = numbers
            .iter()
            .map(|&number| sequence.judge(number))
            .collect();
        assert_eq!(verdicts, expected);
    }

    #[test]
    fn each_number_once_and_in_order_is_faultless() {
        check(&[0, 1, 2], &[Verdict::InOrder; 3]);
    }

    #[test]
    fn a_missing_number_is_a_gap_and_a_reorder_when_it_comes_late() {
        check(
            &[0, 3, 1, 1, 2, 4],
            &[
                Verdict::InOrder,
                Verdict::Gap(2),
                Verdict::Reordered,
                Verdict::Duplicate,
                Verdict::Reordered,
                Verdict::InOrder,
            ],
        );
    }

    #[test]
    fn a_number_seen_before_is_a_duplicate_however_old() {
        check(&[0, 0], &[Verdict::InOrder, Verdict::Duplicate]);
        check(&[200, 0], &[Verdict::Gap(200), Verdict::Duplicate]);
        check(
            &[62, 0, 0],
            &[Verdict::Gap(62), Verdict::Reordered, Verdict::Duplicate],
        );
    }

    #[test]
    fn a_gap_wider_than_the_window_forgets_what_came_before() {
        check(
            &[0, 64, 63],
            &[Verdict::InOrder, Verdict::Gap(63), Verdict::Reordered],
        );
    }
}
