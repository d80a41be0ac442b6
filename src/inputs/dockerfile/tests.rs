//! Tables over whole Dockerfiles, real ones in `testdata/dockerfiles` first.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::inputs::InputManifest;

fn inputs(target: &str, args: &[(&str, &str)], contexts: &[&str]) -> BoxInputs {
    BoxInputs {
        target: Some(target.to_owned()).filter(|target| !target.is_empty()),
        platform: "linux/arm64/v8".parse().unwrap(),
        args: args.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        contexts: contexts.iter().map(|name| (*name).to_owned()).collect(),
        parents: BTreeMap::new(),
    }
}

fn source(text: &str) -> DockerfileSource {
    DockerfileSource::new("Dockerfile", text.as_bytes()).unwrap()
}

fn run(text: &str) -> Result<Analysis, DockerfileError> {
    analyse(&source(text), &inputs("", &[], &[]))
}

/// Reads as text: `-`, `whole LINE`, or the paths.
fn reads(analysis: &Analysis) -> String {
    match &analysis.reads {
        Reads::Nothing => "-".to_owned(),
        Reads::Some(sources) => {
            let paths = sources
                .iter()
                .map(|source| if source.glob { format!("{}*", source.path) } else { source.path.clone() });
            paths.collect::<Vec<_>>().join(" ")
        }
        Reads::Whole { line, .. } => format!("whole {line}"),
    }
}

fn images(analysis: &Analysis) -> String {
    let names = analysis.images.iter().map(|found| match &found.origin {
        ImageOrigin::Context(name) => format!("{}={name}", found.keyword),
        ImageOrigin::Outside(name) => format!("{} {name}", found.keyword),
    });
    names.collect::<Vec<_>>().join(", ")
}

fn texts(analysis: &Analysis) -> Vec<&str> {
    analysis.instructions.iter().map(|instruction| instruction.text.as_str()).collect()
}

const FIVE: &str = include_str!("../../../testdata/dockerfiles/five-stages.Dockerfile");
const PINS: &str = include_str!("../../../testdata/dockerfiles/pins.Dockerfile");
const MOUNTS: &str = include_str!("../../../testdata/dockerfiles/mounts.Dockerfile");
const HEREDOCS: &str = include_str!("../../../testdata/dockerfiles/heredocs.Dockerfile");

#[test]
fn real_files_read_what_their_target_needs() {
    for (text, target, contexts, expect_reads, expect_images) in [
        (FIVE, "base", &[][..], "-", "FROM debian:13-slim"),
        (FIVE, "BASE-build", &[], "opam/install.sh opam/keys.gpg", "FROM debian:13-slim"),
        (FIVE, "base-build", &["base"], "opam/install.sh opam/keys.gpg", "FROM=base"),
        (FIVE, "build", &["base-build"], "pins", "FROM=base-build"),
        (FIVE, "2", &["Base-Build"], "pins", "FROM=Base-Build"),
        (FIVE, "test", &["build"], "tests/*.sh*", "FROM=build"),
        (FIVE, "test", &[], "opam/install.sh opam/keys.gpg pins tests/*.sh*", "FROM debian:13-slim"),
        (FIVE, "doc", &["build", "base-build"], "whole 38", "FROM=build, COPY=base-build"),
        (FIVE, "", &["build"], "whole 38", "FROM debian:13-slim, FROM=build"),
        (PINS, "", &[], "scripts/docker/entrypoint.sh", "FROM rust:1.90-bookworm"),
        (MOUNTS, "tools", &[], "-", "FROM golang:1.24"),
        (
            MOUNTS,
            "runtime",
            &[],
            "Cargo.lock Cargo.toml crates/app/src",
            "FROM golang:1.24, FROM rust:1.90@sha256:0000000000000000000000000000000000000000000000000000000000000001, \
             FROM gcr.io/distroless/cc-debian12, COPY docker.io/library/busybox:1.37",
        ),
        (MOUNTS, "debug", &["runtime"], "whole 27", "FROM=runtime"),
        (HEREDOCS, "base", &[], "etc", "FROM alpine:3.22"),
        (HEREDOCS, "app", &[], "etc src", "FROM alpine:3.22"),
    ] {
        let analysis = analyse(&source(text), &inputs(target, &[], contexts)).unwrap();
        let got = (reads(&analysis), images(&analysis));
        assert_eq!(got, (expect_reads.to_owned(), expect_images.to_owned()), "{target} {contexts:?}");
    }
}

