//! Dates written as text, as JavaScript's `Date` reads them: ISO 8601, and the looser forms that people and mail programs
//! write. Where a text names no zone the original takes its process's, which is UTC in every image.

/// The last moment that JavaScript's `Date` knows, in ms since 1970; the first is as far before.
pub(crate) const MAX_MS: i64 = 8_640_000_000_000_000;

/// Milliseconds since 1970; `None` if the text is no date.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let text = text.trim();
    iso(text)
        .or_else(|| Spoken::default().read(text)?.ms())
        .filter(|ms| ms.abs() <= MAX_MS)
}

/// `YYYY[-MM[-DD]]`, or with a sign and six digits, then maybe a time and a zone.
fn iso(text: &str) -> Option<i64> {
    let mut rest = text;
    let year = match rest.strip_prefix(['+', '-']) {
        Some(long) => {
            let negative = rest.starts_with('-');
            rest = long;
            let year = digits(&mut rest, 6)?;
            if negative { -year } else { year }
        }
        None => digits(&mut rest, 4)?,
    };
    let (mut month, mut day) = (1, 1);
    if skip(&mut rest, "-") {
        month = digits(&mut rest, 2)?;
        if skip(&mut rest, "-") {
            day = digits(&mut rest, 2)?;
        }
    }
    let date = day_number(year, month, day)? * DAY_MS;
    if rest.is_empty() {
        return Some(date);
    }
    rest = rest
        .strip_prefix('T')
        .filter(|time| time.get(2..3) == Some(":"))?;
    let time = clock(&mut rest)?;
    let zone = match rest {
        "" | "Z" | "z" => 0,
        _ => {
            let sign = if rest.starts_with('-') { -1 } else { 1 };
            rest = rest.strip_prefix(['+', '-'])?;
            let hours = digits(&mut rest, 2)?;
            skip(&mut rest, ":");
            let minutes = digits(&mut rest, 2)?;
            if !rest.is_empty() {
                return None;
            }
            sign * (hours * 60 + minutes)
        }
    };
    Some(date + time - zone * MINUTE_MS)
}

/// `HH:mm[:ss[.fraction]]` as ms of the day.
fn clock(rest: &mut &str) -> Option<i64> {
    let hours = number(rest)?;
    if !skip(rest, ":") {
        return None;
    }
    let minutes = number(rest)?;
    let (mut seconds, mut ms) = (0, 0);
    if skip(rest, ":") {
        seconds = number(rest)?;
        if skip(rest, ".") {
            let end = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (fraction, behind) = rest.split_at(end);
            *rest = behind;
            ms = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
        }
    }
    let time = ((hours * 60 + minutes) * 60 + seconds) * 1_000 + ms;
    (minutes < 60 && seconds < 60 && time <= DAY_MS).then_some(time)
}

/// The looser forms: names of months, numbers in the order of the United States, a clock, a zone, remarks in brackets.
#[derive(Default)]
struct Spoken {
    numbers: Vec<i64>,
    month: Option<i64>,
    time: Option<i64>,
    is_afternoon: Option<bool>,
    /// Minutes ahead of UTC.
    zone: Option<i64>,
}

impl Spoken {
    fn read(mut self, mut rest: &str) -> Option<Self> {
        while let Some(first) = rest.chars().next() {
            if first.is_ascii_digit() {
                self.read_number(&mut rest)?;
            } else if first.is_ascii_alphabetic() {
                let end = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
                let (word, behind) = rest.split_at(end);
                self.read_word(word)?;
                rest = behind;
            } else if first == '(' {
                rest = rest.split_once(')')?.1;
            } else if matches!(first, '+' | '-') && (self.time.is_some() || self.zone.is_some()) {
                rest = &rest[1..];
                self.read_offset(&mut rest, if first == '-' { -1 } else { 1 })?;
            } else if matches!(first, ' ' | ',' | '/' | '-' | '.') {
                rest = &rest[1..];
            } else {
                return None;
            }
        }
        Some(self)
    }

