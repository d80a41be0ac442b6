//! Witnesses: what stands in a registry and in an engine, as other programs see it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::Value;
use tempfile::TempDir;

use crate::process::{script, storage};

/// The image that most boxes here stand on, by digest; `scripts/setup` makes it.
pub fn busybox() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| pinned("boxwright-busybox:1"))
}

/// Names an image of the engine by digest, so that boxes can stand on it without a lock.
///
/// An image has a digest once it was in a registry. The registry need not stay: the engine
/// knows the image by that digest from then on, and later runs find it there.
pub fn pinned(image: &str) -> String {
    let mine = "127.0.0.1:";
    let known = || {
        let text = tell("docker", &["image", "inspect", "--format={{json .RepoDigests}}", image]);
        let names: Vec<String> = serde_json::from_str(&text).unwrap();
        names.into_iter().find(|name| name.starts_with(mine) && name.contains("/pinned@"))
    };
    known().unwrap_or_else(|| {
        let mut registry = Registry::start(&[]);
        let name = format!("{}/pinned:1", registry.host);
        tell("docker", &["tag", image, &name]);
        tell("docker", &["push", "--quiet", &name]);
        // Without a host to forget, the name stays in the engine when the registry goes.
        registry.stop();
        registry.host.clear();
        known().expect("a pushed image has a digest")
    })
}
/// An address at which no engine can be.
pub const NO_ENGINE: &str = "unix:///nonexistent/boxwright/docker.sock";