#[test]
fn triggers_that_copy_from_elsewhere_are_told() {
    let told = |text: &str, target: &str| -> Vec<(u32, String)> {
        let analysis = analyse(&source(text), &inputs(target, &[], &[])).unwrap();
        let copies = analysis.handed.copies().unwrap();
        copies.into_iter().map(|(at, from)| (at.line, from)).collect()
    };
    for (text, expect) in [
        ("FROM a\nCOPY --from=b a /", None),
        ("FROM a\nONBUILD RUN make\nONBUILD COPY a /", None),
        ("FROM a\nONBUILD RUN --mount=target=/x make", None),
        ("FROM a\nONBUILD COPY --from=b:1 /x /", Some((2, "b:1".to_owned()))),
        ("FROM a\n\nONBUILD RUN --mount=from=b,target=/x make", Some((3, "b".to_owned()))),
        // Within the file they have run already.
        ("FROM a AS x\nONBUILD COPY --from=b a /\nFROM x\nRUN b", None),
    ] {
        assert_eq!(told(text, ""), expect.into_iter().collect::<Vec<_>>(), "{text}");
    }
}

/// What a box on another one reads: of both only the file is known.
#[test]
fn what_a_parent_hands_on_is_known() {
    for (parent, child, expect) in [
        ("FROM x", "COPY a /", "a"),
        ("FROM x\nONBUILD COPY f /", "COPY a /", "a f"),
        ("FROM x\nONBUILD ADD https://x/y /", "RUN y", "-"),
        ("FROM x\nONBUILD COPY . /", "COPY a /", "whole 1"),
        ("FROM x\nONBUILD RUN --mount=source=s,target=/x y", "COPY a /", "a s"),
        ("FROM x\nONBUILD RUN --mount=target=/x y", "COPY a /", "whole 1"),
        ("FROM x\nENV Q=f\nONBUILD COPY $Q/a /", "COPY $Q /", "f f/a"),
        ("FROM x\nONBUILD ENV Q=g\nONBUILD COPY $Q /", "COPY ${Q}/h /", "g g/h"),
        ("FROM x\nONBUILD ARG V\nONBUILD COPY $V /", "RUN y", "given"),
        // Other variables may come from the image below; of an empty one they do not.
        ("FROM x\nENV Q=f", "COPY $R /", "whole 2"),
        ("FROM scratch\nENV Q=f", "COPY $Q ${R:-r} /", "f r"),
        ("FROM x AS y\nENV Q=f\nFROM y\nENV R=$Q/r", "COPY $R /", "f/r"),
        // An image has no arguments, and an ARG does not change what ENV has set.
        ("FROM scratch\nARG Q=f", "COPY a${Q} /", "a"),
        ("FROM scratch\nENV Q=f\nARG Q=g", "COPY $Q /", "f"),
        ("FROM x\nARG BUILDARCH\nENV Q=$BUILDARCH", "COPY $Q /", "whole 2"),
        ("FROM x\nENV Q=g $N=f", "COPY $Q /", "whole 2"),
        ("# escape=`\nFROM x\nONBUILD COPY f /", "COPY a /", "whole 1"),
    ] {
        let handed = run(parent).unwrap().handed;
        let mut inputs = inputs("", &[("V", "given")], &["p"]);
        inputs.parents.insert("p".to_owned(), handed);
        let analysis = analyse(&source(&format!("FROM p\n{child}")), &inputs).unwrap();
        assert_eq!(reads(&analysis), expect, "{parent} - {child}");
        assert_eq!(analysis.unused.is_empty(), parent.contains("ARG V"), "{parent}");
        // To copy from a box is not to stand on it.
        let copies = analyse(&source("FROM scratch\nCOPY --from=p /x /"), &inputs).unwrap();
        assert_eq!(reads(&copies), "-", "{parent}");
    }
    let mut inputs = inputs("", &[], &["p"]);
    let handed =
        run("FROM x\n\nONBUILD COPY . /\nONBUILD RUN --mount=type=secret,id=s,required y").unwrap().handed;
    inputs.parents.insert("p".to_owned(), handed);
    let analysis = analyse(&source("FROM p"), &inputs).unwrap();
    let Reads::Whole { reason, .. } = &analysis.reads else { panic!("{:?}", analysis.reads) };
    assert_eq!(reason, "Dockerfile:3 is an ONBUILD trigger of `p`: COPY reads the whole context");
    assert_eq!((analysis.secrets[0].name.as_str(), analysis.secrets[0].required), ("s", true));
}

