//! What a build can read, by its variables, arguments and contexts.

use super::*;

#[test]
fn what_can_be_read() {
    for (body, expect) in [
        ("COPY a b /x/", "a b"),
        ("COPY . /", "whole 2"),
        ("COPY ./ /", "whole 2"),
        ("COPY / /", "whole 2"),
        ("COPY a/.. /", "whole 2"),
        ("COPY ../../a /", "a"),
        ("COPY /a//b/ /", "a/b"),
        ("COPY [\"a b\", \"c\", \"/\"]", "a b c"),
        ("COPY a\\ b /", "a b"),
        ("COPY a\\\\b /", "whole 2"),
        ("ADD a.tar /", "a.tar"),
        ("ADD https://x/y.tar git@h:x/y.git a /", "a"),
        ("COPY --from=x:1 . /", "-"),
        ("COPY --from=x:1 --chown=1:1 . /", "-"),
        ("COPY --chmod=644 --link a /", "a"),
        ("COPY --exclude=*.md a /", "a-*.md"),
        ("COPY --exclude=*.md --exclude=!b.md . a* /", "-*.md-!b.md a**-*.md-!b.md"),
        ("COPY --exclude=*.md --exclude=$X a /", "a"),
        ("COPY --parents a/./b/**/c d/e /", "a//b/**/c d/e"),
        ("COPY --parents a/b/*/../c a/./b/c /", "//a/b/c a/b/c"),
        ("COPY --parents **/c /", "//**/c"),
        ("COPY --parents --exclude=x ./**/c /", "//**/c-x"),
        ("COPY --parents *//./c /", "whole 2"),
        ("COPY --parents x/y*/./c /", "x"),
        ("COPY --parents . /", "whole 2"),
        ("COPY a*/[b]? /", "a*/[b]?*"),
        ("COPY $UNKNOWN /", "whole 2"),
        ("COPY '$UNKNOWN' /", "$UNKNOWN"),
        ("COPY ${UNKNOWN:-a} /", "whole 2"),
        ("ARG D=a\nCOPY $D /", "a"),
        ("ARG D=a\nARG E=${D}/b\nCOPY ${E%/b} $E /", "a a/b"),
        ("ARG D\nCOPY ${D}/x /", "whole 3"),
        ("ARG G\nCOPY $G /", "global"),
        ("COPY $G /", "whole 2"),
        ("ARG G=own\nCOPY $G /", "own"),
        ("ENV D=a E=b\nENV D=c E=$D\nCOPY $E /", "a"),
        ("ENV D a b\nCOPY ${D/?b/_b} /", "a_b"),
        ("ARG D=a\nENV D=b\nCOPY $D /", "b"),
        ("ENV D=b\nARG D=a\nCOPY $D /", "whole 4"),
        ("ENV D=a\nARG D=a\nCOPY $D /", "a"),
        ("ARG TARGETARCH\nCOPY bin-$TARGETARCH /", "bin-arm64"),
        ("ARG TARGETVARIANT\nARG TARGETPLATFORM\nCOPY $TARGETVARIANT $TARGETPLATFORM /", "linux/arm64/v8 v8"),
        ("COPY bin-$TARGETARCH /", "whole 2"),
        ("ARG BUILDARCH\nCOPY bin-$BUILDARCH /", "whole 3"),
        ("ARG HTTP_PROXY\nCOPY x$HTTP_PROXY /", "whole 3"),
        ("RUN --mount=target=/x y", "whole 2"),
        ("RUN --mount=type=bind,source=.,target=/x y", "whole 2"),
        ("RUN --mount=source=a/*,target=/x y", "a/*"),
        ("RUN --mount=type=bind,src=/a/../b,target=/x y", "b"),
        ("RUN --mount=type=cache,source=a,target=/x y", "-"),
        ("RUN --mount=type=bind,from=x:1,source=a,target=/x y", "-"),
        ("RUN cp a b", "-"),
        ("ONBUILD COPY a /", "-"),
        ("COPY <<E /x\nCOPY . /\nE", "-"),
        ("COPY <<E a /x\nb\nE", "a"),
        ("RUN echo $((1 << 2))\nCOPY a /", "a"),
        ("RUN cat <<< x\nCOPY a /", "a"),
        ("RUN [\"cat\", \"<<E\"]\nCOPY a /", "a"),
        ("COPY a \\\n# comment\n  b \\\n\n c /", "a b c"),
        ("COPY a \\  \n b /", "a b"),
        ("COPY a x\\\\\nCOPY b /", "a b"),
    ] {
        let analysis = run(&format!("ARG G=global\nFROM x:1\n{body}"));
        let got = reads(&analysis.unwrap());
        // The tables count lines from the FROM line.
        let got = match got.strip_prefix("whole ") {
            Some(line) => format!("whole {}", line.parse::<u32>().unwrap() - 1),
            None => got,
        };
        assert_eq!(got, expect, "{body}");
    }
}

