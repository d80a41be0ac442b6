//! Fakes of registries that have their own ways of deleting, after their public documentation.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use boxwright::adapter::credentials::{Credential, Credentials, Secret};
use boxwright::adapter::registry::{AwsKeys, HostConfig, HostSettings, HttpRegistry};
use boxwright::model::{Digest, MediaType, Provider, RawManifest, Repository};
use boxwright_testing::peer::{ANN, Peer, Reply, Seen, declared_client, limits, manifest};
use serde_json::{Value, json};

/// How the fake treats the next delete that it would carry out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Trouble {
    None,
    /// 502, and nothing is done.
    Before,
    /// It is done, and then 502.
    After,
}

pub struct Store {
    pub manifests: BTreeMap<String, Vec<u8>>,
    pub tags: BTreeMap<String, String>,
    /// What something else needs, or a rule protects.
    pub needed: BTreeSet<String>,
    /// What has children.
    pub indexes: BTreeSet<String>,
    /// GitHub's numbers of versions.
    pub ids: BTreeMap<String, u64>,
    /// What GitHub can bring back.
    pub deleted: BTreeMap<u64, (String, Vec<u8>, Vec<String>)>,
    /// What GitHub's owner is, and whose token it is shown.
    pub account: (&'static str, &'static str),
    /// What GitHub answers once to such a method, or such a request.
    pub limits: Vec<(&'static str, Reply)>,
    pub trouble: Trouble,
}

impl Store {
    pub fn add(&mut self, bytes: &[u8], tag: &str) -> String {
        let digest = Digest::of(bytes).to_string();
        self.manifests.insert(digest.clone(), bytes.to_vec());
        self.tags.insert(tag.to_owned(), digest.clone());
        let next = u64::try_from(self.ids.len()).unwrap() + 1;
        self.ids.entry(digest.clone()).or_insert(next);
        digest
    }

    pub fn tags_of(&self, digest: &str) -> Vec<String> {
        self.tags.iter().filter(|(_, held)| *held == digest).map(|(tag, _)| tag.clone()).collect()
    }

    /// Deletes a manifest with its tags.
    pub fn delete(&mut self, digest: &str) -> bool {
        self.tags.retain(|_, held| held != digest);
        self.manifests.remove(digest).is_some()
    }

