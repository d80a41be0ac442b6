//! What is no Dockerfile: where the errors are, and that there is no panic.

use proptest::prelude::*;

use super::*;

#[test]
fn errors_say_where_and_what() {
    for (text, target, expect) in [
        ("", "", "Dockerfile:1:1: no FROM, so there is nothing to build"),
        ("# only\n", "", "Dockerfile:2:1: no FROM, so there is nothing to build"),
        ("RUN x", "", "Dockerfile:1:1: RUN comes before the first FROM"),
        (
            "#!/bin/x\n# escape=\\\n# syntax=evil/frontend\nFROM a",
            "",
            "Dockerfile:3:1: some engines take their frontend from this line, and others do not; write `# syntax=…`, as the first line",
        ),
        (
            "// syntax=evil\nFROM a",
            "",
            "Dockerfile:1:1: some engines take their frontend from this line, and others do not; write `# syntax=…`, as the first line",
        ),
        (
            "#!/x\n//check=a\n//  SYNTAX = evil\nFROM a",
            "",
            "Dockerfile:3:1: some engines take their frontend from this line, and others do not; write `# syntax=…`, as the first line",
        ),
        (
            "\n {\"syntax\": \"evil\"}\nFROM a",
            "",
            "Dockerfile:2:1: some engines take their frontend from this line, and others do not; write `# syntax=…`, as the first line",
        ),
        ("#!/bin/x\n# note\n# syntax=x\nFROM a", "", "-"),
        (
            "ARG BUILDKIT_CACHE_MOUNT_NS=x\nFROM a",
            "",
            "Dockerfile:1:1: BUILDKIT_CACHE_MOUNT_NS differs between trusted and other runs, so no image may depend on it",
        ),
        (
            "FROM a\nRUN x\nARG A BUILDKIT_CACHE_MOUNT_NS",
            "",
            "Dockerfile:3:1: BUILDKIT_CACHE_MOUNT_NS differs between trusted and other runs, so no image may depend on it",
        ),
        ("FROM a b", "", "Dockerfile:1:1: FROM requires either one or three arguments"),
        (
            "FROM a AS 1x",
            "",
            "Dockerfile:1:1: invalid name for build stage: `1x`; it must start with a letter and hold only letters, digits, `-`, `_` and `.`",
        ),
        ("ARG B\nFROM $B", "", "Dockerfile:2:1: base name `$B` expands to nothing"),
        (
            "FROM a:$BUILDARCH",
            "",
            "Dockerfile:1:1: cannot tell which image `a:$BUILDARCH` names, because `BUILDARCH` is only known during the build",
        ),
        (
            "FROM a AS build\nFROM b AS test",
            "biuld",
            "Dockerfile: no stage `biuld` (did you mean `build`?); the stages are build, test",
        ),
        ("FROM a", "7", "Dockerfile: no stage `7`; the stages are unnamed"),
        ("FROM a\nCOPY --from=3 x /", "", "Dockerfile:2:13: stage `3` does not exist"),
        ("FROM a\nCOPY --from=0 x /", "", "Dockerfile:2:13: stage `0` cannot copy from itself"),
        (
            "FROM a AS x\nCOPY --from=y x /\nFROM b AS y",
            "x",
            "Dockerfile:2:13: stage `y` is defined only after the stage that uses it",
        ),
        (
            "FROM a\nCOPY --from=$X x /",
            "",
            "Dockerfile:2:13: stage `$X` cannot be a variable here; name a stage with FROM and use that",
        ),
        ("FROM a\nRUN x \\\n  --mount=type=bind", "", "-"),
        (
            "FROM a\nRUN --mount=from=a\"b,target=/c\" x",
            "",
            "Dockerfile:2:18: the name after from= cannot be told from the quotes around it; write it plainly",
        ),
        ("FROM a\nCOPY x", "", "Dockerfile:2:1: COPY requires at least one source and a destination"),
        ("FROM a\nCOPY a[ /", "", "Dockerfile:2:1: `a[` is not a valid pattern"),
        (
            "FROM a\nCOPY \"a b\" /",
            "",
            "Dockerfile:2:1: unexpected end of statement while looking for matching double-quote",
        ),
        (
            "FROM a\nRUN [1]",
            "",
            "Dockerfile:2:1: when using JSON array syntax, arrays must be comprised of strings only",
        ),
        ("FROM a\nRUN <<E\nx", "", "Dockerfile:2:1: here-document `E` is not terminated"),
        ("RUM x\nFROM a", "", "Dockerfile:1:1: RUM comes before the first FROM"),
        ("FROM a\nENV A", "", "Dockerfile:2:1: ENV must have two arguments"),
        ("FROM a\nENV A=1 B", "", "Dockerfile:2:1: cannot find = in `B`; it must be of the form name=value"),
        ("FROM a\nARG", "", "Dockerfile:2:1: ARG requires at least one argument"),
        ("FROM a\nARG A=${B?gone}", "", "-"),
        ("FROM scratch\nARG A=${B?gone}", "", "Dockerfile:2:1: B: gone"),
        ("FROM a\nONBUILD ONBUILD RUN x", "", "Dockerfile:2:9: ONBUILD is not allowed as an ONBUILD trigger"),
        ("# escape=x\nFROM a", "", "Dockerfile:1:1: invalid escape token `x`; expected \\ or `"),
        (
            "# syntax=x\n# Syntax=y\nFROM a",
            "",
            "Dockerfile:2:1: only one syntax parser directive can be used",
        ),
    ] {
        let got = analyse(&source(text), &inputs(target, &[], &[]))
            .map_or_else(|error| error.to_string(), |_| "-".to_owned());
        // The line itself follows.
        assert_eq!(got.lines().next(), Some(expect), "{text}");
    }
    let error = DockerfileSource::new("d/Dockerfile", b"FROM a\nRUN \xc3\xa9\xff").unwrap_err();
    assert_eq!(error.to_string(), "d/Dockerfile:2:6: not UTF-8\n    2 | RUN é\n      |      ^");
}