#[test]
fn five_stages_give_one_box_its_own_part() {
    let args = [
        ("EC_REV", "7f3a"),
        ("PROVERS", "z3"),
        ("BUILD_FROM", "base-build"),
        ("NOBODY", "1"),
        ("http_proxy", "x"),
    ];
    let analysis = analyse(&source(FIVE), &inputs("build", &args, &["base-build"])).unwrap();
    assert_eq!(
        texts(&analysis),
        [
            "ARG BUILD_FROM=base-build",
            "FROM ${BUILD_FROM} AS build",
            "USER charlie",
            "WORKDIR /home/charlie",
            "ARG EC_REV",
            "COPY --chown=1001:1001 pins/ pins/",
            "RUN opam pin add -n easycrypt \"https://github.com/EasyCrypt/easycrypt.git#${EC_REV}\"  && opam install -y --deps-only easycrypt",
        ]
    );
    assert_eq!(analysis.instructions[1].line, Some(23));
    assert_eq!(analysis.target, "build");
    let entering: Vec<_> = analysis.arguments.keys().map(String::as_str).collect();
    assert_eq!(entering, ["BUILD_FROM", "EC_REV"]);
    assert_eq!(analysis.unused, ["NOBODY"]);
    assert_eq!(
        analysis.directives,
        BTreeMap::from([("syntax".to_owned(), "docker/dockerfile:1".to_owned())])
    );
}

#[test]
fn other_stages_comments_and_layout_do_not_move_a_box() {
    let key = |text: &str, target: &str| {
        let analysis = analyse(&source(text), &inputs(target, &[], &[])).unwrap();
        InputManifest::from_analysis(&analysis, "linux/amd64".parse().unwrap()).key()
    };
    let plain = "FROM a:1 AS one\nRUN x\nFROM b:1 AS two\nCOPY --from=0 [\"/x\", \"/y\"]\nENV A=1 B=2\n";
    for same in [
        "# c\n\nfrom   a:1 as ONE\n  run x  \n# c\nFROM b:1 AS two\ncopy   --from=0 \\\n# c\n\n  [\"/x\",\"/y\"]\nENV  A=1   B=2",
        "FROM z:1 AS zero\nRUN z\nFROM a:1 AS one\nRUN x\nFROM b:1 AS two\nCOPY --from=1 [\"/x\",\"/y\"]\nENV A=1 B=2\n",
        "ARG Z=1\nFROM a:1 AS one\nRUN x\nFROM b:1 AS two\nCOPY --from=0 [\"/x\",\"/y\"]\nENV A=1 B=2\nFROM y:1 AS last\n",
        "\u{feff}FROM a:1 AS one\r\nRUN x\r\nFROM b:1 AS two\r\nCOPY --from=0 [\"/x\",\"/y\"]\r\nENV A=1 \\\r\n B=2\r\n",
    ] {
        assert_eq!(key(same, "two"), key(plain, "two"), "{same}");
    }
    for other in [
        plain.replace("RUN x", "RUN  y"),
        plain.replace("a:1", "a:2"),
        plain.replace("B=2", "B='2'"),
        plain.replace("--from=0", "--from=one"),
        plain.replace("[\"/x\", \"/y\"]", "/x /y"),
        format!("# escape=\\\n{plain}"),
        format!("# check=skip=all\n{plain}"),
        format!("{plain}\nRUN z"),
    ] {
        assert_ne!(key(&other, "two"), key(plain, "two"), "{other}");
    }
    assert_ne!(key("FROM a\nRUN a  b", ""), key("FROM a\nRUN a b", ""));
    assert_ne!(key("FROM a\nRUN <<E\na\nE", ""), key("FROM a\nRUN <<E\na \nE", ""));
}

