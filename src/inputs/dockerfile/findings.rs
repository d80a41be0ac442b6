//! Remarks about a Dockerfile: secrets in arguments, inputs that float.

use super::instruction::Instruction;
use super::scope;

/// A remark; it does not stop a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is about.
    pub kind: FindingKind,
    /// The instruction's line, from 1; 0 for an argument of the configuration.
    pub line: u32,
    /// The name, image or address that it is about.
    pub text: String,
}

/// The kinds of remark, each with a name by which the configuration silences it. An image by
/// tag is none: the lock holds its digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FindingKind {
    /// An argument or variable that looks like a secret (docker's `SecretsUsedInArgOrEnv`).
    SecretArgument,
    /// An image by `:latest`, or without a tag.
    LatestImage,
    /// `ADD` of an address without `--checksum`.
    UncheckedAdd,
    /// An instruction or a flag that is not known here.
    Unknown,
    /// `git clone` in a `RUN`.
    GitClone,
    /// `curl` or `wget` of an address in a `RUN`.
    Download,
    /// `RUN --mount=type=cache`: what it holds is in no key.
    CacheMount,
    /// A named context that the configuration gives and no reachable stage uses.
    UnusedContext,
    /// A secret or an ssh agent that the configuration gives and no reachable stage mounts.
    UnusedSecret,
    /// A working copy in a pin's place whose files the build does not see.
    LocalSource,
    /// A context that holds `.git`, so that no two clones give the same key.
    GitDirectory,
    /// A FIFO, socket or device in what is copied, which no context can hold.
    SpecialFile,
    /// Context entries that are not as git has them.
    Dirty,
}

impl FindingKind {
    /// All kinds.
    pub const ALL: [Self; 13] = [
        Self::SecretArgument,
        Self::LatestImage,
        Self::UncheckedAdd,
        Self::Unknown,
        Self::GitClone,
        Self::Download,
        Self::CacheMount,
        Self::UnusedContext,
        Self::UnusedSecret,
        Self::LocalSource,
        Self::GitDirectory,
        Self::SpecialFile,
        Self::Dirty,
    ];

    /// Returns its name, which stays.
    pub fn name(self) -> &'static str {
        match self {
            Self::SecretArgument => "secret-argument",
            Self::LatestImage => "latest",
            Self::UncheckedAdd => "unchecked-add",
            Self::Unknown => "unknown",
            Self::GitClone => "git-clone",
            Self::Download => "download",
            Self::CacheMount => "cache-mount",
            Self::UnusedContext => "unused-context",
            Self::UnusedSecret => "unused-secret",
            Self::LocalSource => "local-source",
            Self::GitDirectory => "git-directory",
            Self::SpecialFile => "special-file",
            Self::Dirty => "dirty",
        }
    }
}

/// Remarks about one instruction.
pub(super) fn instruction(instruction: &Instruction, escape: char, out: &mut Vec<Finding>) {
    let line = instruction.line;
    let names: Vec<String> = match instruction.keyword {
        "ARG" => quoted(instruction, escape),
        "ENV" => scope::environment(instruction, escape)
            .unwrap_or_default()
            .into_iter()
            .map(|(name, _)| name)
            .collect(),
        _ => Vec::new(),
    };
    for text in names.into_iter().filter(|name| is_secret(name)) {
        out.push(Finding { kind: FindingKind::SecretArgument, line, text });
    }
    if instruction.keyword == "RUN" {
        let mut script = instruction
            .json
            .as_ref()
            .map_or_else(|| instruction.args_text().to_owned(), |json| json.join(" "));
        for heredoc in &instruction.heredocs {
            script.push('\n');
            script.push_str(&heredoc.body);
        }
        commands(&script, line, out);
    }
}

fn quoted(instruction: &Instruction, escape: char) -> Vec<String> {
    super::instruction::quoted_words(instruction.args_text(), escape)
        .into_iter()
        .map(|word| word.split('=').next().unwrap_or_default().to_owned())
        .collect()
}

/// Finds `git clone ADDRESS` and `curl … ADDRESS` in shell text.
fn commands(script: &str, line: u32, out: &mut Vec<Finding>) {
    for command in script.split(['\n', ';', '|', '&', '(', ')', '`']) {
        let mut words = command.split_whitespace().map(|word| word.trim_matches(['"', '\'']));
        while let Some(word) = words.next() {
            let program = word.rsplit('/').next().unwrap_or_default();
            let kind = match program {
                "git" => FindingKind::GitClone,
                "curl" | "wget" => FindingKind::Download,
                _ => continue,
            };
            let rest: Vec<&str> = words.by_ref().collect();
            if kind == FindingKind::GitClone && !rest.contains(&"clone") {
                break;
            }
            let address = |word: &&&str| {
                word.contains("://") || (kind == FindingKind::GitClone && word.starts_with("git@"))
            };
            let found = rest.iter().find(address).map(|address| (*address).to_owned());
            let clone = (kind == FindingKind::GitClone).then(|| "a repository".to_owned());
            out.extend(found.or(clone).map(|text| Finding { kind, line, text }));
            break;
        }
    }
}

/// Whether a name looks like that of a secret (BuildKit, `getSecretsRegex`).
pub fn is_secret(name: &str) -> bool {
    const DENY: [&str; 10] = [
        "apikey",
        "auth",
        "credential",
        "credentials",
        "key",
        "password",
        "pword",
        "passwd",
        "secret",
        "token",
    ];
    const ALLOW: [&str; 3] = ["public", "file", "version"];
    let lower = name.to_lowercase();
    let holds = |list: &[&str]| lower.split('_').any(|word| list.contains(&word));
    holds(&DENY) && !holds(&ALLOW)
}

/// Remarks about an image from outside.
pub(super) fn image(name: &str, line: u32, out: &mut Vec<Finding>) {
    if name.contains('@') {
        return;
    }
    let last = name.rsplit('/').next().unwrap_or_default();
    if matches!(last.split_once(':'), None | Some((_, "latest"))) {
        out.push(Finding { kind: FindingKind::LatestImage, line, text: name.to_owned() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_recognised_by_whole_words() {
        for (name, expect) in [
            ("GITHUB_TOKEN", true),
            ("api_key", true),
            ("DB_PASSWORD_FILE", false),
            ("PUBLIC_KEY", false),
            ("KEYBOARD", false),
            ("MONKEY", false),
            ("SECRET", true),
            ("TOKEN_VERSION", false),
        ] {
            assert_eq!(is_secret(name), expect, "{name}");
        }
    }

    #[test]
    fn floating_commands_are_found() {
        for (script, expect) in [
            ("git clone https://x/y.git", Some((FindingKind::GitClone, "https://x/y.git"))),
            ("cd a && git -C b clone $REPO", Some((FindingKind::GitClone, "a repository"))),
            ("git status", None),
            ("curl -fsSL \"https://x/y\" | sh", Some((FindingKind::Download, "https://x/y"))),
            ("apt-get install -y curl git", None),
            ("wget -q http://x", Some((FindingKind::Download, "http://x"))),
        ] {
            let mut out = Vec::new();
            commands(script, 1, &mut out);
            let got: Vec<_> = out.iter().map(|finding| (finding.kind, finding.text.as_str())).collect();
            assert_eq!(got, expect.into_iter().collect::<Vec<_>>(), "{script}");
        }
    }
}
