//! Text inside messages.

/// `text` as a JSON string.
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    push_string(&mut out, text);
    out
}

/// Appends `text` as a JSON string, quotes included.
pub fn push_string(out: &mut String, text: &str) {
    out.push('"');
    push_escaped(out, text);
    out.push('"');
}

/// The same without the quotes.
pub(super) fn push_escaped(out: &mut String, text: &str) {
    let mut plain_from = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0x08 => "\\b",
            0x0c => "\\f",
            0..0x20 => &*format!("\\u{byte:04x}"),
            _ => continue,
        };
        out.push_str(&text[plain_from..at]);
        out.push_str(escape);
        plain_from = at + 1;
    }
    out.push_str(&text[plain_from..]);
}

/// Appends raw JSON that its source has checked; a byte that is no UTF-8 after all is replaced, not trusted.
pub(super) fn push_raw(out: &mut String, raw: &[u8]) {
    match std::str::from_utf8(raw) {
        Ok(raw) => out.push_str(raw),
        Err(_) => out.push_str(&String::from_utf8_lossy(raw)),
    }
}
