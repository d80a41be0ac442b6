//! GitHub Actions, and Forgejo and Gitea, which take over its variables and its event files
//! (docs.github.com, "Variables reference", "Events that trigger workflows", "Webhook events
//! and payloads").

use serde_json::Value;

use super::facts::{Ci, Trust, Variables, commit, number, run_id};
use crate::model::printable;

/// What only somebody with write access to the repository can cause, or the repository itself.
const OURS: [&str; 7] =
    ["push", "create", "release", "schedule", "workflow_dispatch", "repository_dispatch", "merge_group"];
/// What an app or a workflow causes for a ref, which may be a fork's.
const DEPLOYMENTS: [&str; 2] = ["deployment", "deployment_status"];
/// What a pull request causes; the payload says where it comes from.
const CHANGES: [&str; 4] =
    ["pull_request", "pull_request_target", "pull_request_review", "pull_request_review_comment"];
/// GitHub gives runs that this one causes a token that reads, as it does those of forks.
const DEPENDABOT: &str = "dependabot[bot]";

/// Reads a run of GitHub Actions or of what resembles it.
pub fn read(service: &'static str, variable: Variables<'_>, event: Option<&Value>) -> Ci {
    let name = variable("GITHUB_EVENT_NAME").unwrap_or_default();
    let payload = event.unwrap_or(&Value::Null);
    let (fork, trust) = trust(&name, payload, variable("GITHUB_ACTOR").as_deref());
    let prefix = match service {
        "forgejo" => "fj-",
        "gitea" => "gt-",
        _ => "gh-",
    };
    let attempt = number(variable("GITHUB_RUN_ATTEMPT")).and_then(|attempt| attempt.try_into().ok());
    let is_tag = variable("GITHUB_REF_TYPE").is_some_and(|kind| kind == "tag");
    let reference = variable("GITHUB_REF_NAME");
    Ci {
        run: run_id(prefix, variable("GITHUB_RUN_ID")).map(|run| (run, attempt.unwrap_or(1))),
        revision: commit(variable("GITHUB_SHA")),
        time: payload
            .pointer("/head_commit/timestamp")
            .and_then(Value::as_str)
            .and_then(|at| at.parse().ok()),
        branch: variable("GITHUB_HEAD_REF").or_else(|| reference.clone().filter(|_| !is_tag)),
        tag: reference.filter(|_| is_tag),
        change: change(payload),
        fork,
        // Whoever ran it again, where that is told, did so with their own rights.
        actor: ["GITHUB_TRIGGERING_ACTOR", "GITHUB_ACTOR"].into_iter().find_map(variable),
        event: Some(name).filter(|name| !name.is_empty()),
        ..Ci::of(service, trust)
    }
}

fn change(payload: &Value) -> Option<u64> {
    let places = ["/pull_request/number", "/workflow_run/pull_requests/0/number"];
    places.iter().find_map(|place| payload.pointer(place)?.as_u64())
}

/// Decides by the event; also tells whether it comes from a fork.
fn trust(name: &str, payload: &Value, actor: Option<&str>) -> (Option<bool>, Trust) {
    let no = |why: String| Trust::Untrusted(why);
    let sender = payload.pointer("/sender/login").and_then(Value::as_str);
    let is_dependabot = [actor, sender].contains(&Some(DEPENDABOT));
    let (fork, trust) = if OURS.contains(&name) {
        (Some(false), Trust::Trusted)
    } else if CHANGES.contains(&name) {
        let here = payload.pointer("/pull_request/base/repo").or_else(|| payload.get("repository"));
        change_from(payload.pointer("/pull_request/head/repo"), here, "the pull request")
    } else if name == "workflow_run" {
        after(payload)
    } else if DEPLOYMENTS.contains(&name) {
        deployed(payload)
    } else {
        (None, no(format!("anybody may be able to cause the event `{}`", printable(name, 40))))
    };
    if is_dependabot && !matches!(trust, Trust::Untrusted(_)) {
        return (fork, no("Dependabot caused it".to_owned()));
    }
    (fork, trust)
}

/// A deployment is what the run that made it was, and what the pull requests of its commit are. It
/// names a ref, which says nothing: a commit of a fork can be deployed, and a fork's branch may have
/// any name.
fn deployed(payload: &Value) -> (Option<bool>, Trust) {
    if payload.get("workflow_run").is_some_and(|run| !run.is_null()) {
        return after(payload);
    }
    let requests = ["/check_run/pull_requests", "/workflow_run/pull_requests", "/deployment/pull_requests"];
    let requests = requests.iter().filter_map(|place| payload.pointer(place)?.as_array()).flatten();
    for request in requests {
        let here = request.pointer("/base/repo").or_else(|| payload.get("repository"));
        let (fork, trust) = change_from(request.pointer("/head/repo"), here, "what is deployed");
        if trust != Trust::Trusted {
            return (fork, trust);
        }
    }
    let why = "the event file does not say which repository what is deployed comes from";
    (None, Trust::Unknown(why.to_owned()))
}

/// A run after another one is what that one was: its write token is what attacks are after.
fn after(payload: &Value) -> (Option<bool>, Trust) {
    let run = payload.get("workflow_run").unwrap_or(&Value::Null);
    let (fork, trust) =
        change_from(run.get("head_repository"), payload.get("repository"), "the workflow run before");
    let first = run.get("event").and_then(Value::as_str).unwrap_or_default();
    let is_known = OURS.contains(&first) || CHANGES.contains(&first);
    let actor = run.pointer("/actor/login").and_then(Value::as_str);
    match trust {
        Trust::Trusted if !is_known => {
            let why = format!("the workflow run before was caused by `{}`", printable(first, 40));
            (fork, Trust::Untrusted(why))
        }
        Trust::Trusted if actor == Some(DEPENDABOT) => {
            (fork, Trust::Untrusted("Dependabot caused the workflow run before".to_owned()))
        }
        trust => (fork, trust),
    }
}

/// Compares the repository that a change comes from with the one it goes to. A repository that
/// was deleted since is `null`, and was a fork.
fn change_from(head: Option<&Value>, here: Option<&Value>, what: &str) -> (Option<bool>, Trust) {
    let field = |repository: Option<&Value>, name: &str| {
        repository.and_then(|one| one.get(name)).filter(|value| !value.is_null()).cloned()
    };
    let same = |name: &str| field(head, name).zip(field(here, name)).map(|(head, here)| head == here);
    // An id stays when a repository is renamed; a name can be given to another one.
    match same("id").or_else(|| same("full_name")) {
        Some(true) => (Some(false), Trust::Trusted),
        Some(false) => (Some(true), Trust::Untrusted(format!("{what} comes from a fork"))),
        None if head.is_some_and(Value::is_null) => {
            (Some(true), Trust::Untrusted(format!("{what} comes from a repository that is gone")))
        }
        None => (None, Trust::Untrusted(format!("the event file does not say where {what} comes from"))),
    }
}