    pub fn untag(&mut self, tag: &str) -> bool {
        self.tags.remove(tag).is_some()
    }
}

fn reply(status: u16, body: &Value) -> Reply {
    Reply::new(status).header("Content-Type", "application/json").body(body.to_string())
}

fn coded(status: u16, code: &str, message: &str) -> Reply {
    reply(status, &json!({ "errors": [{ "code": code, "message": message }] }))
}

fn done(was_there: bool, status: u16) -> Reply {
    Reply::new(if was_there { status } else { 404 })
}

/// `DELETE /v2/<name>/manifests/<at>`, as each provider takes it.
fn delete(provider: Provider, store: &mut Store, at: &str) -> Reply {
    let (is_tag, is_needed) = (!at.contains(':'), store.needed.contains(at));
    match provider {
        Provider::Ghcr | Provider::Ecr | Provider::Harbor => coded(405, "UNSUPPORTED", "not here"),
        Provider::DockerHub | Provider::Acr if is_tag => coded(405, "UNSUPPORTED", "no tags"),
        _ if is_tag => done(store.untag(at), 202),
        Provider::DockerHub if is_needed || !store.tags_of(at).is_empty() => {
            coded(403, "DENIED", "manifest is still referenced")
        }
        Provider::Google if !store.tags_of(at).is_empty() => {
            coded(400, "GOOGLE_MANIFEST_DANGLING_TAG", "Manifest is still referenced by tag")
        }
        Provider::Google if is_needed => {
            coded(400, "GOOGLE_MANIFEST_DANGLING_PARENT_IMAGE", "Manifest is still referenced by an image")
        }
        Provider::Zot | Provider::Acr if is_needed => coded(405, "UNSUPPORTED", "locked or in an index"),
        _ => done(store.delete(at), 202),
    }
}

fn github(seen: &Seen, store: &mut Store, path: &str) -> Reply {
    assert_eq!(seen.header("authorization"), Some("Bearer hunter2"));
    assert_eq!(seen.header("x-github-api-version"), Some("2022-11-28"));
    let (kind, login) = store.account;
    let place = match (kind, login) {
        ("Organization", _) => "orgs/acme",
        (_, "acme") => "user",
        _ => "users/acme",
    };
    let versions = format!("{place}/packages/container/tools%2Fbox/versions");
    let line = format!("{} {path}", seen.method);
    if let Some(at) = store.limits.iter().position(|(which, _)| line == *which || seen.method == *which) {
        return store.limits.remove(at).1;
    }
    match (seen.method.as_str(), path) {
        ("GET", "users/acme") => return reply(200, &json!({ "login": "acme", "type": kind })),
        ("GET", "user") if login.is_empty() => return reply(403, &json!({ "message": "not accessible" })),
        ("GET", "user") => return reply(200, &json!({ "login": login, "type": "User" })),
        _ => {}
    }
    let Some(rest) = path.strip_prefix(&versions) else {
        return reply(404, &json!({ "message": "Not Found" }));
    };
    if let Some(page) = rest.strip_prefix("?per_page=100&page=") {
        let mut ids: Vec<_> =
            store.ids.iter().filter(|(digest, _)| store.manifests.contains_key(*digest)).collect();
        ids.sort_by_key(|(_, id)| std::cmp::Reverse(**id));
        let skipped = (page.parse::<usize>().unwrap() - 1) * 100;
        let list = ids.iter().skip(skipped).take(100).map(|(digest, id)| {
            json!({ "id": id, "name": digest, "metadata": { "container": { "tags": store.tags_of(digest) } } })
        });
        return reply(200, &Value::Array(list.collect()));
    }
    let rest = rest.trim_start_matches('/');
    if let Some(id) = rest.strip_suffix("/restore") {
        assert_eq!(seen.method, "POST");
        let Some((digest, bytes, tags)) = store.deleted.remove(&id.parse().unwrap()) else {
            return reply(404, &json!({ "message": "Not Found" }));
        };
        store.tags.extend(tags.into_iter().map(|tag| (tag, digest.clone())));
        store.manifests.insert(digest, bytes);
        return Reply::new(204);
    }
    assert_eq!(seen.method, "DELETE");
    let id: u64 = rest.parse().unwrap();
    let digest = store.ids.iter().find(|(_, one)| **one == id).unwrap().0.clone();
    let Some(bytes) = store.manifests.get(&digest).cloned() else {
        return reply(404, &json!({ "message": "Package not found." }));
    };
    let tags = store.tags_of(&digest);
    if store.needed.contains(&digest) {
        let why = "Publicly visible package versions with more than 5000 downloads cannot be deleted.";
        return reply(400, &json!({ "message": why }));
    }
    if !tags.is_empty() && tags.len() == store.tags.len() {
        let why =
            "You cannot delete the last tagged version of a package. You must delete the package instead.";
        return reply(400, &json!({ "message": why }));
    }
    store.delete(&digest);
    store.deleted.insert(id, (digest, bytes, tags));
    Reply::new(204)
}

fn harbor(seen: &Seen, store: &mut Store, path: &str) -> Reply {
    assert_eq!(seen.header("authorization"), Some(ANN));
    let Some(path) = path.strip_prefix("acme/repositories/tools%252Fbox/artifacts/") else {
        return coded(404, "NOT_FOUND", "repository not found");
    };
    match (seen.method.as_str(), path.split_once("/tags/")) {
        ("DELETE", Some((at, tag))) if at == tag => done(store.untag(tag), 200),
        ("DELETE", None) if store.needed.contains(path) => {
            coded(412, "PRECONDITION", "the deleting artifact is referenced by others")
        }
        // With its untagged children.
        ("DELETE", None) => done(store.delete(path), 200),
        ("GET", None) if store.manifests.contains_key(path) => {
            let child = json!({ "child_digest": Digest::of(b"child").as_str() });
            let children = store.indexes.contains(path).then(|| json!([child]));
            reply(200, &json!({ "digest": path, "references": children }))
        }
        _ => coded(404, "NOT_FOUND", "artifact not found"),
    }
}

fn hub(seen: &Seen, store: &mut Store, path: &str) -> Reply {
    if path == "auth/token" {
        let body: Value = serde_json::from_slice(&seen.body).unwrap();
        assert_eq!(body, json!({ "identifier": "ann", "secret": "hunter2" }));
        return reply(200, &json!({ "access_token": "jwt" }));
    }
    assert_eq!(seen.header("authorization"), Some("Bearer jwt"));
    let (_, below) = path.strip_prefix("repositories/acme/tools/").unwrap().split_once("/tags").unwrap();
    match (seen.method.as_str(), below) {
        ("GET", "?page_size=100&page=1") => {
            let list = store.tags.iter().map(|(tag, digest)| json!({ "name": tag, "digest": digest }));
            reply(200, &json!({ "next": null, "results": list.collect::<Vec<_>>() }))
        }
        ("DELETE", tag) => done(store.untag(tag.trim_matches('/')), 204),
        other => panic!("{other:?}"),
    }
}

fn ecr(seen: &Seen, store: &mut Store) -> Reply {
    let signed = seen.header("authorization").unwrap();
    assert!(signed.starts_with("AWS4-HMAC-SHA256 Credential=AKID/"), "{signed}");
    assert!(signed.contains(
        "/eu-central-1/ecr/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-target,"
    ));
    assert_eq!(seen.header("x-amz-target"), Some("AmazonEC2ContainerRegistry_V20150921.BatchDeleteImage"));
    let body: Value = serde_json::from_slice(&seen.body).unwrap();
    assert_eq!(body["repositoryName"], "acme/tools/box");
    let digest = body["imageIds"][0]["imageDigest"].as_str().unwrap();
    let failed = |code: &str, reason: &str| {
        let failure = json!({ "imageId": body["imageIds"][0], "failureCode": code, "failureReason": reason });
        reply(200, &json!({ "imageIds": [], "failures": [failure] }))
    };
    if store.needed.contains(digest) {
        return failed("ImageReferencedByManifestList", "Requested image referenced by manifest list");
    }
    match store.delete(digest) {
        true => reply(200, &json!({ "imageIds": body["imageIds"], "failures": [] })),
        false => failed("ImageNotFound", "Requested image not found"),
    }
}

fn answer(provider: Provider, seen: &Seen, store: &mut Store) -> Reply {
    for (front, own) in [
        ("/gh/", github as fn(&Seen, &mut Store, &str) -> Reply),
        ("/own/api/v2.0/projects/", harbor),
        ("/hub/v2/", hub),
    ] {
        if let Some(path) = seen.target.strip_prefix(front) {
            return own(seen, store, path);
        }
    }
    if seen.target == "/ecr" {
        return ecr(seen, store);
    }
    if let Some(tag) = seen.target.strip_prefix("/acr/v1/acme/tools/box/_tags/") {
        assert_eq!(seen.method, "DELETE");
        return match store.needed.contains(tag) {
            true => coded(405, "UNSUPPORTED", "The operation is disallowed on this tag."),
            false => done(store.untag(tag), 202),
        };
    }
    let path = seen.target.strip_prefix("/v2/acme/tools/box/").unwrap_or_else(|| panic!("{}", seen.line()));
    if path.starts_with("tags/list") {
        let of = |digest: &String| (digest.clone(), json!({ "tag": store.tags_of(digest) }));
        let manifest: serde_json::Map<_, _> = store.manifests.keys().map(of).collect();
        let tags: Vec<_> = store.tags.keys().collect();
        return reply(200, &json!({ "name": "acme/tools/box", "tags": tags, "manifest": manifest }));
    }
    let Some(at) = path.strip_prefix("manifests/") else {
        return match seen.method.as_str() {
            "POST" => Reply::new(202).header("Location", "/v2/acme/tools/box/up"),
            _ => Reply::new(201),
        };
    };
    let digest = if at.contains(':') { Some(at.to_owned()) } else { store.tags.get(at).cloned() };
    let found = digest.and_then(|digest| store.manifests.get(&digest).cloned());
    match (seen.method.as_str(), found) {
        ("PUT", _) => {
            store.add(&seen.body, at);
            Reply::new(201)
        }
        ("DELETE", _) => delete(provider, store, at),
        (_, None) => Reply::new(404),
        (_, Some(bytes)) => Reply::manifest(&RawManifest::new(MediaType::OciManifest, bytes)),
    }
}

/// A fake registry that holds one image under `doomed` and `release`, another under `other`.
pub struct Fake {
    pub peer: Peer,
    pub store: Arc<Mutex<Store>>,
    pub provider: Provider,
    pub at: Repository,
    pub digest: Digest,
}

impl Fake {
    pub async fn new(provider: Provider) -> Self {
        let mut store = Store {
            manifests: BTreeMap::new(),
            tags: BTreeMap::new(),
            needed: BTreeSet::new(),
            indexes: BTreeSet::new(),
            ids: BTreeMap::new(),
            deleted: BTreeMap::new(),
            account: ("Organization", ""),
            limits: Vec::new(),
            trouble: Trouble::None,
        };
        let digest = manifest().digest().clone();
        store.add(manifest().bytes(), "doomed");
        store.add(manifest().bytes(), "release");
        store.add(br#"{"schemaVersion":2,"other":1}"#, "other");
        let store = Arc::new(Mutex::new(store));
        let shared = store.clone();
        let peer = Peer::start(move |seen, _| {
            let store = &mut *shared.lock().unwrap();
            let is_delete = seen.method == "DELETE" || seen.target == "/ecr";
            if is_delete && store.trouble == Trouble::Before {
                return Reply::new(502);
            }
            let reply = answer(provider, seen, store);
            match is_delete && store.trouble == Trouble::After && reply.status < 300 {
                true => Reply::new(502),
                false => reply,
            }
        })
        .await;
        let at = Repository::new(&peer.host, "acme/tools/box").unwrap();
        Self { peer, store, provider, at, digest }
    }

    pub fn client(&self) -> HttpRegistry {
        let password = Secret::new("hunter2");
        let credential = Credential::Basic { user: "ann".to_owned(), password };
        let keys = AwsKeys::from_environment(|name| {
            let value = match name {
                "AWS_ACCESS_KEY_ID" => "AKID",
                "AWS_SECRET_ACCESS_KEY" => "hunter3",
                "AWS_REGION" => "eu-central-1",
                _ => return None,
            };
            Some(value.to_owned())
        });
        self.client_with(Credentials::given(&self.peer.host, credential)).signing(keys)
    }

    pub fn client_with(&self, credentials: Credentials) -> HttpRegistry {
        let api = match self.provider {
            Provider::Ghcr => "gh",
            Provider::DockerHub => "hub",
            Provider::Ecr => "ecr",
            _ => "own",
        };
        let api = Some(format!("http://{}/{api}", self.peer.host));
        let settings = HostSettings { provider: Some(self.provider), api, ..HostSettings::default() };
        let declared = HostConfig { hosts: BTreeMap::from([(self.peer.host.clone(), settings)]) };
        declared_client(credentials, declared, limits())
    }

    pub fn edit<T>(&self, edit: impl FnOnce(&mut Store) -> T) -> T {
        edit(&mut self.store.lock().unwrap())
    }

    pub fn need(&self, what: &str) {
        self.edit(|store| store.needed.insert(what.to_owned()));
    }

    pub fn tags(&self) -> Vec<String> {
        self.store.lock().unwrap().tags.keys().cloned().collect()
    }

    pub fn holds(&self) -> bool {
        self.store.lock().unwrap().manifests.contains_key(self.digest.as_str())
    }
}
