//! JSON looked at 64 bytes at a time: where strings are closed and where containers end, by masks instead of byte by byte.
//!
//! Each block is looked at once, from where the reading began, so that every place must lie behind the one before. Whether
//! the text is JSON is not asked: on anything else the answers are `None` or some other place, never a panic.

use wide::u8x64;

/// Bytes of a block, one for each bit of a mask.
const BLOCK: usize = 64;
/// The one bit in which `[` and `{` differ, and `]` and `}`.
const FOLD: u8 = b'[' ^ b'{';

pub(crate) struct Blocks<'a> {
    bytes: &'a [u8],
    /// Where the block begins.
    start: usize,
    /// The quotes of the block that open or close a string.
    quotes: u64,
    /// The brackets that stand in no string.
    opening: u64,
    closing: u64,
    /// All ones where the next block begins in a string.
    string: u64,
    /// One where the first byte of the next block is escaped.
    escape: u64,
}

impl<'a> Blocks<'a> {
    /// Begins at `start`, which stands in no string.
    pub(crate) fn new(bytes: &'a [u8], start: usize) -> Self {
        let mut blocks = Self {
            bytes,
            start,
            quotes: 0,
            opening: 0,
            closing: 0,
            string: 0,
            escape: 0,
        };
        blocks.look();
        blocks
    }

    /// Where the string that is opened here is closed.
    pub(crate) fn closing_quote(&mut self, opening: usize) -> Option<usize> {
        let behind = self.from(opening + 1)?;
        let mut quotes = self.quotes & behind;
        while quotes == 0 {
            self.next()?;
            quotes = self.quotes;
        }
        Some(self.start + quotes.trailing_zeros() as usize)
    }

    /// One past the bracket that closes the container which is opened here.
    pub(crate) fn container_end(&mut self, opening: usize) -> Option<usize> {
        let mut seen = self.from(opening)?;
        let mut depth = 0;
        loop {
            let closing = self.closing & seen;
            let mut brackets = self.opening & seen | closing;
            while brackets != 0 {
                let bracket = brackets & brackets.wrapping_neg();
                brackets ^= bracket;
                if closing & bracket == 0 {
                    depth += 1;
                } else {
                    depth -= 1;
                    if depth <= 0 {
                        return Some(self.start + bracket.trailing_zeros() as usize + 1);
                    }
                }
            }
            self.next()?;
            seen = u64::MAX;
        }
    }

    /// Goes to the block of this place; the bits from there on.
    fn from(&mut self, at: usize) -> Option<u64> {
        while at >= self.start + BLOCK {
            self.next()?;
        }
        Some(u64::MAX << (at - self.start))
    }

    fn next(&mut self) -> Option<()> {
        self.start += BLOCK;
        if self.start >= self.bytes.len() {
            return None;
        }
        self.look();
        Some(())
    }

    fn look(&mut self) {
        let rest = self.bytes.get(self.start..).unwrap_or_default();
        let block = rest.first_chunk().copied().unwrap_or_else(|| {
            let mut padded = [b' '; BLOCK];
            padded
                .iter_mut()
                .zip(rest)
                .for_each(|(to, byte)| *to = *byte);
            padded
        });
        let block = u8x64::new(block);
        let folded = block | u8x64::splat(FOLD);
        let is = |block: u8x64, byte| block.simd_eq(u8x64::splat(byte)).to_bitmask();
        self.quotes = is(block, b'"') & !self.escaped(is(block, b'\\'));
        let inside = parity(self.quotes) ^ self.string;
        self.string = if inside >> (BLOCK - 1) == 0 {
            0
        } else {
            u64::MAX
        };
        self.opening = is(folded, b'{') & !inside;
        self.closing = is(folded, b'}') & !inside;
    }

    /// The bytes behind a backslash that is not escaped itself.
    fn escaped(&mut self, backslashes: u64) -> u64 {
        let mut escaped = self.escape;
        self.escape = 0;
        let mut left = backslashes & !escaped;
        while left != 0 {
            let backslash = left & left.wrapping_neg();
            escaped |= backslash << 1;
            left &= !(backslash | backslash << 1);
            self.escape = backslash >> (BLOCK - 1);
        }
        escaped
    }
}

/// Whether the ones up to each bit, itself included, are odd in number.
fn parity(mut ones: u64) -> u64 {
    for shift in [1, 2, 4, 8, 16, 32] {
        ones ^= ones << shift;
    }
    ones
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a look at every byte finds: where the first string is closed, and where the container ends.
    fn slow(text: &[u8]) -> (Option<usize>, Option<usize>) {
        let (mut is_string, mut is_escaped, mut depth) = (false, false, 0);
        let (mut quote, mut end) = (None, None);
        for (at, byte) in text.iter().enumerate() {
            let was_escaped = std::mem::take(&mut is_escaped);
            match byte {
                b'\\' => is_escaped = !was_escaped,
                b'"' if !was_escaped => {
                    if is_string && quote.is_none() {
                        quote = Some(at);
                    }
                    is_string = !is_string;
                }
                b'[' | b'{' if !is_string => depth += 1,
                b']' | b'}' if !is_string => {
                    depth -= 1;
                    if depth == 0 && end.is_none() {
                        end = Some(at + 1);
                    }
                }
                _ => {}
            }
        }
        (quote, end)
    }

    fn text() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![
            12 => any::<u8>(),
            2 => Just(b'"'),
            2 => Just(b'\\'),
            2 => prop::sample::select(&b"[{"[..]),
            1 => prop::sample::select(&b"]}"[..]),
        ];
        prop::collection::vec(byte, 0..400)
    }

    proptest! {
        #[test]
        fn strings_and_containers_end_where_a_look_at_every_byte_finds_it(mut text in text(), start in 0_usize..70) {
            let start = start.min(text.len());
            text.insert(start, b'[');
            let (_, end) = slow(&text[start..]);
            prop_assert_eq!(Blocks::new(&text, start).container_end(start), end.map(|end| start + end));
            text[start] = b'"';
            let (quote, _) = slow(&text[start..]);
            prop_assert_eq!(Blocks::new(&text, start).closing_quote(start), quote.map(|quote| start + quote));
        }

        #[test]
        fn one_reading_finds_one_string_after_the_other(texts in prop::collection::vec("[^\"\\\\]{0,90}", 1..20)) {
            let text: String = texts.iter().map(|text| format!("\"{text}\" ")).collect();
            let mut blocks = Blocks::new(text.as_bytes(), 0);
            let mut at = 0;
            for one in &texts {
                prop_assert_eq!(blocks.closing_quote(at), Some(at + one.len() + 1));
                at += one.len() + 3;
            }
        }
    }
}
