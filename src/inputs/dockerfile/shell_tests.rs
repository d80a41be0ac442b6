//! Tables of expansions.

use super::modifier::Value;
use super::shell::{Env, Lexer};

struct Table;

impl Env for Table {
    fn lookup(&self, name: &str) -> Value {
        match name {
            "A" => Value::Known("abc.tar.gz".to_owned()),
            "P" => Value::Known("/usr/local/bin".to_owned()),
            "EMPTY" => Value::Known(String::new()),
            "BASE_ENV" => Value::Unknown,
            _ => Value::Unset,
        }
    }
}

#[test]
fn expands_as_buildkit_does() {
    for (text, expect) in [
        ("x$A-y", "xabc.tar.gz-y"),
        ("${A}", "abc.tar.gz"),
        ("$Ax", ""),
        ("\\$A", "$A"),
        ("'$A'", "$A"),
        ("\"$A\"", "abc.tar.gz"),
        ("\"\\$A\\x\\\"\"", "$A\\x\""),
        ("a\\ b", "a b"),
        ("$", "$"),
        ("$/x", "$/x"),
        ("${A:-b}", "abc.tar.gz"),
        ("${EMPTY:-b}", "b"),
        ("${EMPTY-b}", ""),
        ("${NO:-b}", "b"),
        ("${NO-b}", "b"),
        ("${NO:-${A}}", "abc.tar.gz"),
        ("${A:+b}", "b"),
        ("${EMPTY:+b}", ""),
        ("${EMPTY+b}", "b"),
        ("${NO+b}", ""),
        ("${A:?e}", "abc.tar.gz"),
        ("${A#a*.}", "tar.gz"),
        ("${A##a*.}", "gz"),
        ("${A%.*}", "abc.tar"),
        ("${A%%.*}", "abc"),
        ("${A%nope}", "abc.tar.gz"),
        ("${A/a/X}", "Xbc.tar.gz"),
        ("${A//a/X}", "Xbc.tXr.gz"),
        ("${P//\\//_}", "_usr_local_bin"),
        ("${A/?bc/}", ".tar.gz"),
        ("${NO/a/b}", ""),
        ("$1x", "x"),
    ] {
        let got = Lexer::new('\\').expand(text, &Table).map(|expansion| expansion.text);
        assert_eq!(got.as_deref(), Ok(expect), "{text}");
    }
}

#[test]
fn refuses_what_buildkit_refuses() {
    for text in [
        "${",
        "${}",
        "${:a}",
        "${A",
        "${A:-b",
        "'a",
        "\"a",
        "${NO:?gone}",
        "${EMPTY:?}",
        "${A!b}",
        "${A:/a/b}",
    ] {
        assert!(Lexer::new('\\').expand(text, &Table).is_err(), "{text}");
    }
    let deep = "${N:-".repeat(5000);
    assert!(Lexer::new('\\').expand(&deep, &Table).is_err());
}

#[test]
fn unknown_values_make_unknown_results() {
    for text in ["$BASE_ENV", "${BASE_ENV:-x}", "${BASE_ENV:+x}", "${BASE_ENV#x}", "a/${BASE_ENV/x/y}"] {
        let expansion = Lexer::new('\\').expand(text, &Table).unwrap();
        assert_eq!(expansion.unknown.as_deref(), Some("BASE_ENV"), "{text}");
    }
    assert_eq!(Lexer::new('\\').expand("'$BASE_ENV'", &Table).unwrap().unknown, None);
}

#[test]
fn the_escape_directive_counts() {
    let expansion = Lexer::new('`').expand("C:\\`$A\\$A", &Table).unwrap();
    assert_eq!(expansion.text, "C:\\$A\\abc.tar.gz");
    assert_eq!(expansion.used.into_iter().collect::<Vec<_>>(), ["A"]);
}

#[test]
fn words_are_split_after_expansion() {
    let expansion = Lexer::new('\\').expand("a 'b c' d\\ e", &Table).unwrap();
    assert_eq!(expansion.words, ["a", "b c", "d e"]);
}
