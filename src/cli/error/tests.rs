//! Tables: how each error ends the process, by the table of codes, and what it says to do next.

use super::*;
use crate::adapter::archive::{BadArchive, Fault};
use crate::adapter::credentials::SettingError;
use crate::adapter::git::{Refused, RevisionError, Unread};
use crate::config::ConfigError;
use crate::exec::{
    BuildError, CleanError, CopyError, ExplainError, ExportError, ImportError, KeysError, LedgerError,
    LockError, NoSecret, PackError, PromoteError, ProtectError, RebuildError, RunError, Unanswered,
    UnmetRequirements,
};
use crate::inputs::{At, DockerfileSource};
use crate::model::{ArchiveError, Digest, PromotionId, Repository, Tag};
use crate::plan::Refusal;
use crate::port::{ContextError, EngineError, Failure, RegistryError, RemoteError, SecretError};

fn text() -> String {
    "x".to_owned()
}

fn tag() -> Tag {
    "main".parse().unwrap()
}

fn repository() -> Repository {
    Repository::new("r.example", "x").unwrap()
}

fn at() -> At {
    DockerfileSource::new("Dockerfile", b"\n\nx").unwrap().at(2)
}

fn config(hint: Option<&str>) -> ConfigError {
    let (file, hint) = ("boxwright.toml".to_owned(), hint.map(str::to_owned));
    ConfigError { file, line: 2, column: 1, text: text(), message: text(), hint }
}

fn full() -> io::Error {
    io::ErrorKind::StorageFull.into()
}

fn failing(failure: Failure) -> RegistryError {
    RegistryError { request: "HEAD https://r.example/v2/x/manifests/1".to_owned(), failure }
}

fn unauthorized() -> RegistryError {
    failing(Failure::Unauthorized { detail: text() })
}

fn denied() -> RegistryError {
    failing(Failure::Denied { detail: text() })
}

fn silent() -> RegistryError {
    failing(Failure::Unreachable { detail: text() })
}

fn unknown(wants_login: bool) -> Unanswered {
    let error = if wants_login { unauthorized() } else { silent() };
    Unanswered { name: text(), error: error.into() }
}

fn remote() -> RemoteError {
    RemoteError { source_name: text(), detail: text(), is_refused: false }
}

fn no_secret(source: SecretError) -> NoSecret {
    NoSecret { name: text(), what: text(), source }
}

fn archive(source: Fault) -> BadArchive {
    BadArchive { path: "a.tar".into(), source }
}

/// `hint` is a part of what is said to do next; nothing where nothing is said.
#[track_caller]
fn check(error: impl Into<CliError>, code: u8, hint: &str) {
    let error = error.into();
    assert_eq!(error.exit_code(), code, "{error:?}");
    let said = error.explain().hint.unwrap_or_default();
    assert_eq!(said.is_empty(), hint.is_empty(), "{error:?}: {said}");
    assert!(said.contains(hint), "{error:?}: {said}");
}

#[test]
fn settings_and_what_the_caller_wrote() {
    let io = |source| CliError::Io { action: "read", path: "x".into(), source };
    let unknown =
        |name: &str| CliError::Unknown { what: "box", name: name.to_owned(), known: vec!["base".to_owned()] };
    check(CliError::NoConfig { directory: "x".into() }, 2, "`boxwright init` writes one");
    check(config(Some("mend it")), 2, "mend it");
    check(config(None), 2, "");
    check(io(io::ErrorKind::NotFound.into()), 2, "");
    check(io(full()), 1, "`df` says");
    check(CliError::Output(full()), 1, "`df` says");
    check(CliError::Usage(text()), 2, "");
    check(unknown("bse"), 2, "did you mean `base`? boxwright.toml declares base");
    check(unknown("quite else"), 2, "boxwright.toml declares base");
    check(SettingError::HalfAPair, 2, "");
    check(CliError::OtherTrust { revision: text(), what: text() }, 21, "check that revision out");
    check(CliError::Untrusted { what: "x", why: text() }, 21, "from your own terminal");
    check(CliError::NoPush, 21, "need the right to push");
    check(CliError::Moved, 21, "plan from what stands now");
    check(CliError::CutOff, 1, "");
    check(CliError::Interrupted, 130, "");
    check(RevisionError::Unknown { revision: text(), detail: text() }, 2, "git fetch --unshallow");
    check(RevisionError::Unread(Unread::NoProgram), 21, "install git");
    check(RevisionError::NoRepository { directory: "x".into() }, 2, "");
    check(RevisionError::Refused { revision: text(), source: Refused::Odd("x") }, 21, "");
}

