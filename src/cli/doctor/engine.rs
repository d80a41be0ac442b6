//! The container engine: whether it answers, can build, and has room.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use super::check::{Check, bounded};
use super::settings::Found;
use crate::adapter::engine::DockerEngine;
use crate::cli::error::exit;
use crate::cli::session;
use crate::config::host_platform;
use crate::exec::{ResolvedBox, unmet};
use crate::model::size;
use crate::port::{Builder as _, DiskSpace, EngineError, ImageStore as _};

/// Less room than this lets most builds fail, in bytes.
pub const LITTLE: u64 = 2_000_000_000;
/// Less room than this lets nearly every build fail, in bytes.
pub const NONE: u64 = 200_000_000;

pub async fn look(found: &Found) -> Vec<Check> {
    let engine = match session::engine_alone() {
        Ok(engine) => engine,
        // Credentials cannot be read, which is told there.
        Err(error) => return vec![Check::problem("engine", exit::USAGE, error.text(), "see credentials")],
    };
    let version = match bounded("engine", engine.check()).await {
        Ok(Ok(version)) => version,
        Ok(Err(error)) => return vec![absent(&error)],
        Err(late) => return vec![late],
    };
    let mut checks = vec![Check::ok("engine", format!("Docker Engine {version} at {}", engine.address()))];
    checks.push(bounded("BuildKit", sessions(&engine)).await.unwrap_or_else(|late| late));
    checks.extend(found.keyed.as_ref().map(|keyed| frontend(&version, keyed)));
    checks.push(bounded("engine's disk", disk(&engine)).await.unwrap_or_else(|late| late));
    checks
}

async fn sessions(engine: &DockerEngine) -> Check {
    match engine.try_session(host_platform()).await {
        Ok(()) => Check::ok("BuildKit", "opens build sessions"),
        Err(error) => Check::problem(
            "BuildKit",
            exit::UNREACHABLE,
            error.to_string(),
            "builds need the BuildKit inside Docker Engine 20.10 or later, on Linux; is a proxy before its socket?",
        ),
    }
}

fn frontend(version: &str, keyed: &[ResolvedBox]) -> Check {
    match unmet(version, keyed.iter()) {
        None => Check::ok("Dockerfiles", "they need nothing that this engine cannot do"),
        Some(unmet) => Check::problem(
            "Dockerfiles",
            exit::FAILED,
            unmet.to_string(),
            "use a later engine, or begin the Dockerfile with a line such as `# syntax=docker/dockerfile:1`",
        ),
    }
}

async fn disk(engine: &DockerEngine) -> Check {
    match engine.room().await {
        Ok(Some(room)) => self::room(
            "engine's disk",
            &room,
            "`docker system df` says what takes it, `docker system prune` frees some",
        ),
        Ok(None) => Check::ok("engine's disk", "its data is not on this machine, as far as can be seen"),
        Err(error) => Check::warning("engine's disk", error.to_string(), "is the engine overloaded?"),
    }
}

/// Judges how much room there is.
pub fn room(check: &'static str, DiskSpace { path, free }: &DiskSpace, remedy: &str) -> Check {
    let finding = format!("{} free for {}", size(*free), path.display());
    match *free {
        free if free < NONE => Check::problem(check, exit::FAILED, finding, remedy),
        free if free < LITTLE => Check::warning(check, finding, remedy),
        _ => Check::ok(check, finding),
    }
}

/// Says why there is no engine, and how there will be one.
fn absent(error: &EngineError) -> Check {
    let remedy = match error {
        EngineError::Unreachable { address, detail } => match address.split_once("://") {
            Some(("unix", path)) => socket(Path::new(path), detail),
            Some(("tcp" | "http", _)) => {
                "does an engine listen there, without TLS? DOCKER_HOST names another one".to_owned()
            }
            _ => {
                "DOCKER_HOST takes unix:///path or tcp://host:port; without it /var/run/docker.sock is meant"
                    .to_owned()
            }
        },
        EngineError::TooOld { .. } => "install Docker Engine 20.10 or later".to_owned(),
        _ => "`docker version` asks it the same".to_owned(),
    };
    Check::problem("engine", exit::UNREACHABLE, error.to_string(), remedy)
}

/// Says what is the matter with a socket.
fn socket(path: &Path, detail: &str) -> String {
    let start = "start the engine (`sudo systemctl start docker`), or name another one by DOCKER_HOST";
    match path.metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            format!("{} cannot be looked at: a directory above it is closed to you", path.display())
        }
        Err(_) => format!("there is no {}; {start}", path.display()),
        Ok(found) if !found.file_type().is_socket() => format!("{} is no socket", path.display()),
        Ok(found) if detail.contains("ermission denied") => {
            let groups = std::fs::read_to_string("/etc/group").unwrap_or_default();
            let group = group_name(&groups, found.gid());
            match group {
                Some("root") | None => {
                    format!("the socket belongs to group {} alone; ask whoever runs the engine", found.gid())
                }
                Some(group) => format!(
                    "its socket belongs to the group {group}, and you are not in it: \
                     `sudo usermod -aG {group} \"$USER\"`, then log in again"
                ),
            }
        }
        Ok(_) => format!("the socket is there and nobody answers; {start}"),
    }
}

/// Finds a group's name in the text of `/etc/group` (group(5)).
fn group_name(groups: &str, gid: u32) -> Option<&str> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(gid)).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn groups_are_found_by_number() {
        let groups = "root:x:0:\ndocker:x:998:ann,bob\nbad\nusers:x:100:\n";
        assert_eq!(group_name(groups, 998), Some("docker"));
        assert_eq!(group_name(groups, 99), None);
    }

    #[test]
    fn room_is_judged_by_what_is_free() {
        let judged = |free| room("x", &DiskSpace { path: "/d".into(), free }, "free some");
        assert_eq!(judged(LITTLE), Check::ok("x", "2.0 GB free for /d"));
        assert_eq!(judged(LITTLE - 1).state, State::Warning);
        assert_eq!((judged(NONE - 1).state, judged(NONE - 1).code), (State::Problem, exit::FAILED));
    }
}
