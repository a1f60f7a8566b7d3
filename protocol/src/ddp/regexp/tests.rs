use super::compiles;

/// What V8 says, without and with `u`.
const CASES: &[(&str, bool, bool)] = &[
    ("", true, true),
    ("ab+c", true, true),
    ("(", false, false),
    (")", false, false),
    ("(a|b)*?", true, true),
    ("a**", false, false),
    ("*", false, false),
    ("a|*", false, false),
    ("^*", false, false),
    ("(?:)*", true, true),
    ("(?=a)*", true, false),
    ("(?<=a)*", false, false),
    ("(?<!a)b", true, true),
    ("(?#a)", false, false),
    ("(?<n>a)\\k<n>", true, true),
    ("(?<n>a)\\k<m>", false, false),
    ("(?<n>a)\\k", false, false),
    ("\\k<n>", true, false),
    ("\\k", true, false),
    ("(?<n>a)(?<n>b)", false, false),
    ("(?<1>a)", false, false),
    ("(?<>a)", false, false),
    ("(?<n", false, false),
    ("[", false, false),
    ("[]", true, true),
    ("[^]", true, true),
    ("[a-z]", true, true),
    ("[z-a]", false, false),
    ("[a-]", true, true),
    ("[-a]", true, true),
    ("[\\d-z]", true, false),
    ("[a-\\d]", true, false),
    ("[\\]]", true, true),
    ("[\\x41-\\x40]", false, false),
    ("[\\b-\\n]", true, true),
    ("[\u{1F600}-\u{1F64F}]", false, true),
    ("]", true, false),
    ("}", true, false),
    ("{", true, false),
    ("a{", true, false),
    ("a{1", true, false),
    ("a{1}", true, true),
    ("a{1,}", true, true),
    ("a{2,1}", false, false),
    ("a{1,2}{3}", false, false),
    ("{1}", false, false),
    ("a{,5}", true, false),
    ("\\", false, false),
    ("\\a", true, false),
    ("\\-", true, false),
    ("\\/", true, true),
    ("\\1", true, false),
    ("(a)\\1", true, true),
    ("\\01", true, false),
    ("\\0", true, true),
    ("\\x4", true, false),
    ("\\u{1F600}", true, true),
    ("\\u{110000}", true, false),
    ("\\u{", true, false),
    ("\\u12", true, false),
    ("\\c", true, false),
    ("\\cA", true, true),
    ("[\\c]", true, false),
    ("\\b*", false, false),
    ("\\p{L}", true, true),
    ("\\p", true, false),
    ("\u{e9}+", true, true),
];

#[test]
fn a_pattern_compiles_where_v8_compiles_it() {
    for &(pattern, plain, unicode) in CASES {
        assert_eq!(compiles(pattern, false), plain, "/{pattern}/");
        assert_eq!(compiles(pattern, true), unicode, "/{pattern}/u");
    }
}

#[test]
fn a_deep_pattern_costs_no_stack() {
    let deep = "(".repeat(500_000) + &")".repeat(500_000);
    assert!(compiles(&deep, false));
    assert!(!compiles(&"(".repeat(500_000), true));
}

#[test]
fn every_short_pattern_is_survived() {
    let signs = [
        "\\",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "?",
        "<",
        "k",
        "u",
        "-",
        "1",
        "*",
        "\u{1F600}",
    ];
    for number in 0..signs.len().pow(4) {
        let sign = |power| signs[number / signs.len().pow(power) % signs.len()];
        let pattern: String = (0..4).map(sign).collect();
        compiles(&pattern, false);
        compiles(&pattern, true);
    }
}
