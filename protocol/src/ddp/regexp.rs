//! Whether a regular expression compiles in JavaScript: its grammar with the liberties of old web pages, and the strict
//! one of the flag `u`. Names of Unicode properties are not looked up.
//!
//! One pass without recursion: who sends a pattern may have chosen it to be deep.

use std::collections::HashSet;

/// Whether `new RegExp(pattern, flags)` is one; of the flags only `u` counts.
pub(super) fn compiles(pattern: &str, unicode: bool) -> bool {
    let units: Vec<u32> = if unicode {
        pattern.chars().map(u32::from).collect()
    } else {
        // Without `u` both halves of a pair stand alone, in classes too.
        pattern.encode_utf16().map(u32::from).collect()
    };
    let mut pattern = Pattern {
        units: &units,
        at: 0,
        unicode,
        open: Vec::new(),
        can_repeat: false,
        captures: 0,
        names: HashSet::new(),
        called: Vec::new(),
        has_bad_call: false,
        last_number: 0,
    };
    pattern.read().is_some() && pattern.is_whole()
}

struct Pattern<'a> {
    units: &'a [u32],
    at: usize,
    unicode: bool,
    /// Of each open group: whether it may be repeated as a whole.
    open: Vec<bool>,
    /// What stands before may be repeated.
    can_repeat: bool,
    captures: u32,
    names: HashSet<&'a [u32]>,
    /// Groups that are referred to by name; `\k` without one means itself where no group has a name.
    called: Vec<&'a [u32]>,
    has_bad_call: bool,
    last_number: u32,
}

impl<'a> Pattern<'a> {
    /// `None` where the grammar is broken.
    fn read(&mut self) -> Option<()> {
        while let Some(unit) = self.next() {
            match unit {
                b'\\' => self.escape()?,
                b'(' => self.group()?,
                b')' => self.can_repeat = self.open.pop()?,
                b'[' => self.class()?,
                b'|' | b'^' | b'$' => self.can_repeat = false,
                b'*' | b'+' | b'?' => self.repeat()?,
                b'{' => match self.bounds() {
                    Some((least, most)) if least <= most => self.repeat()?,
                    Some(_) => return None,
                    None if self.unicode => return None,
                    None => self.can_repeat = true,
                },
                b'}' | b']' if self.unicode => return None,
                _ => self.can_repeat = true,
            }
        }
        Some(())
    }

    /// What can only be known at the end.
    fn is_whole(&self) -> bool {
        let by_name = self.unicode || !self.names.is_empty();
        let are_known = self.called.iter().all(|name| self.names.contains(name));
        self.open.is_empty()
            && (!by_name || are_known && !self.has_bad_call)
            && (!self.unicode || self.last_number <= self.captures)
    }

    /// The next unit; one beyond ASCII is some letter.
    fn next(&mut self) -> Option<u8> {
        let unit = *self.units.get(self.at)?;
        self.at += 1;
        Some(u8::try_from(unit).ok().filter(u8::is_ascii).unwrap_or(b'a'))
    }

    fn eat(&mut self, text: &str) -> bool {
        let rest = self.units.get(self.at..).unwrap_or(&[]);
        let is_next = rest.len() >= text.len()
            && rest
                .iter()
                .zip(text.bytes())
                .all(|(unit, byte)| *unit == u32::from(byte));
        if is_next {
            self.at += text.len();
        }
        is_next
    }

    fn repeat(&mut self) -> Option<()> {
        self.eat("?");
        std::mem::take(&mut self.can_repeat).then_some(())
    }

    /// Behind `{`: the bounds of a repetition, or nothing is taken.
    fn bounds(&mut self) -> Option<(u64, u64)> {
        let start = self.at;
        let found = self.number().and_then(|least| {
            let most = match self.eat(",") {
                true => self.number().unwrap_or(u64::MAX),
                false => least,
            };
            self.eat("}").then_some((least, most))
        });
        if found.is_none() {
            self.at = start;
        }
        found
    }

    fn number(&mut self) -> Option<u64> {
        let start = self.at;
        let mut number = 0_u64;
        while let Some(digit) = self.digit(10) {
            number = number.saturating_mul(10).saturating_add(digit.into());
        }
        (self.at > start).then_some(number)
    }

    fn digit(&mut self, radix: u32) -> Option<u32> {
        let digit = char::from_u32(*self.units.get(self.at)?)?.to_digit(radix)?;
        self.at += 1;
        Some(digit)
    }

    /// So many hexadecimal digits, or nothing is taken.
    fn hex(&mut self, count: usize) -> Option<u32> {
        let start = self.at;
        let mut value = 0;
        for _ in 0..count {
            match self.digit(16) {
                Some(digit) => value = value * 16 + digit,
                None => {
                    self.at = start;
                    return None;
                }
            }
        }
        Some(value)
    }

    fn group(&mut self) -> Option<()> {
        let can_repeat = if !self.eat("?") {
            self.captures += 1;
            true
        } else if self.eat(":") {
            true
        } else if self.eat("=") || self.eat("!") {
            !self.unicode
        } else if self.eat("<=") || self.eat("<!") {
            false
        } else {
            let name = self.name()?;
            self.captures += 1;
            self.names.insert(name).then_some(true)?
        };
        self.open.push(can_repeat);
        self.can_repeat = false;
        Some(())
    }

