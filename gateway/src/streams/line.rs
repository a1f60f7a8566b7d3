//! Which line of the monolith is on the other side, where lines differ in what clients get (streams.md 12).

/// What a version tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Line {
    /// Up to 7.0.
    Old,
    /// Late in 7.
    Late7,
    /// From 8 on.
    Newest,
    /// Nobody has said, or it lies between.
    #[default]
    Unknown,
}

impl Line {
    /// Reads a version such as `7.10.0-rc.1`.
    pub(crate) fn of(version: &str) -> Self {
        let mut parts = version.split(['.', '-']).map(str::parse::<u32>);
        let (Some(Ok(major)), Some(Ok(minor))) = (parts.next(), parts.next()) else {
            return Self::Unknown;
        };
        match (major, minor) {
            (..=6, _) | (7, 0) => Self::Old,
            (7, 11..) => Self::Late7,
            (8.., _) => Self::Newest,
            _ => Self::Unknown,
        }
    }

    /// Whether clients may expect the form of up to 7.0.
    pub(crate) fn may_be_old(self) -> bool {
        matches!(self, Self::Old | Self::Unknown)
    }

    /// Whether users may still begin off-the-record talks.
    pub(crate) fn may_have_otr(self) -> bool {
        self != Self::Newest
    }

    /// Whether clients may expect the form of late 7 and newer.
    pub(crate) fn may_be_new(self) -> bool {
        self != Self::Old
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_tells_its_line() {
        for (version, line) in [
            ("5.4.1", Line::Old),
            ("6.14.0-develop", Line::Old),
            ("7.0.2", Line::Old),
            ("7.1.0", Line::Unknown),
            ("7.11.0", Line::Late7),
            ("8.0.0-rc.1", Line::Newest),
            ("8", Line::Unknown),
            ("latest", Line::Unknown),
        ] {
            assert_eq!(Line::of(version), line, "{version}");
        }
    }
}