#[test]
fn keys_and_the_lock() {
    let (name, what, id) = (text, "secret", text);
    let file = || "x".into();
    let read = |kind: io::ErrorKind| KeysError::Context {
        name: text(),
        source: ContextError::Io { action: "read", path: "x".into(), source: kind.into() },
    };
    check(KeysError::NoDockerfile { name: name(), path: file() }, 2, "says where it is");
    check(KeysError::NoContext { name: name(), path: file() }, 2, "from boxwright.toml");
    check(KeysError::Outside { name: name(), path: file(), root: file() }, 2, "in or below the directory");
    check(
        KeysError::NothingMatches { name: name(), at: at(), pattern: text(), leads: None },
        2,
        ".dockerignore excludes",
    );
    check(read(io::ErrorKind::PermissionDenied), 1, "leave it out of the context");
    check(read(io::ErrorKind::NotFound), 1, "");
    check(KeysError::PinFile { pin: name(), source: config(None) }, 2, "relative to boxwright.toml");
    check(KeysError::PinValue { pin: name(), source: config(None) }, 2, "");
    check(KeysError::NotLocked { what: text() }, 2, "run `boxwright lock`");
    check(KeysError::Unused { name: name(), file: text(), args: vec![text()] }, 2, "take it out of `args`");
    check(KeysError::Git { name: name(), paths: vec![text()] }, 2, "git-directory");
    check(KeysError::SecretSent { name: name(), id: id(), path: file() }, 2, "list it in .dockerignore");
    check(
        KeysError::Undeclared { name: name(), at: at(), what, id: id() },
        2,
        "declare it in [box.x]: secrets",
    );
    let trigger = KeysError::Trigger { name: name(), parent: text(), at: at(), from: text() };
    check(trigger, 2, "in the box's own Dockerfile");

    let image = || "debian:12".parse().unwrap();
    check(LockError::Keys(KeysError::NoContext { name: text(), path: file() }), 2, "");
    check(LockError::Registry { image: image(), source: silent() }, 20, "nothing was written");
    check(LockError::NoImage { image: image() }, 1, "");
    check(LockError::Remote { pin: text(), source: remote() }, 20, "nothing was written");
    check(LockError::NoRef { pin: text(), url: text(), reference: text() }, 1, "nothing was written");
}

#[test]
fn builds_and_the_engine() {
    let no_room = || BuildError::NoRoom { path: "x".into(), free: 1 };
    let beyond = || UnmetRequirements { version: text(), places: Vec::new() };
    let engine = || EngineError::Unreachable { address: text(), detail: text() };
    check(BuildError::Unknown(unknown(false)), 20, "check the address, the network and your login");
    check(BuildError::Unknown(unknown(true)), 20, "`docker login`");
    check(BuildError::Secret(no_secret(SecretError::Unset { variable: text() })), 2, "nothing was built");
    check(
        BuildError::Secret(no_secret(SecretError::Withheld { why: text(), hint: None })),
        21,
        "nothing was built",
    );
    check(BuildError::UnmetRequirements(beyond()), 1, "build on a later engine");
    check(no_room(), 1, "`docker system prune`");
    check(BuildError::Ledger(LedgerError::Registry(unauthorized())), 20, "`docker login`");
    check(BuildError::Ledger(LedgerError::Registry(denied())), 21, "`docker login`");
    check(BuildError::Ledger(LedgerError::Registry(silent())), 20, "`boxwright doctor`");
    check(engine(), 20, "DOCKER_HOST names another one");
    check(EngineError::TooOld { version: text(), need: text() }, 20, "`boxwright doctor`");
    check(EngineError::DiskFull { detail: text() }, 1, "`docker system df`");
    check(EngineError::Engine { action: "x", detail: text() }, 1, "");
    check(EngineError::Interrupted, 130, "");
    check(RunError::Missing { name: text(), why: text() }, 10, "run `boxwright build` first");
    check(RunError::Unknown(unknown(false)), 20, "`boxwright doctor`");
    check(RunError::Unknown(unknown(true)), 20, "`docker login`");
    check(RunError::Engine(EngineError::DiskFull { detail: text() }), 1, "`docker system df`");
    check(RebuildError::Ledger(LedgerError::Registry(unauthorized())), 20, "`docker login`");
    check(RebuildError::Unknown(unknown(false)), 20, "`boxwright doctor`");
    check(RebuildError::Unknown(unknown(true)), 20, "`docker login`");
}

