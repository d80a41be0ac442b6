//! What is not known here, or that only some frontends take: it is passed on.

use super::*;

fn about(analysis: &Analysis) -> Vec<&str> {
    let unknown = analysis.findings.iter().filter(|finding| finding.kind == FindingKind::Unknown);
    unknown.map(|finding| finding.text.as_str()).collect()
}

/// Values that one frontend takes and another refuses are the frontend's to judge.
#[test]
fn what_is_known_is_taken_whatever_it_is_given() {
    for (body, expect) in [
        ("COPY --link=True f /", "f"),
        ("COPY --link=1 --chmod=u=rw,go= --chown= --from= f /", "f"),
        ("COPY --parents=False f /", "f"),
        ("COPY --parents=0 a/f /", "whole 2"),
        ("ADD --checksum=x --keep-git-dir=T --unpack=TRUE --link f /", "f"),
        ("RUN --network=default --security=insecure --device=class=gpu x", "-"),
        ("RUN --mount=type=bind,\\\"source=a,b\\\",target=/x y", "a,b"),
        ("HEALTHCHECK --interval=5 --start-interval=1s --retries=x CMD y", "-"),
        ("HEALTHCHECK SHELL x", "-"),
        ("EXPOSE 99999999 80/quic", "-"),
        ("STOPSIGNAL x", "-"),
        ("SHELL x", "-"),
        ("USER", "-"),
        ("ONBUILD COPY --link=True f /", "-"),
        ("COPY f f /", "f"),
    ] {
        let analysis = run(&format!("FROM a\n{body}\n")).unwrap_or_else(|error| panic!("{body}: {error}"));
        assert_eq!((reads(&analysis), about(&analysis)), (expect.to_owned(), vec![]), "{body}");
    }
    for platform in ["linux", "bogus", "linux/amd64/v2/x", "''", "$NOPE"] {
        assert!(run(&format!("FROM --platform={platform} a\n")).is_ok(), "{platform}");
    }
}

#[test]
fn what_is_not_known_may_read_anything() {
    for (body, expect) in [
        ("RUM x", "the instruction `RUM` (did you mean `RUN`?)"),
        ("FETCH --all <<E\nFROM no\nE", "the instruction `FETCH`"),
        ("FETCH << E", "the instruction `FETCH`"),
        ("COPY --lnik f /", "`COPY --lnik` (did you mean `--link`?)"),
        ("ADD --from=x f /", "`ADD --from`"),
        ("CMD --bogus x", "`CMD --bogus`"),
        ("WORKDIR --x /a", "`WORKDIR --x`"),
        ("RUN --mount=type=bnd x", "`type=bnd` in --mount"),
        ("RUN --mount=typ=bind x", "`typ=bind` in --mount"),
        ("RUN --mount=type=bind,a\\\"b x", "`type=bind,a\"b` in --mount"),
    ] {
        let analysis = run(&format!("FROM a\n{body}\n")).unwrap_or_else(|error| panic!("{body}: {error}"));
        assert_eq!((reads(&analysis), about(&analysis)), ("whole 2".to_owned(), vec![expect]), "{body}");
        assert!(texts(&analysis)[1].starts_with(body.split_whitespace().next().unwrap()), "{body}");
    }
    // A trigger reads where it runs.
    assert_eq!(reads(&run("FROM a\nONBUILD FETCH x").unwrap()), "-");
    assert_eq!(reads(&run("FROM a AS b\nONBUILD FETCH x\nFROM b").unwrap()), "whole 2");
    assert_eq!(reads(&run("FROM --x a").unwrap()), "whole 1");
    // It may name any stage before it, so none of these is left out.
    let analysis = run("FROM a AS x\nCOPY f /\nFROM b AS y\nFETCH x\nFROM y\nRUN z\n").unwrap();
    assert_eq!((images(&analysis).as_str(), analysis.idle.len()), ("FROM a, FROM b", 0));
}

#[test]
fn what_only_later_frontends_take_is_a_need() {
    for (body, expect) in [
        ("COPY --link=false f /", "D:2:6: `--link`"),
        ("RUN --network=none x", "D:2:5: `RUN --network`"),
        ("RUN --security=insecure x", "D:2:5: `RUN --security`"),
        ("HEALTHCHECK --start-interval=1s CMD x", "D:2:13: `HEALTHCHECK --start-interval`"),
        ("ONBUILD ADD --checksum=x f /", "D:2:13: `ADD --checksum`"),
        ("RUN <<E\nx\nE", "D:2:1: a here-document"),
        ("ADD a https://x/y.git#main /", "D:2:7: `ADD` from git"),
        ("ADD git@x:y /", "D:2:5: `ADD` from git"),
    ] {
        let source = DockerfileSource::new("D", format!("FROM a\n{body}\n").as_bytes()).unwrap();
        let needs = analyse(&source, &inputs("", &[], &[])).unwrap().needs;
        let needs: Vec<String> = needs.iter().map(|need| format!("{}: {}", need.at, need.kind)).collect();
        assert_eq!(needs, [expect], "{body}");
    }
    // Another stage's needs are none of the box's.
    assert!(run("FROM a AS x\nRUN <<E\nE\nFROM b").unwrap().needs.is_empty());
}
