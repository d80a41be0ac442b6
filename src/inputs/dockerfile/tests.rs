//! Tables over whole Dockerfiles, real ones in `testdata/dockerfiles` first.

mod errors;
mod reads;
mod unknown;

use std::collections::BTreeMap;

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
            let paths = sources.iter().map(|source| {
                let except: String = source.exclude.iter().map(|pattern| format!("-{pattern}")).collect();
                match &source.shape {
                    Shape::Plain => format!("{}{except}", source.path),
                    Shape::Glob => format!("{}*{except}", source.path),
                    Shape::Parents(pattern) => format!("{}//{pattern}{except}", source.path),
                }
            });
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
            (FindingKind::CacheMount, 3, "/go/pkg/mod".to_owned()),
            (FindingKind::CacheMount, 9, "registry-${PROFILE}".to_owned()),
            (FindingKind::CacheMount, 9, "/src/target".to_owned()),
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
fn the_frontend_is_rewritten_where_it_is_named() {
    let digest = format!("m.example/f@{}", crate::model::Digest::of(b""));
    for (text, arg, name, expect) in [
        ("# syntax=docker/dockerfile:1\nFROM a", "", "docker/dockerfile:1", "# syntax=@\nFROM a"),
        (
            "# escape=`\n#  SYNTAX = x/y:1 more x/y:1\nFROM x/y:1",
            "",
            "x/y:1",
            "# escape=`\n#  SYNTAX = @ more x/y:1\nFROM @",
        ),
        // What the argument names is not in the file.
        ("# syntax=x\nFROM a", "y:2 z", "y:2", "# syntax=x\nFROM a"),
        ("FROM a", "y:2", "y:2", "FROM a"),
    ] {
        let args: &[(&str, &str)] = if arg.is_empty() { &[] } else { &[("BUILDKIT_SYNTAX", arg)] };
        let file = source(text);
        let analysis = analyse(&file, &inputs("", args, &[])).unwrap();
        assert_eq!(analysis.frontend.as_ref().unwrap().name, name, "{text}");
        let replacements = BTreeMap::from([(ImageOrigin::Outside(name.to_owned()), digest.clone())]);
        let sent = rewrite(&file, &analysis, &replacements).unwrap();
        assert_eq!(String::from_utf8(sent).unwrap(), expect.replace('@', &digest), "{text}");
        let raw = analysis.instructions.iter().any(|one| one.text == text);
        assert_eq!(raw, !is_docker_frontend(name), "{text}");
    }
    assert_eq!(run("FROM a").unwrap().frontend, None);
}