/// Runs a program that has to succeed and returns what it printed.
pub fn tell(program: &str, arguments: &[&str]) -> String {
    let output = attempt(program, arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a program.
pub fn attempt(program: &str, arguments: &[&str]) -> Output {
    let output = Command::new(program).args(arguments).output();
    output.unwrap_or_else(|error| panic!("{program} is needed, see scripts/setup: {error}"))
}

/// Looks at an image with skopeo.
pub fn skopeo(arguments: &[&str]) -> Value {
    let text = tell("skopeo", &[&["inspect", "--tls-verify=false"], arguments].concat());
    serde_json::from_str(&text).unwrap()
}

/// A docker-registry process, stopped when its value is dropped.
pub struct Registry {
    /// `127.0.0.1:PORT`
    pub host: String,
    name: &'static str,
    directory: PathBuf,
    user: Option<String>,
    /// The directory, if this process was the first one over it.
    _own: Option<TempDir>,
}

impl Registry {
    /// Starts one over a directory of its own.
    pub fn start(options: &[&str]) -> Self {
        let own = storage();
        let mut registry = Self::start_in(own.path().to_owned(), "registry", options);
        registry._own = Some(own);
        registry
    }

    /// Starts another process over the same images.
    pub fn beside(&self, name: &'static str, options: &[&str]) -> Self {
        Self::start_in(self.directory.clone(), name, options)
    }

    /// Starts one over a copy of what this one holds now.
    pub fn copy(&self) -> Self {
        let own = storage();
        let from = self.directory.join("docker");
        tell("cp", &["-a", from.to_str().unwrap(), own.path().to_str().unwrap()]);
        let mut registry = Self::start_in(own.path().to_owned(), "registry", &[]);
        registry._own = Some(own);
        registry
    }

    /// Starts it again after [`Registry::stop`], at its old port.
    pub fn restart(&self) {
        let (_, port) = self.host.rsplit_once(':').unwrap();
        let again = script("start", &self.directory, self.name, &["--port", port]);
        assert_eq!(again, self.host);
    }

    fn start_in(directory: PathBuf, name: &'static str, options: &[&str]) -> Self {
        let auth = options.iter().position(|option| *option == "--auth");
        let user = auth.map(|at| options[at + 1].to_owned());
        // Made first: a start that fails half-way is stopped as well.
        let mut registry = Self { host: String::new(), name, directory, user, _own: None };
        registry.host = script("start", &registry.directory, name, options);
        registry
    }

    /// Ends the process; images stay.
    pub fn stop(&self) {
        script("stop", &self.directory, self.name, &[]);
    }

    /// Removes the blobs that no manifest needs; the process knows nothing of it.
    pub fn collect(&self) {
        script("collect", &self.directory, self.name, &[]);
    }

    /// Makes a repository that answers 500 to everything about its tags.
    pub fn break_repository(&self, repository: &str) {
        let tags = self.tags_of(repository);
        std::fs::remove_dir_all(&tags).unwrap();
        std::fs::write(tags, "").unwrap();
    }

    /// Makes a repository that holds nothing and answers 500 to every manifest it is given.
    pub fn block_repository(&self, repository: &str) {
        let manifests = self.manifests(repository);
        std::fs::create_dir_all(&manifests).unwrap();
        std::fs::write(manifests.join("revisions"), "").unwrap();
    }

    /// Where the tags of a repository are kept.
    pub fn tags_of(&self, repository: &str) -> PathBuf {
        self.manifests(repository).join("tags")
    }

    fn manifests(&self, repository: &str) -> PathBuf {
        self.directory.join("docker/registry/v2/repositories").join(repository).join("_manifests")
    }

    /// Where its images and its log are kept.
    pub fn directory(&self) -> PathBuf {
        self.directory.clone()
    }

    /// Every request so far, as the registry logged it.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join(format!("{}.log", self.name))).unwrap()
    }

    /// The requests that `work` makes, as `METHOD /path status`.
    pub fn requests_during(&self, work: impl FnOnce()) -> Vec<String> {
        // A request is logged a moment after its answer: what is asked next, when that is there.
        let settle = || {
            let mark = format!("/v2/mark/manifests/{}", self.log().len());
            self.curl(&[], &mark["/v2/".len()..]);
            while !self.log().lines().any(|line| line.contains(&mark) && line.contains("HTTP/1.1\" ")) {
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        };
        settle();
        let before = self.log().len();
        work();
        settle();
        let request = |line: &str| {
            let (_, rest) = line.split_once("] \"")?;
            let (request, rest) = rest.split_once(" HTTP/1.1\" ")?;
            Some(format!("{request} {}", rest.split_whitespace().next()?))
        };
        let all = self.log()[before..].lines().filter_map(request).collect::<Vec<_>>();
        all.into_iter().filter(|request| !request.contains(" /v2/mark/")).collect()
    }

    /// Asks by curl; returns status, headers in lower case, body.
    pub fn curl(&self, arguments: &[&str], path: &str) -> (u16, BTreeMap<String, String>, String) {
        let url = format!("http://{}/v2/{path}", self.host);
        let text = self.tell_curl(&[&["-i"], arguments, &[&url]].concat());
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect();
        (status, headers, body.to_owned())
    }

    fn tell_curl(&self, arguments: &[&str]) -> String {
        let accept = "Accept: application/vnd.oci.image.manifest.v1+json, \
            application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.v2+json, \
            application/vnd.docker.distribution.manifest.list.v2+json";
        let user: Vec<&str> = self.user.iter().flat_map(|user| ["--user", user]).collect();
        let fixed = ["-sS", "--noproxy", "*", "-H", accept];
        tell("curl", &[&fixed[..], &user, arguments].concat())
    }

    /// The tags of a repository that lead nowhere. All are asked for by one curl: a ledger has many.
    pub fn dangling(&self, repository: &str) -> Vec<String> {
        let mut tags = self.tags(repository);
        let url = |tag: &String| format!("http://{}/v2/{repository}/manifests/{tag}", self.host);
        let urls: Vec<String> = tags.iter().map(url).collect();
        let each = urls.iter().flat_map(|url| ["-o", "/dev/null", url]);
        let arguments: Vec<&str> = ["-I", "-w", "%{http_code}\n"].into_iter().chain(each).collect();
        let told = if tags.is_empty() { String::new() } else { self.tell_curl(&arguments) };
        let statuses: Vec<&str> = told.lines().collect();
        assert_eq!(statuses.len(), tags.len(), "{told}");
        let mut statuses = statuses.into_iter();
        tags.retain(|tag| match statuses.next().unwrap() {
            "200" => false,
            "404" => true,
            other => panic!("{repository}:{tag}: {other}"),
        });
        tags
    }

    /// The tags of a repository, in order; none if there is no repository.
    pub fn tags(&self, repository: &str) -> Vec<String> {
        let (status, _, body) = self.curl(&[], &format!("{repository}/tags/list"));
        match status {
            404 => Vec::new(),
            200 => {
                let list: Value = serde_json::from_str(&body).unwrap();
                let tags = list["tags"].as_array().into_iter().flatten();
                let mut tags: Vec<String> = tags.map(|tag| tag.as_str().unwrap().to_owned()).collect();
                tags.sort();
                tags
            }
            other => panic!("tags of {repository}: {other} {body}"),
        }
    }

    /// The digest under a tag.
    pub fn digest(&self, repository: &str, tag: &str) -> Option<String> {
        let (status, headers, _) = self.curl(&["-I"], &format!("{repository}/manifests/{tag}"));
        match status {
            404 => None,
            200 => Some(headers["docker-content-digest"].clone()),
            other => panic!("{repository}:{tag}: {other}"),
        }
    }

    /// The ledger's records of one kind: `lease`, `over`, `set`, …
    pub fn records(&self, kind: &str) -> Vec<String> {
        let mut tags = self.tags("boxwright-ledger");
        tags.retain(|tag| tag.split('.').next() == Some(kind));
        tags
    }

    /// The labels of an image, by skopeo.
    pub fn labels(&self, repository: &str, reference: &str) -> BTreeMap<String, String> {
        let config = skopeo(&["--config", &format!("docker://{}/{repository}{reference}", self.host)]);
        serde_json::from_value(config["config"]["Labels"].clone()).unwrap()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        if !self.host.is_empty() {
            forget_images(&self.host);
        }
        self.stop();
    }
}

/// Takes the names of this registry's images from the engine, so that tests leave nothing.
pub fn forget_images(host: &str) {
    let filter = format!("--filter=reference={host}/*:*");
    let nested = format!("--filter=reference={host}/*/*:*");
    let list = attempt("docker", &["image", "ls", "--format={{.Repository}}:{{.Tag}}", &filter, &nested]);
    let list = String::from_utf8_lossy(&list.stdout).into_owned();
    let names: Vec<&str> = list.lines().filter(|name| name.starts_with(host)).collect();
    if !names.is_empty() {
        attempt("docker", &[&["rmi", "--force"], &names[..]].concat());
    }
}