#[test]
fn promotions() {
    let names = || vec![text()];
    let refused = |refusal| PromoteError::Refused(refusal);
    let set = || PromotionId { tag: tag(), seq: 1 };
    let copy = |source| PromoteError::Copy { name: text(), source };
    let digest = || Digest::of(b"x");
    check(
        PromoteError::Missing { names: names(), why: text(), channel: None },
        10,
        "run `boxwright build` on this revision",
    );
    check(PromoteError::NoSet { name: text(), why: "x" }, 10, "");
    let reserved = PromoteError::Missing { names: names(), why: text(), channel: Some("release".to_owned()) };
    check(reserved, 10, "run `boxwright build --channel release` on this revision");
    check(
        PromoteError::Gone { name: text(), digest: digest(), repository: repository() },
        10,
        "`boxwright log TAG`",
    );
    check(PromoteError::Doubtful { record: text(), name: text(), why: text() }, 21, "delete its tag");
    check(PromoteError::Going { name: text(), digest: digest(), until: text() }, 21, "when clean has ended");
    check(PromoteError::Registry(unauthorized()), 20, "`docker login`");
    check(PromoteError::Registry(denied()), 21, "`docker login`");
    check(PromoteError::Registry(failing(Failure::Unsupported { detail: text() })), 21, "");
    check(PromoteError::Registry(failing(Failure::Source { detail: text() })), 1, "");
    check(
        PromoteError::Registry(failing(Failure::Status { status: 500, detail: text() })),
        20,
        "`boxwright doctor`",
    );
    check(PromoteError::Ledger(LedgerError::Registry(unauthorized())), 20, "`docker login`");
    check(PromoteError::Unknown(unknown(true)), 20, "`docker login`");
    check(PromoteError::Lapsed { tag: tag() }, 20, "`boxwright doctor`");
    check(PromoteError::ReadOnly, 21, "need the right to push there");
    let conflict = PromoteError::Conflict { tag: tag(), name: text(), found: text(), expected: text() };
    check(conflict, 21, "to plan from what stands now");
    let (moved, left) = (names(), names());
    let error = Box::new(PromoteError::ReadOnly);
    let partly = PromoteError::Partly { tag: tag(), name: text(), error, moved, left };
    check(partly, 22, "it goes on where it stopped");
    let (moved, left) = (names(), names());
    check(PromoteError::Interrupted { tag: tag(), moved, left }, 130, "it goes on where it stopped");
    check(copy(CopyError::Registry(silent())), 20, "it goes on where it stopped");
    check(copy(CopyError::Missing { repository: repository(), what: text() }), 10, "the same command again");
    check(copy(CopyError::Contended { repository: repository(), tag: tag() }), 21, "the same command again");
    check(copy(CopyError::TooDeep { digest: digest() }), 20, "the same command again");
    let (theirs, ours) = (text, text);
    check(refused(Refusal::Older { tag: tag(), theirs: theirs(), ours: ours() }), 21, "--allow-older");
    check(refused(Refusal::Withdrawn { tag: tag(), theirs: theirs(), ours: ours() }), 21, "--allow-older");
    check(refused(Refusal::Behind { tag: tag(), theirs: set(), ours: set() }), 21, "--allow-older");
    check(
        refused(Refusal::UntagNotice { tag: tag(), since: text(), why: text() }),
        21,
        "the channel's `keep`",
    );
    check(refused(Refusal::Local { tag: tag(), names: names() }), 21, "without --source");
    check(refused(Refusal::Dirty { tag: tag() }), 21, "");
    let (now, wanted) = (digest(), digest());
    let immutable = Refusal::Immutable { tag: tag(), repository: repository(), now, wanted };
    check(refused(immutable), 21, "`boxwright log TAG`");
}