    /// `<name>`.
    fn name(&mut self) -> Option<&'a [u32]> {
        if !self.eat("<") {
            return None;
        }
        let start = self.at;
        while let Some(letter) = self.units.get(self.at).copied() {
            let is_word = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '$');
            match char::from_u32(letter) {
                Some('>') if self.at > start => {
                    self.at += 1;
                    return self.units.get(start..self.at - 1);
                }
                Some(letter) if !is_word(letter) => return None,
                Some(letter) if self.at == start && letter.is_numeric() => return None,
                _ => self.at += 1,
            }
        }
        None
    }

    /// Behind a backslash, outside of a class.
    fn escape(&mut self) -> Option<()> {
        let start = self.at;
        self.can_repeat = true;
        match self.next()? {
            b'b' | b'B' => self.can_repeat = false,
            b'k' => match self.name() {
                Some(name) => self.called.push(name),
                None => {
                    self.has_bad_call = true;
                    self.at = start + 1;
                }
            },
            b'1'..=b'9' if self.unicode => {
                self.at = start;
                let number = self.number()?;
                let number = u32::try_from(number).unwrap_or(u32::MAX);
                self.last_number = self.last_number.max(number);
            }
            _ => {
                self.at = start;
                self.character()?;
            }
        }
        Some(())
    }

    /// Behind a backslash: the character that is meant; the inner `None` is a set of them.
    fn character(&mut self) -> Option<Option<u32>> {
        let unit = *self.units.get(self.at)?;
        let first = self.next()?;
        let plain = Some(unit);
        match first {
            b'd' | b'D' | b's' | b'S' | b'w' | b'W' => Some(None),
            b'n' => Some(Some(10)),
            b'r' => Some(Some(13)),
            b't' => Some(Some(9)),
            b'v' => Some(Some(11)),
            b'f' => Some(Some(12)),
            b'x' => {
                let value = self.hex(2);
                if value.is_none() && self.unicode {
                    return None;
                }
                Some(value.or(plain))
            }
            b'u' => self.code_point(plain),
            b'c' => {
                let letter = self.units.get(self.at).copied().and_then(char::from_u32);
                match letter.filter(char::is_ascii_alphabetic) {
                    Some(letter) => {
                        self.at += 1;
                        Some(Some(u32::from(letter) % 32))
                    }
                    None if self.unicode => None,
                    // The backslash means itself, and the letter comes again.
                    None => {
                        self.at -= 1;
                        Some(Some(u32::from(b'\\')))
                    }
                }
            }
            b'p' | b'P' if self.unicode => self.property().then_some(None),
            b'0'..=b'7' if !self.unicode => {
                let mut value = u32::from(first - b'0');
                for _ in 0..2 {
                    let start = self.at;
                    match self.digit(8) {
                        Some(digit) if value * 8 + digit <= 0o377 => value = value * 8 + digit,
                        Some(_) => self.at = start,
                        None => break,
                    }
                }
                Some(Some(value))
            }
            b'0' => {
                let more = self.units.get(self.at).copied().and_then(char::from_u32);
                (!more.is_some_and(|more| more.is_ascii_digit())).then_some(Some(0))
            }
            byte if b"^$\\.*+?()[]{}|/".contains(&byte) => Some(plain),
            _ if self.unicode => None,
            _ => Some(plain),
        }
    }

    /// Behind `\u`.
    fn code_point(&mut self, plain: Option<u32>) -> Option<Option<u32>> {
        if !self.unicode {
            return Some(self.hex(4).or(plain));
        }
        if !self.eat("{") {
            return self.hex(4).map(Some);
        }
        let mut value = self.digit(16)?;
        while let Some(digit) = self.digit(16) {
            value = value.saturating_mul(16).saturating_add(digit);
        }
        (value <= 0x10_FFFF && self.eat("}")).then_some(Some(value))
    }

    /// Behind `\p`.
    fn property(&mut self) -> bool {
        let is_part = |unit: u32| {
            let letter = char::from_u32(unit);
            letter.is_some_and(|letter| letter.is_ascii_alphanumeric() || "_=".contains(letter))
        };
        if !self.eat("{") {
            return false;
        }
        let start = self.at;
        while self.units.get(self.at).is_some_and(|unit| is_part(*unit)) {
            self.at += 1;
        }
        self.at > start && self.eat("}")
    }

    /// Behind `[`.
    fn class(&mut self) -> Option<()> {
        self.eat("^");
        self.can_repeat = true;
        while !self.eat("]") {
            let first = self.class_member()?;
            let before = self.at;
            if !self.eat("-") {
                continue;
            }
            if self.units.get(self.at) == Some(&u32::from(b']')) {
                self.at = before;
                self.next();
                continue;
            }
            match (first, self.class_member()?) {
                (Some(first), Some(last)) if first > last => return None,
                (Some(_), Some(_)) => {}
                // A set is no end of a range.
                _ if self.unicode => return None,
                _ => {}
            }
        }
        Some(())
    }

    fn class_member(&mut self) -> Option<Option<u32>> {
        let unit = *self.units.get(self.at)?;
        self.at += 1;
        if unit != u32::from(b'\\') {
            return Some(Some(unit));
        }
        let next = *self.units.get(self.at)?;
        if next == u32::from(b'b') {
            self.at += 1;
            return Some(Some(8));
        }
        if next == u32::from(b'-') {
            self.at += 1;
            return Some(Some(next));
        }
        if next == u32::from(b'k') {
            // As outside: it means itself only where no group has a name.
            self.at += 1;
            self.has_bad_call = true;
            return Some(Some(next));
        }
        self.character()
    }
}

#[cfg(test)]
mod tests;