    fn read_number(&mut self, rest: &mut &str) -> Option<()> {
        let end = rest.bytes().take_while(u8::is_ascii_digit).count();
        if self.time.is_none() && rest[end..].starts_with(':') {
            self.time = Some(clock(rest)?);
        } else {
            self.numbers.push(number(rest)?);
        }
        (self.numbers.len() <= 3).then_some(())
    }

    fn read_word(&mut self, word: &str) -> Option<()> {
        let word = word.to_ascii_lowercase();
        let named = |names: &[&str]| names.iter().position(|name| word.starts_with(name));
        if let Some(zone) = ZONES.iter().find(|(name, _)| *name == word) {
            self.zone = Some(zone.1 * 60);
        } else if let "am" | "pm" = word.as_str() {
            self.is_afternoon = Some(word == "pm");
        } else if let Some(month) = named(&MONTHS) {
            self.month = Some(i64::try_from(month).ok()? + 1);
        } else if !self.numbers.is_empty() {
            // Words before the first number may say anything: a weekday.
            return None;
        }
        Some(())
    }

    fn read_offset(&mut self, rest: &mut &str, sign: i64) -> Option<()> {
        let length = rest.bytes().take_while(u8::is_ascii_digit).count();
        let offset = number(rest)?;
        let minutes = match length {
            1 | 2 if skip(rest, ":") => offset * 60 + number(rest)?,
            1 | 2 => offset * 60,
            _ => offset / 100 * 60 + offset % 100,
        };
        self.zone = Some(sign * minutes);
        Some(())
    }

    fn ms(&self) -> Option<i64> {
        let is_day = |number: i64| (1..=31).contains(&number);
        let (year, month, day) = match (self.month, self.numbers.as_slice()) {
            (Some(month), [day]) => (YEAR_UNSAID, month, *day),
            (Some(month), [day, year]) if is_day(*day) => (*year, month, *day),
            (Some(month), [year, day]) => (*year, month, *day),
            (None, [month, day]) => (YEAR_UNSAID, *month, *day),
            (None, [month, day, year]) if is_day(*month) => (*year, *month, *day),
            (None, [year, month, day]) => (*year, *month, *day),
            _ => return None,
        };
        let year = match year {
            0..50 => year + 2_000,
            50..100 => year + 1_900,
            _ => year,
        };
        let mut time = self.time.unwrap_or(0);
        if let Some(is_afternoon) = self.is_afternoon {
            let hour = time / HOUR_MS;
            if !(1..=12).contains(&hour) {
                return None;
            }
            time += (hour % 12 - hour + if is_afternoon { 12 } else { 0 }) * HOUR_MS;
        }
        let zone = self.zone.unwrap_or(0);
        Some(day_number(year, month, day)? * DAY_MS + time - zone * MINUTE_MS)
    }
}

/// Days from 1970-01-01; a day that a month does not have runs over into the next one, as in JavaScript.
fn day_number(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || year.abs() > 300_000 {
        return None;
    }
    // Years that begin in March: the leap day comes last.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let of_year = (153 * month + 2) / 5 + day - 1;
    Some(year * 365 + leap_days + of_year - DAYS_TO_1970)
}

/// Exactly `count` digits.
fn digits(rest: &mut &str, count: usize) -> Option<i64> {
    let (number, behind) = rest.split_at_checked(count)?;
    *rest = behind;
    number
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| number.parse().ok())?
}

/// As many digits as there are, at least one.
fn number(rest: &mut &str) -> Option<i64> {
    let end = rest.bytes().take_while(u8::is_ascii_digit).count();
    // More digits are no part of any date.
    digits(rest, end.min(9)).filter(|_| end > 0 && end <= 9)
}