#[test]
fn variables_of_known_bases_are_known() {
    for (text, expect) in [
        ("FROM scratch\nCOPY a$UNSET /", "a"),
        ("FROM scratch\nCOPY ${UNSET:-b} /", "b"),
        ("FROM scratch\nCOPY x$PATH /", "whole 2"),
        ("FROM scratch AS s\nENV D=a\nFROM s\nCOPY $D ${NO:-b} /", "a b"),
        ("FROM x AS s\nENV D=a\nFROM s\nCOPY $D /", "a"),
        ("FROM x AS s\nENV D=a\nFROM s\nCOPY $E /", "whole 4"),
        ("FROM scratch AS s\nARG D=a\nFROM s\nCOPY $D /", "whole 4"),
        ("FROM scratch AS s\nARG D=a\nFROM s\nARG D\nCOPY ${D:-b} /", "whole 5"),
        ("FROM scratch AS s\nARG D=a\nFROM s\nARG D=c\nCOPY ${D:-b} /", "c"),
        ("FROM scratch AS s\nONBUILD ENV D=a\nONBUILD COPY $D /\nFROM s\nCOPY $D/b /", "a a/b"),
        ("FROM scratch AS s\nONBUILD COPY a /\nFROM s AS t\nFROM t\n", "a"),
        ("# escape=`\nFROM scratch\nCOPY a `\n b /", "a b"),
        ("# syntax=docker/dockerfile:1\nFROM scratch\nCOPY a /", "a"),
        ("# syntax=docker.io/docker/dockerfile-upstream@sha256:0 x\nFROM scratch\nCOPY a /", "a"),
        ("# syntax=example.com/docker/dockerfile:1\nFROM scratch\nCOPY a /", "whole 1"),
        ("# syntax=docker/dockerfile:1\nFROM scratch\nCOPY --later a /", "whole 3"),
        ("# syntax=docker/dockerfile:1\nFROM scratch\nRUN --later a", "whole 3"),
        ("# syntax=docker/dockerfile:1\nFROM scratch\nRUN --device=x a", "-"),
    ] {
        assert_eq!(reads(&run(text).unwrap()), expect, "{text}");
    }
}

#[test]
fn given_arguments_replace_defaults_and_enter_only_where_seen() {
    let text = "ARG A=1\nARG B=x-$A\nARG C=3\nFROM img:$B AS one\nARG D=4\nCOPY $D /\nFROM scratch AS two\nARG E\nARG C";
    let args =
        [("A", "9"), ("C", "8"), ("D", "7"), ("E", "6"), ("SOURCE_DATE_EPOCH", "0"), ("TARGETARCH", "x")];
    let one = analyse(&source(text), &inputs("one", &args, &[])).unwrap();
    assert_eq!((reads(&one), images(&one)), ("7".to_owned(), "FROM img:x-9".to_owned()));
    assert_eq!(one.arguments.keys().collect::<Vec<_>>(), ["A", "D", "SOURCE_DATE_EPOCH"]);
    assert_eq!(texts(&one)[..3], ["ARG A=1", "ARG B=x-$A", "FROM img:$B AS one"]);
    let two = analyse(&source(text), &inputs("two", &args, &[])).unwrap();
    assert_eq!(two.arguments.keys().collect::<Vec<_>>(), ["C", "E", "SOURCE_DATE_EPOCH"]);
    assert_eq!(texts(&two), ["ARG C=3", "FROM scratch AS two", "ARG E", "ARG C"]);
    assert!(one.unused.is_empty() && two.unused.is_empty());
}

#[test]
fn proxies_enter_where_declared_and_defaults_are_followed_all_the_way() {
    let text = "ARG A=1\nARG B=$A\nARG C=$B\nFROM x:$C\nARG HTTP_PROXY\nARG no_proxy=y";
    let args = [("A", "2"), ("HTTP_PROXY", "http://p"), ("no_proxy", "z"), ("FTP_PROXY", "f")];
    let analysis = analyse(&source(text), &inputs("", &args, &[])).unwrap();
    assert_eq!(analysis.arguments.keys().collect::<Vec<_>>(), ["A", "HTTP_PROXY", "no_proxy"]);
    assert_eq!(analysis.proxies.keys().collect::<Vec<_>>(), ["FTP_PROXY"]);
    assert_eq!(images(&analysis), "FROM x:2");
    assert_eq!(texts(&analysis)[..3], ["ARG A=1", "ARG B=$A", "ARG C=$B"]);
    assert!(analysis.unused.is_empty());
}

#[test]
fn named_contexts_take_the_place_of_stages_and_images() {
    for (text, contexts, expect) in [
        ("FROM a AS b\nFROM b", &["b"][..], "FROM=b"),
        ("FROM a AS b\nFROM B", &["b"], "FROM=b"),
        ("FROM a AS b\nFROM c\nCOPY --from=b /x /", &["b"], "FROM c, COPY=b"),
        ("FROM a AS b\nFROM c\nCOPY --from=0 /x /", &["b"], "FROM c, COPY=b"),
        ("FROM alpine:latest", &["alpine"], "FROM=alpine"),
        ("FROM alpine:3", &["alpine"], "FROM alpine:3"),
        ("FROM alpine:3", &["alpine:3"], "FROM=alpine:3"),
        ("FROM scratch\nRUN --mount=from=A,target=/x y", &["a"], "RUN=a"),
    ] {
        assert_eq!(images(&analyse(&source(text), &inputs("", &[], contexts)).unwrap()), expect, "{text}");
    }
}
