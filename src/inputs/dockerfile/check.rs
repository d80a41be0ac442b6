//! What every frontend refuses: found here before a build, and before the parents are built.

use std::sync::LazyLock;

use regex::Regex;

use super::error::DockerfileError;
use super::flags;
use super::globals::Globals;
use super::instruction::Instruction;
use super::scope::{Scope, environment};
use super::shell::Lexer;
use super::source::DockerfileSource;

/// Checks one instruction, and the one after `ONBUILD`.
pub(super) fn instruction(
    source: &DockerfileSource,
    instruction: &Instruction,
    scope: &Scope,
    escape: char,
    is_own: bool,
) -> Result<(), DockerfileError> {
    flags::check(source, instruction, is_own)?;
    arguments(instruction, scope, escape)
        .map_err(|reason| DockerfileError::Syntax { at: source.at(instruction.start), reason })?;
    match &instruction.trigger {
        // Nothing is known of the variables of the build that it runs in.
        Some(trigger) => self::instruction(source, trigger, &Scope::new(true), escape, is_own),
        None => Ok(()),
    }
}

fn arguments(instruction: &Instruction, scope: &Scope, escape: char) -> Result<(), String> {
    let keyword = instruction.keyword;
    let is_empty = match &instruction.json {
        Some(words) => words.is_empty(),
        None => instruction.args.is_empty(),
    };
    match keyword {
        "EXPOSE" | "HEALTHCHECK" | "SHELL" | "VOLUME" if is_empty => {
            return Err(format!("{keyword} requires at least one argument"));
        }
        "MAINTAINER" | "STOPSIGNAL" | "USER" | "WORKDIR" if is_empty => {
            return Err(format!("{keyword} requires exactly one argument"));
        }
        _ => {}
    }
    match keyword {
        "ENV" | "LABEL" => environment(instruction, escape).map(|_| ()),
        "EXPOSE" => instruction.words().into_iter().try_for_each(|word| {
            let expansion = scope.expand(escape, &instruction.logical.text[word])?;
            if expansion.unknown.is_some() {
                return Ok(());
            }
            expansion.words.iter().try_for_each(|word| port(word))
        }),
        "HEALTHCHECK" => healthcheck(instruction),
        "SHELL" if instruction.json.is_none() => {
            Err("SHELL requires its arguments as a JSON array".to_owned())
        }
        "STOPSIGNAL" => {
            let expansion = scope.expand(escape, instruction.args_text())?;
            if expansion.unknown.is_some() || is_signal(&expansion.text) {
                return Ok(());
            }
            Err(format!("`{}` is no signal", expansion.text))
        }
        "VOLUME" if instruction.json.iter().flatten().any(String::is_empty) => {
            Err("a volume cannot be an empty string".to_owned())
        }
        _ => Ok(()),
    }
}

/// Checks what `FROM --platform` is given (containerd, `platforms.Parse`): one to three parts,
/// of which one alone has to be the name of a system or an architecture.
pub(super) fn platform(written: &str, globals: &Globals, escape: char) -> Result<(), String> {
    const NAMES: [&str; 34] = [
        "aix",
        "android",
        "darwin",
        "dragonfly",
        "freebsd",
        "hurd",
        "illumos",
        "ios",
        "js",
        "linux",
        "macos",
        "netbsd",
        "openbsd",
        "plan9",
        "solaris",
        "wasip1",
        "windows",
        "zos",
        "386",
        "amd64",
        "arm",
        "arm64",
        "loong64",
        "mips",
        "mips64",
        "mips64le",
        "mipsle",
        "ppc64",
        "ppc64le",
        "riscv64",
        "s390x",
        "wasm",
        "sparc64",
        "riscv",
    ];
    const OTHERWISE: [&str; 8] = ["aarch64", "armel", "armhf", "i386", "x86-64", "x86_64", "nacl", "armbe"];
    let expansion = Lexer::new(escape).expand(written, globals)?;
    if expansion.unknown.is_some() {
        return Ok(());
    }
    let parts: Vec<&str> = expansion.text.split('/').collect();
    let is_word = |part: &&str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.()".contains(&byte))
    };
    let lower = expansion.text.to_lowercase();
    let is_known = parts.len() > 1 || NAMES.contains(&&*lower) || OTHERWISE.contains(&&*lower);
    if parts.len() <= 3 && parts.iter().all(is_word) && is_known {
        return Ok(());
    }
    let text = expansion.text;
    Err(format!("`--platform={written}`: `{text}` is no platform; expected one such as linux/amd64"))
}

/// `[[ADDRESS:]PORTS:]PORTS[/PROTOCOL]` (go-connections, `nat.ParsePortSpec`). What stands
/// before the last colon means nothing in a Dockerfile and is not looked at.
fn port(word: &str) -> Result<(), String> {
    let (ports, protocol) = word.split_once('/').unwrap_or((word, ""));
    let protocol = protocol.split('/').next().unwrap_or_default().to_lowercase();
    if !matches!(protocol.as_str(), "" | "tcp" | "udp" | "sctp") {
        return Err(format!("`{word}`: `{protocol}` is none of tcp, udp and sctp"));
    }
    let ports = ports.rsplit(':').next().unwrap_or_default();
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let number = |text: &str| {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|_| is_plain)
    };
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => Ok(()),
        _ => Err(format!("`{word}` is no port; ports are 0 to 65535")),
    }
}