#[test]
fn names_are_replaced_where_they_stand() {
    let replaced = |text: &str, target: &str, contexts: &[&str]| {
        let source = source(text);
        let analysis = analyse(&source, &inputs(target, &[], contexts)).unwrap();
        let replacements = analysis.images.iter().map(|found| {
            (
                found.origin.clone(),
                format!("r/{}@sha256:0", found.origin.name().replace([':', '@'], "_").to_lowercase()),
            )
        });
        String::from_utf8(rewrite(&source, &analysis, &replacements.collect()).unwrap()).unwrap()
    };
    for (text, target, contexts, expect) in [
        ("FROM a", "", &[][..], "FROM r/a@sha256:0"),
        ("from --platform=$BUILDPLATFORM \\\n  a:1 as x # y", "", &[], ""),
        (
            "FROM --platform=linux/amd64 \\\n  a:1 as x\nRUN b",
            "",
            &[],
            "FROM --platform=linux/amd64 \\\n  r/a_1@sha256:0 as x\nRUN b",
        ),
        ("ARG V=1\nFROM a:${V} AS x", "", &[], "ARG V=1\nFROM r/a_1@sha256:0 AS x"),
        ("ARG B=x\nFROM y AS x\nFROM ${B}", "", &["X"], "ARG B=x\nFROM scratch AS x\nFROM r/x@sha256:0"),
        ("FROM \"a\"", "", &[], "FROM r/a@sha256:0"),
        ("FROM a\\\nb", "", &[], "FROM r/ab@sha256:0"),
        (
            "FROM scratch\nCOPY --from=\"b:1\" /x /\n",
            "",
            &[],
            "FROM scratch\nCOPY --from=r/b_1@sha256:0 /x /\n",
        ),
        (
            "FROM scratch\nRUN --mount=type=bind,from=b,target=/x --mount=type=cache,from=c,target=/c y",
            "",
            &["c"],
            "FROM scratch\nRUN --mount=type=bind,from=r/b@sha256:0,target=/x --mount=type=cache,from=r/c@sha256:0,target=/c y",
        ),
        ("FROM a AS x\nFROM b AS y\n", "x", &[], "FROM r/a@sha256:0 AS x\nFROM scratch AS y\n"),
        (
            "FROM a AS x\nONBUILD COPY --from=b:1 /x /\nFROM x AS y\nFROM x\nCOPY --from=y /x /",
            "",
            &[],
            "FROM r/a@sha256:0 AS x\nONBUILD COPY --from=r/b_1@sha256:0 /x /\nFROM x AS y\nFROM x\nCOPY --from=y /x /",
        ),
        // Only what the target needs is sent; lines and indices stay.
        (
            "FROM a\n# c\n  from --platform=linux/amd64 \\\n b AS Y\nRUN <<E\nx\nE\nCOPY --link a /\nFROM c\nCOPY --from=0 /x /\nFROM d\nRUN y",
            "2",
            &[],
            "FROM r/a@sha256:0\n# c\n  FROM scratch AS y\n\n\n\n\n\nFROM r/c@sha256:0\nCOPY --from=0 /x /\nFROM scratch\n",
        ),
    ] {
        if expect.is_empty() {
            assert!(analyse(&source(text), &inputs(target, &[], contexts)).is_err(), "{text}");
        } else {
            assert_eq!(replaced(text, target, contexts), expect, "{text}");
        }
    }
    let twice = "FROM a AS x\nONBUILD COPY --from=b /x /\nFROM x AS y\nFROM x\nCOPY --from=y /x /";
    assert_eq!(images(&run(twice).unwrap()), "FROM a, COPY b");
    let source = source("FROM a");
    let uses = analyse(&source, &inputs("", &[], &[])).unwrap();
    let hostile = BTreeMap::from([(ImageOrigin::Outside("a".to_owned()), "x\nRUN y".to_owned())]);
    assert!(matches!(rewrite(&source, &uses, &hostile), Err(RewriteError::Reference { .. })));
    let good = BTreeMap::from([(ImageOrigin::Outside("a".to_owned()), "x".to_owned())]);
    let other = DockerfileSource::new("o", b"F").unwrap();
    assert!(matches!(rewrite(&other, &uses, &good), Err(RewriteError::Elsewhere { .. })));
    assert_eq!(rewrite(&source, &uses, &BTreeMap::new()).unwrap(), b"FROM a");
}

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
        ("COPY --exclude=*.md a /", "a"),
        ("COPY --parents a/./b/**/c d/e /", "a/b d/e"),
        ("COPY --parents **/c /", "whole 2"),
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