fn skip(rest: &mut &str, what: &str) -> bool {
    let found = rest.strip_prefix(what);
    *rest = found.unwrap_or(rest);
    found.is_some()
}

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;
/// From the first of March of the year 0.
const DAYS_TO_1970: i64 = 719_468;
/// What a date without a year is in.
const YEAR_UNSAID: i64 = 2001;
const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
/// Hours ahead of UTC.
const ZONES: [(&str, i64); 12] = [
    ("z", 0),
    ("ut", 0),
    ("utc", 0),
    ("gmt", 0),
    ("est", -5),
    ("edt", -4),
    ("cst", -6),
    ("cdt", -5),
    ("mst", -7),
    ("mdt", -6),
    ("pst", -8),
    ("pdt", -7),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// What Node says to these with `TZ=UTC`.
    #[test]
    fn texts_are_dates_where_javascript_says_so() {
        for (text, expected) in [
            ("2026-01-10T08:00:00Z", Some(1_768_032_000_000)),
            ("2026-01-10T08:00:00.5Z", Some(1_768_032_000_500)),
            ("2026-01-10T08:00:00.123456Z", Some(1_768_032_000_123)),
            ("2026-01-10T08:00Z", Some(1_768_032_000_000)),
            ("2026-01-10T08:00", Some(1_768_032_000_000)),
            ("2026-01-10 08:00", Some(1_768_032_000_000)),
            ("2026-01-10 08:00:07", Some(1_768_032_007_000)),
            ("2026-01-10T08:00:00+02:00", Some(1_768_024_800_000)),
            ("2026-01-10T08:00:00-0330", Some(1_768_044_600_000)),
            ("2026-01-10", Some(1_768_003_200_000)),
            ("2026-01", Some(1_767_225_600_000)),
            ("2026", Some(1_767_225_600_000)),
            ("+002026-01-10", Some(1_768_003_200_000)),
            ("2026-02-30", Some(1_772_409_600_000)),
            ("2026-02-32", None),
            ("2026-13-01", None),
            ("2026-01-10T24:00:00Z", Some(1_768_089_600_000)),
            ("2026-01-10T24:00:01Z", None),
            ("2026-01-10T25:00Z", None),
            ("2026-01-10T08:61Z", None),
            ("Sat, 10 Jan 2026 08:00:00 GMT", Some(1_768_032_000_000)),
            ("Sat, 10 Jan 2026 08:00:00 +0200", Some(1_768_024_800_000)),
            ("10 Jan 2026 08:00 EST", Some(1_768_050_000_000)),
            ("Jan 10, 2026", Some(1_768_003_200_000)),
            ("January 10, 2026 8:05 PM", Some(1_768_075_500_000)),
            ("Jan 10 2026 12:00 am", Some(1_768_003_200_000)),
            ("1/10/2026", Some(1_768_003_200_000)),
            ("2026/1/10 08:00", Some(1_768_032_000_000)),
            ("1/10/26", Some(1_768_003_200_000)),
            ("1/10/70", Some(777_600_000)),
            ("10-Jan-2026", Some(1_768_003_200_000)),
            (
                "Sat Jan 10 2026 08:00:00 GMT+0100 (Central European Standard Time)",
                Some(1_768_028_400_000),
            ),
            ("Sat Jan 10 08:00:00 2026", Some(1_768_032_000_000)),
            ("Jan 10", Some(979_084_800_000)),
            ("1/10", Some(979_084_800_000)),
            ("a while ago", None),
            ("", None),
            ("10 soon 2026", None),
            ("Jan 10 2026 13:00 pm", None),
            ("1970-01-01T00:00:03Z", Some(3_000)),
            ("2000-02-29T12:00:00Z", Some(951_825_600_000)),
            ("1600-02-29", Some(-11_670_998_400_000)),
            ("-000001-01-01", Some(-62_198_755_200_000)),
            ("0099-01-01", Some(-59_042_995_200_000)),
            ("1768032000000", None),
            ("2026-01-10T08:00:00 Z", None),
            ("2026-01-10T8:00", None),
            ("12 13 14 15", None),
            ("99999999999 Jan 2026", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_harms(text in "[-+0-9TZ:., /a-z()]{0,40}") {
            let _ = parse(&text);
        }
    }
}