#[test]
fn cleaning() {
    let kept = "nothing was deleted";
    let share = "50%".parse().unwrap();
    check(CleanError::TooMany { going: 2, all: 3, share }, 21, "--max-delete allows more");
    check(CleanError::TooMuch { repository: text(), going: 2, all: 3 }, 21, "--max-delete 100%");
    check(CleanError::TooFew { repository: text(), left: 0, all: 1, min: 1 }, 21, kept);
    check(CleanError::NoProtector { repository: repository() }, 21, kept);
    check(CleanError::Moved { what: text() }, 21, "make a new plan");
    check(CleanError::Late, 20, kept);
    check(CleanError::Dangling { repository: repository(), tag: tag() }, 20, kept);
    check(CleanError::InvalidTag { repository: repository(), name: text() }, 20, kept);
    check(CleanError::Registry(unauthorized()), 20, "nothing was deleted; log in");
    check(CleanError::Ledger(LedgerError::Registry(unauthorized())), 20, "nothing was deleted; log in");
    check(CleanError::Registry(silent()), 20, kept);
    check(ProtectError::Unreadable(remote()), 20, kept);
    check(ProtectError::Empty { name: text() }, 21, kept);
}

#[test]
fn explaining_and_archives() {
    let key = || "0123456789abcdef0123456789abcdef".parse().unwrap();
    let missing = || ArchiveError::Missing { digest: Digest::of(b"x") };
    let packed = || PackError::Missing { digest: Digest::of(b"x") };
    let place = "--against takes a promoted tag";
    check(ExplainError::Name { text: text() }, 2, place);
    check(ExplainError::NoImage { image: text() }, 10, place);
    check(
        ExplainError::NoInputs { ledger: repository(), key: key() },
        10,
        "inputs are stored with each image",
    );
    check(ExplainError::NotOurs { repository: repository(), at: text(), why: text() }, 1, "");
    check(ExplainError::Registry(unauthorized()), 20, "`docker login`");
    check(
        ExportError::Run(RunError::Missing { name: text(), why: text() }),
        10,
        "run `boxwright build` first",
    );
    check(ExportError::Run(RunError::Unknown(unknown(true))), 20, "`docker login`");
    check(ExportError::Registry(unauthorized()), 20, "`docker login`");
    check(ExportError::Image { name: text(), source: missing() }, 1, "");
    check(ExportError::Archive(missing()), 1, "");
    check(ExportError::Pack(packed()), 1, "");
    let absent = Fault::Io { action: "open", source: io::ErrorKind::NotFound.into() };
    check(archive(absent), 2, "");
    check(archive(Fault::Empty), 1, "nothing of the archive was used");
    check(archive(Fault::Io { action: "unpack", source: full() }), 1, "TMPDIR names a disk");
    check(ImportError::Image { name: text(), why: text() }, 1, "nothing of the archive was used");
    check(ImportError::Pack(packed()), 1, "nothing of the archive was used");
    check(ImportError::Undeclared { name: text() }, 21, "");
    let (archived, wanted) = (key(), key());
    check(ImportError::OtherKey { name: text(), archived, wanted }, 21, "boxes of this very revision");
    check(ImportError::ReadOnly { why: text() }, 21, "loaded into the engine");
    check(ImportError::Build(unknown(true).into()), 20, "`docker login`");
    check(ImportError::Engine(EngineError::DiskFull { detail: text() }), 1, "`docker system df`");
}

#[test]
fn causes_are_said_once() {
    let ended = CliError::from(PromoteError::Ledger(LedgerError::Registry(silent())));
    assert_eq!(ended.text(), "cannot reach registry r.example: x");
    // Some errors say their cause themselves.
    let image = "r.example/x:1".parse().unwrap();
    let error = CliError::from(LockError::Registry { image, source: silent() });
    assert_eq!(error.text(), "image r.example/x:1 cannot be resolved: cannot reach registry r.example: x");
    let error = CliError::Io { action: "read", path: "x".into(), source: io::ErrorKind::NotFound.into() };
    assert_eq!(error.text(), "failed to read x: entity not found");
}