fn healthcheck(instruction: &Instruction) -> Result<(), String> {
    let text = instruction.args_text();
    let (kind, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    match kind.to_uppercase().as_str() {
        "NONE" if rest.trim().is_empty() => {}
        "NONE" => return Err("HEALTHCHECK NONE takes no arguments".to_owned()),
        "CMD" if rest.trim().is_empty() => {
            return Err("a command is missing after HEALTHCHECK CMD".to_owned());
        }
        "CMD" => {}
        _ => return Err(format!("`{kind}` is no kind of HEALTHCHECK; write CMD or NONE")),
    }
    for flag in instruction.flags.iter().filter(|flag| !flag.value.is_empty()) {
        let (name, value) = (&flag.name, &flag.value);
        match name.as_str() {
            "retries" if value.parse::<u32>().is_err() => {
                return Err(format!("`--retries={value}` is no number of times"));
            }
            "interval" | "timeout" | "start-period" | "start-interval" if !is_interval(value) => {
                return Err(format!("`--{name}={value}` is no time of at least 1ms, such as 30s or 1m30s"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// A duration as Go writes it: zero, or at least a millisecond.
fn is_interval(text: &str) -> bool {
    static PART: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"^(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)").ok());
    let Some(part) = PART.as_ref() else { return true };
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return true;
    }
    let mut milliseconds = 0.0;
    while let Some(found) = part.captures(rest) {
        let number: f64 = found[1].parse().unwrap_or_default();
        milliseconds += number
            * match &found[2] {
                "ns" => 1e-6,
                "ms" => 1.0,
                "s" => 1e3,
                "m" => 6e4,
                "h" => 3.6e6,
                _ => 1e-3,
            };
        rest = &rest[found[0].len()..];
    }
    rest.is_empty() && rest.len() < text.len() && (milliseconds == 0.0 || milliseconds >= 1.0)
}

/// A signal of Linux by number or name (moby, `pkg/signal`).
fn is_signal(text: &str) -> bool {
    const NAMES: [&str; 36] = [
        "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL",
        "PIPE", "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP",
        "TTIN", "TTOU", "UNUSED", "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "EMT",
    ];
    if let Ok(number) = text.parse::<i64>() {
        return number != 0;
    }
    let upper = text.to_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    NAMES.contains(&name) || name.starts_with("RTMIN") || name.starts_with("RTMAX")
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use crate::inputs::{BoxInputs, DockerfileSource, analyse};

    fn run(text: &str) -> Result<Vec<String>, String> {
        let inputs = BoxInputs {
            target: None,
            platform: "linux/amd64".parse().unwrap(),
            args: BTreeMap::new(),
            contexts: BTreeSet::new(),
            parents: BTreeMap::new(),
        };
        let source = DockerfileSource::new("D", text.as_bytes()).unwrap();
        let analysis = analyse(&source, &inputs).map_err(|error| error.to_string())?;
        Ok(analysis.needs.iter().map(|need| format!("{}: {}", need.at, need.kind)).collect())
    }

    /// What Docker Engine 20.10 says of each was seen by building it.
    #[test]
    fn what_an_engine_refuses_is_refused_first() {
        for (body, expect) in [
            ("COPY --chown f /", "D:2:6: `--chown` needs a value"),
            ("COPY --chown=1 --chown=2 f /", "D:2:16: `--chown` is given twice"),
            ("COPY --CHOWN=1 f /", "D:2:6: COPY takes no flag `--CHOWN` (did you mean `--chown`?)"),
            ("COPY --bogus f /", "D:2:6: COPY takes no flag `--bogus`"),
            ("COPY --checksum=x f /", "D:2:6: COPY takes no flag `--checksum`"),
            ("COPY --link=no f /", "D:2:6: `--link` takes `true` or `false`, not `no`"),
            ("ADD --from=x f /", "D:2:5: ADD takes no flag `--from`"),
            ("CMD --bogus x", "D:2:5: CMD takes no flag `--bogus`"),
            ("ENV --b A=1", "D:2:5: ENV takes no flag `--b`"),
            ("ENV =1", "D:2:1: ENV names cannot be blank"),
            ("EXPOSE", "D:2:1: EXPOSE requires at least one argument"),
            ("EXPOSE 80 99999999", "D:2:1: `99999999` is no port"),
            ("EXPOSE 80-70", "D:2:1: `80-70` is no port"),
            ("EXPOSE 80/foo", "D:2:1: `80/foo`: `foo` is none of"),
            ("EXPOSE x", "D:2:1: `x` is no port"),
            ("EXPOSE 80:", "D:2:1: `80:` is no port"),
            ("EXPOSE +80", "D:2:1: `+80` is no port"),
            ("ENV P=65536\nEXPOSE $P", "D:3:1: `65536` is no port"),
            ("HEALTHCHECK", "D:2:1: HEALTHCHECK requires at least one argument"),
            ("HEALTHCHECK --bad CMD x", "D:2:13: HEALTHCHECK takes no flag `--bad`"),
            ("HEALTHCHECK none x", "D:2:1: HEALTHCHECK NONE takes no arguments"),
            ("HEALTHCHECK --interval=5 CMD x", "D:2:1: `--interval=5` is no time"),
            ("HEALTHCHECK --interval=0.5ms CMD x", "D:2:1: `--interval=0.5ms` is no time"),
            ("HEALTHCHECK --interval=-5s CMD x", "D:2:1: `--interval=-5s` is no time"),
            ("HEALTHCHECK --retries=x CMD x", "D:2:1: `--retries=x` is no number"),
            ("HEALTHCHECK CMD", "D:2:1: a command is missing"),
            ("HEALTHCHECK SHELL x", "D:2:1: `SHELL` is no kind"),
            ("LABEL", "D:2:1: LABEL requires at least one argument"),
            ("LABEL a", "D:2:1: LABEL must have two arguments"),
            ("MAINTAINER", "D:2:1: MAINTAINER requires exactly one argument"),
            ("ONBUILD", "D:2:1: ONBUILD requires at least one argument"),
            ("ONBUILD --x RUN y", "D:2:9: ONBUILD takes no flag `--x`"),
            ("ONBUILD COPY --bogus a /", "D:2:14: COPY takes no flag `--bogus`"),
            ("ONBUILD EXPOSE 999999", "D:2:9: `999999` is no port"),
            ("RUN --bogus x", "D:2:5: RUN takes no flag `--bogus`"),
            ("RUN --mount x", "D:2:5: unexpected key `` in --mount"),
            ("SHELL x", "D:2:1: SHELL requires its arguments as a JSON array"),
            ("SHELL []", "D:2:1: SHELL requires at least one argument"),
            ("STOPSIGNAL x", "D:2:1: `x` is no signal"),
            ("USER", "D:2:1: USER requires exactly one argument"),
            ("VOLUME []", "D:2:1: VOLUME requires at least one argument"),
            ("VOLUME [\"\"]", "D:2:1: a volume cannot be an empty string"),
            ("WORKDIR --x /a", "D:2:9: WORKDIR takes no flag `--x`"),
        ] {
            let error = run(&format!("FROM a\n{body}\n")).expect_err(body);
            assert!(error.starts_with(expect), "{body}: {error}");
            let line = body.lines().last().unwrap();
            assert!(error.contains(&format!(" | {line}\n")), "{body}: {error}");
        }
        let error = run("FROM --bogus a").unwrap_err();
        assert!(error.starts_with("D:1:6: FROM takes no flag `--bogus`"), "{error}");
        for bad in ["bogus", "linux/amd64/v2/x", "linux/a*", "*", "$NOPE", "linux/amd64:x", "windows/"] {
            let error = run(&format!("FROM --platform={bad} a")).expect_err(bad);
            let expect = format!("D:1:6: `--platform={bad}`: `{}` is no", bad.replace("$NOPE", ""));
            assert!(error.starts_with(&expect), "{error}");
        }
    }

    #[test]
    fn what_an_engine_takes_is_taken() {
        for body in [
            "ADD --chown=1:1 --chmod=644 f /",
            "COPY --chmod=u+x --chown= --from= f /",
            "ARG --bogus X=1",
            "CMD []",
            "ENTRYPOINT",
            "EXPOSE 0 080 80-90 80/TCP 80/ 80/tcp/udp :80 70:80 1.2.3.4:80:90/udp 80/sctp $UNKNOWN",
            "HEALTHCHECK --interval=5s NONE",
            "HEALTHCHECK --start-period=1m --timeout=1h1.5s --interval=0s --retries=3 CMD x",
            "LABEL a b",
            "MAINTAINER a b",
            "STOPSIGNAL --x 9",
            "STOPSIGNAL SIGTERM",
            "STOPSIGNAL rtmin+1",
            "USER a b",
            "WORKDIR $UNKNOWN",
            "RUN --mount=type=tmpfs,target=/x --mount=type=cache,target=/y x",
            "ADD https://x/y.git/z https://x/y.gitx http://x/y?z=.git /",
        ] {
            assert_eq!(run(&format!("FROM a\n{body}\n")), Ok(vec![]), "{body}");
        }
        for platform in ["linux", "Linux/AMD64", "linux/bogus", "macos", "x86_64", "''", "$TARGETPLATFORM"] {
            assert_eq!(run(&format!("FROM --platform={platform} a\n")), Ok(vec![]), "{platform}");
        }
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
            assert_eq!(run(&format!("FROM a\n{body}\n")), Ok(vec![expect.to_owned()]), "{body}");
        }
        // Another stage's needs are none of the box's.
        assert_eq!(run("FROM a AS x\nRUN <<E\nE\nFROM b"), Ok(vec![]));
    }
}