#[test]
fn needs_secrets_and_remarks() {
    let analysis = analyse(&source(MOUNTS), &inputs("runtime", &[], &[])).unwrap();
    let needs: Vec<_> = analysis.needs.iter().map(|need| (need.kind.clone(), need.at.line)).collect();
    assert_eq!(
        needs,
        [
            (NeedKind::Syntax("docker/dockerfile:1.7".to_owned()), 1),
            (NeedKind::Link, 20),
            (NeedKind::Checksum, 23),
        ]
    );
    let secrets: Vec<_> =
        analysis.secrets.iter().map(|secret| (secret.name.as_str(), secret.required)).collect();
    assert_eq!(secrets, [("crates", true), ("npm", false)]);
    let ssh: Vec<_> = analysis.ssh.iter().map(|ssh| (ssh.name.as_str(), ssh.required, ssh.at.line)).collect();
    assert_eq!(ssh, [("default", false, 24)]);
    let said = |analysis: &Analysis| -> Vec<(FindingKind, u32, String)> {
        analysis.findings.iter().map(|finding| (finding.kind, finding.line, finding.text.clone())).collect()
    };
    assert_eq!(
        said(&analysis),
        [
            (FindingKind::LatestImage, 19, "gcr.io/distroless/cc-debian12".to_owned()),
            (FindingKind::UncheckedAdd, 22, "https://example.com/ca.pem".to_owned()),
        ]
    );
    let pins = analyse(&source(PINS), &inputs("", &[("NPM_TOKEN", "x")], &[])).unwrap();
    assert_eq!(
        said(&pins),
        [
            (FindingKind::SecretArgument, 0, "NPM_TOKEN".to_owned()),
            (FindingKind::SecretArgument, 5, "GITHUB_TOKEN".to_owned()),
            (
                FindingKind::Download,
                9,
                "https://github.com/leanprover/elan/releases/latest/download/elan-x86_64-unknown-linux-gnu.tar.gz"
                    .to_owned()
            ),
            (FindingKind::GitClone, 17, "https://github.com/example/fixtures".to_owned()),
        ]
    );
    let heredocs = analyse(&source(HEREDOCS), &inputs("", &[], &[])).unwrap();
    let lines: Vec<_> = heredocs.needs.iter().map(|need| need.at.line).collect();
    assert_eq!(lines, [3, 9, 16]);
    assert!(heredocs.needs.iter().all(|need| need.kind == NeedKind::Heredoc));
}

#[test]
fn heredocs_are_part_of_their_instruction() {
    let analysis = analyse(&source(HEREDOCS), &inputs("base", &[], &[])).unwrap();
    let texts = texts(&analysis);
    assert_eq!(
        texts[2],
        "RUN <<EOF\nset -e\n# this is shell, not a Dockerfile comment\napk add --no-cache make\nFROM=nothing\nEOF"
    );
    assert_eq!(
        texts[3],
        "COPY <<'conf' <<-script /etc/app/\nkey = \"$NAME\"\nCOPY . /never\nconf\n\t#!/bin/sh\n\techo \"${NAME}\"\nscript"
    );
    assert_eq!(texts[4], "RUN python3 - <<PY > /tmp/out\nprint(\"<<END\")\nPY");
    assert_eq!(texts.len(), 7);
    let trigger = run("FROM a AS x\nONBUILD COPY <<E b /x/\nCOPY . /\nE\nFROM x").unwrap();
    assert_eq!(reads(&trigger), "b");
    assert_eq!(trigger.instructions[1].text, "ONBUILD COPY <<E b /x/\nCOPY . /\nE");
    let needs: Vec<_> = trigger.needs.iter().map(|need| (need.kind.clone(), need.at.line)).collect();
    assert_eq!(needs, [(NeedKind::Heredoc, 2)]);
}

#[test]
fn errors_say_where_and_what() {
    for (text, target, expect) in [
        ("", "", "Dockerfile:1:1: no FROM, so there is nothing to build"),
        ("# only\n", "", "Dockerfile:2:1: no FROM, so there is nothing to build"),
        ("RUN x", "", "Dockerfile:1:1: RUN comes before the first FROM"),
        ("FROM a\n  RUM x", "", "Dockerfile:2:3: unknown instruction `RUM` (did you mean `RUN`?)"),
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
        ("FROM a\nRUN \\\n  --mount=typ=bind x", "", "Dockerfile:3:3: unexpected key `typ` in --mount"),
        ("FROM a\nRUN --mount=type=bnd x", "", "Dockerfile:2:5: unsupported mount type `bnd`"),
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
