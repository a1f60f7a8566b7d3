//! Flags in events that keep something from being told.

/// Whether such a flag may be set: only what is missing, `null` or `false` says that it is not.
pub(crate) fn may_be_set(flag: Option<&str>) -> bool {
    !matches!(flag, None | Some("null" | "false"))
}
