use std::borrow::Cow;

/// The versions of DDP that Meteor's server has, best first; they do not differ in what we do (design.md 6).
const SUPPORTED: [&str; 3] = ["1", "pre2", "pre1"];

/// Agrees on a version as Meteor's server does: the first of the client's list that we have, if that is what it
/// proposed.
///
/// # Errors
///
/// The version to name in `failed`.
pub(super) fn negotiate(
    version: Option<&str>,
    support: Option<&[Cow<'_, str>]>,
) -> Result<(), &'static str> {
    let (Some(version), Some(support)) = (version, support) else {
        return Err(SUPPORTED[0]);
    };
    if !support.iter().any(|supported| supported == version) {
        return Err(SUPPORTED[0]);
    }
    let ours = |theirs: &Cow<'_, str>| SUPPORTED.into_iter().find(|ours| ours == theirs);
    let best = support.iter().find_map(ours).unwrap_or(SUPPORTED[0]);
    if best == version { Ok(()) } else { Err(best) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_common_version_must_be_the_proposed_one() {
        let check = |version, support: &[&'static str], expected| {
            let support: Vec<_> = support.iter().map(|&version| Cow::from(version)).collect();
            assert_eq!(
                negotiate(Some(version), Some(&support)),
                expected,
                "{version} of {support:?}"
            );
        };
        check("1", &["1", "pre2", "pre1"], Ok(()));
        check("1", &["1"], Ok(()));
        check("pre2", &["pre2"], Ok(()));
        check("pre1", &["pre1"], Ok(()));
        check("pre1", &["2", "pre1", "1"], Ok(()));
        check("2", &["2", "pre2", "1"], Err("pre2"));
        check("pre2", &["1", "pre2"], Err("1"));
        check("garbled", &["garbled"], Err("1"));
        check("1", &["pre2"], Err("1"));
        check("1", &[], Err("1"));
        assert_eq!(negotiate(None, Some(&["1".into()])), Err("1"));
        assert_eq!(negotiate(Some("1"), None), Err("1"));
    }
}