#[test]
fn directives_stand_first_or_not_at_all() {
    for (text, expect) in [
        ("# syntax=a\n# escape=`\nFROM a", vec!["escape=`", "syntax=a"]),
        ("#SYNTAX = a b \nFROM a", vec!["syntax=a b"]),
        ("# comment\n# escape=`\nFROM a", vec![]),
        ("\n# escape=`\nFROM a", vec![]),
        ("# unknown=1\n# escape=`\nFROM a", vec![]),
        ("FROM a\n# escape=`", vec![]),
    ] {
        let analysis = run(text).unwrap();
        let got: Vec<String> =
            analysis.directives.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(got, expect, "{text}");
    }
}

#[test]
fn deep_nesting_is_no_danger() {
    let _ = run(&format!("FROM a\n{}RUN x", "ONBUILD ".repeat(50_000)));
    let _ = run(&format!("FROM a\nCOPY {} /", "${N:-".repeat(50_000)));
    let chain: String = (1..2000).map(|n| format!("FROM s{} AS s{n}\n", n - 1)).collect();
    assert_eq!(images(&run(&format!("FROM x AS s0\n{chain}")).unwrap()), "FROM x");
}

/// Pieces that make text look like a Dockerfile.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec![
            "FROM ", "COPY ", "RUN ", "ARG ", "ENV ", "ONBUILD ", "ADD ", "\n", "\n", " \\\n", " ", "a", "b:1", " AS ", "=",
            "--from=", "--mount=", "type=bind", ",from=", ",source=", "\"", "'", "\\", "`", "$A", "${A", ":-", "}", "%", "/", "*", "[",
            "]", "<<E", "<<-E", "E\n", "#", "# escape=`\n", "0", "é", "\t", "\r", "--", "{", "scratch", "[\"a\", \"b\"]",
        ]).prop_map(str::to_owned),
        1 => "\\PC{0,3}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..120)) {
        if let Ok(source) = DockerfileSource::new("f", &bytes) {
            let _ = analyse(&source, &inputs("", &[("A", "1")], &["a"]));
        }
    }

    #[test]
    fn near_dockerfiles_never_panic_and_can_be_rewritten(pieces in proptest::collection::vec(piece(), 0..40)) {
        let text = format!("FROM a AS b\n{}", pieces.concat());
        let source = source(&text);
        if let Ok(analysis) = analyse(&source, &inputs("", &[("A", "1")], &["a"])) {
            let replacements: BTreeMap<_, _> =
                analysis.images.iter().map(|found| (found.origin.clone(), "r/x@sha256:0".to_owned())).collect();
            let sent = rewrite(&source, &analysis, &replacements).unwrap();
            let again = analyse(&DockerfileSource::new("s", &sent).unwrap(), &inputs("", &[("A", "1")], &[]));
            let again = again.map_err(|error| TestCaseError::fail(format!("{error}: {text:?}")))?;
            prop_assert_eq!(reads(&again), reads(&analysis));
            prop_assert!(again.images.iter().all(|found| found.origin.name() == "r/x@sha256:0"), "{:?}", again.images);
        }
    }
}
