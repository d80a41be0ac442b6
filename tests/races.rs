//! Hundreds of rounds of sweeps against builds and promotions on the real docker-registry, whose
//! DELETE untags in a second step. Repositories are padded with tags, each of which the registry
//! looks at before it untags, so that the window is wide. What stands afterwards is read from
//! the registry directly.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use boxwright::adapter::clock::BootClock;
use boxwright::adapter::registry::HttpRegistry;
use boxwright::exec::{
    BuildOptions, BuildReport, CleanOptions, Deletion, Outcome, PromoteError, PromoteOptions,
    PromotionSource, RegistryPorts, ResolvedBox, RunContext, build, clean, promote,
};
use boxwright::model::{Digest, Keep, Repository, Rules, Source, Span, Tag};
use boxwright::port::{Registry, RegistryReader};
use boxwright_testing::engine::{FakeEngine, image, push};
use boxwright_testing::figure::figure;
use boxwright_testing::process::{Server, client};
use boxwright_testing::project::boxes;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

const BOXES: [&str; 2] = ["base", "build"];
/// Strangers' tags that stand beside those under test, in each repository: sweeps read them all.
const STRANGERS: usize = 4;
/// Tags of signatures of what is elsewhere, in each repository. The registry reads them all at each
/// delete; sweeps do not, so they widen the window and cost nothing else.
const SIGNATURES: usize = 120;
/// Twice that many rounds: against a build, and against a promotion.
const ROUNDS: u64 = 100;

struct Scene {
    server: Server,
    registry: Arc<HttpRegistry>,
    http: reqwest::Client,
    /// How long the sweeps of a round take, by which the other side's start is spread.
    sweeps: Duration,
    seed: u64,
}

impl Scene {
    async fn new() -> Self {
        let server = Server::start(&[]);
        let registry = Arc::new(client());
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let scene = Self { server, registry, http, sweeps: Duration::from_millis(200), seed: 11 };
        for name in BOXES {
            let repository = scene.repository(name);
            for tag in padding() {
                let image = image(&BTreeMap::new(), "padding");
                push(&*scene.registry, &repository, &tag, image).await;
            }
        }
        scene
    }

    fn repository(&self, name: &str) -> Repository {
        Repository::new(&self.server.host, name).unwrap()
    }

    /// A moment within the sweeps of a round, another one each time.
    fn pause(&mut self) -> Duration {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.sweeps * ((self.seed >> 33) % 1000) as u32 / 1000
    }

    fn setting(&self, run: String) -> RunContext {
        RunContext {
            registry: self.server.host.clone(),
            ledger: self.repository("ledger"),
            run: run.parse().unwrap(),
            attempt: 1,
            lease: Span::from_seconds(86_400),
            by: None,
            source: Source::default(),
        }
    }

    fn boxes(&self, round: u64) -> Vec<ResolvedBox> {
        boxes(&self.server.host, &format!("v{round}"), &BOXES)
    }

    /// The same inputs give the same digest: what was deleted comes back under its old name.
    fn engine(&self, boxes: &[ResolvedBox]) -> FakeEngine<HttpRegistry> {
        let engine = FakeEngine::new(Arc::clone(&self.registry), boxes);
        engine.set(|script| script.is_reproducible = true);
        engine
    }

    fn ports(&self) -> RegistryPorts<'_> {
        RegistryPorts::new(&*self.registry, &BootClock)
    }

    async fn build(&self, run: String, boxes: &[ResolvedBox]) -> BuildReport {
        let engine = self.engine(boxes);
        let options = BuildOptions { jobs: 2, wait: Span::default(), no_cache: false, fail_fast: false };
        let (setting, cancel) = (self.setting(run), CancellationToken::new());
        build(self.ports(), engine.ports(), &setting, boxes, &options, &|_| {}, &cancel).await.unwrap()
    }

    async fn promote(&self, run: String, boxes: &[ResolvedBox]) -> Result<(), PromoteError> {
        let options = PromoteOptions {
            keep: None,
            tag: "main".parse().unwrap(),
            channel: "main".to_owned(),
            immutable: false,
            allow_older: true,
            shown: None,
            apply: true,
        };
        promote(
            self.ports(),
            &self.setting(run),
            PromotionSource::Built(boxes),
            &options,
            &|_| {},
            &CancellationToken::new(),
        )
        .await
        .map(drop)
    }

    /// Sweeps twice without a grace: the second one deletes what the first one condemned. Returns
    /// how much was deleted, and how long it took.
    async fn sweep_twice(&self) -> (usize, Duration) {
        let (mut deleted, began) = (0, Instant::now());
        let pattern = regex::Regex::new("^main$").unwrap();
        for _ in 0..2 {
            let rules = Rules { last: Some(1), only: Some("main".parse().unwrap()), ..Rules::default() };
            let options = CleanOptions {
                repositories: BOXES.map(|name| self.repository(name)).to_vec(),
                policies: vec![boxwright::retention::ChannelPolicy {
                    name: "main".to_owned(),
                    pattern: pattern.clone(),
                    keep: Keep::Rules(rules),
                }],
                grace: Span::default(),
                records: Span::from_seconds(30 * 86_400),
                apply: true,
                ..CleanOptions::default()
            };
            // A sweep that meets something half written stops, and the next one goes on.
            let (setting, cancel) = (self.setting("sweep".to_owned()), CancellationToken::new());
            if let Ok(report) = clean(self.ports(), &setting, &options, &|_| {}, &cancel).await {
                deleted += report.deletions.iter().filter(|one| **one == Deletion::Done).count();
            }
        }
        (deleted, began.elapsed())
    }

    /// Ends all leases, as time would.
    async fn drop_leases(&self) {
        self.forget(|tag| tag.starts_with("lease.")).await;
    }

    /// Removes what is over: no sweep is under way, and it could be forgotten days later. Of
    /// promotions the last one stays.
    async fn drop_old(&self, promotions: usize) {
        let last = format!(".main.{promotions}");
        self.forget(|tag| match tag.split_once('.') {
            Some(("over" | "run" | "inputs", _)) => true,
            Some(("plan" | "set", _)) => !tag.ends_with(&last),
            _ => false,
        })
        .await;
    }

    /// Removes records from the ledger.
    async fn forget(&self, is_over: impl Fn(&str) -> bool) {
        let ledger = self.repository("ledger");
        for tag in self.registry.tags(&ledger).await.unwrap().tags {
            if is_over(tag.as_str())
                && let Some(digest) = self.registry.head(&ledger, &tag.into()).await.unwrap()
            {
                self.registry.delete(&ledger, &digest).await.unwrap();
            }
        }
    }

    /// Reads something as anybody would, past everything under test.
    async fn read(&self, path: String) -> Option<(String, Value)> {
        let url = format!("http://{}/v2/{path}", self.server.host);
        let accept = "application/vnd.oci.image.manifest.v1+json";
        let answer = self.http.get(url).header("accept", accept).send().await.unwrap();
        if answer.status() == 404 {
            return None;
        }
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        let digest =
            answer.headers().get("docker-content-digest").map(|value| value.to_str().unwrap().to_owned());
        Some((digest.unwrap_or_default(), serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()))
    }

    /// The digest under a name, which has to be whole down to its configuration; with the
    /// digests that it says it stands on.
    async fn whole(&self, name: &str, at: &str) -> Option<(String, String)> {
        let (digest, manifest) = self.read(format!("{name}/manifests/{at}")).await?;
        let config = manifest["config"]["digest"].as_str().unwrap();
        let (_, config) =
            self.read(format!("{name}/blobs/{config}")).await.expect("a configuration is there");
        let parents = config["config"]["Labels"]["io.boxwright.parents"].as_str().unwrap_or_default();
        Some((digest, parents.to_owned()))
    }

    /// What stands under a tag of both boxes, the second on the first; nothing if neither does.
    async fn pair(&self, round: u64, at: [&str; 2]) -> Option<[String; 2]> {
        let base = self.whole("base", at[0]).await;
        let build = self.whole("build", at[1]).await;
        let ((base, _), (build, parents)) = match (base, build) {
            (Some(base), Some(build)) => (base, build),
            (None, None) => return None,
            one => panic!("round {round}: {at:?} stand by half: {one:?}"),
        };
        assert!(parents.contains(&base), "round {round}: {build} stands on {parents}, not on {base}");
        Some([base, build])
    }
}

/// The tags that a repository is padded with.
fn padding() -> impl Iterator<Item = Tag> {
    let stranger = (0..STRANGERS).map(|number| format!("padding-{number}"));
    let of = |number: usize| Digest::of(number.to_string().as_bytes());
    let signature = (0..SIGNATURES).map(move |number| format!("sha256-{}.sig", of(number).hex()));
    stranger.chain(signature).map(|tag| tag.parse().unwrap())
}

fn digest(report: &BuildReport, name: &str) -> String {
    let digest: Option<&Digest> = report.boxes[name].digest.as_ref();
    digest.unwrap_or_else(|| panic!("{name}: {}", report.boxes[name].reason)).to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_is_used_or_promoted_is_lost_to_sweeps() {
    let began = Instant::now();
    let mut scene = Scene::new().await;
    let (mut deleted, mut hits, mut built, mut revived) = (0, 0, 0, 0);
    let (mut promoted, mut refused) = (0, 0);
    let mut main: Option<[String; 2]> = None;
    for round in 0..ROUNDS {
        // What stands and is used by nobody.
        let boxes = scene.boxes(round);
        scene.build(format!("first-{round}"), &boxes).await;
        scene.drop_leases().await;
        let pause = scene.pause();
        let job = async {
            tokio::time::sleep(pause).await;
            scene.build(format!("job-{round}"), &boxes).await
        };
        let ((count, took), report) = tokio::join!(scene.sweep_twice(), job);
        deleted += count;
        // Sweeps of a leased box change nothing any more.
        deleted += scene.sweep_twice().await.0;
        let tag = |name: &str| {
            let keyed = boxes.iter().find(|keyed| keyed.wanted.name == name).unwrap();
            keyed.wanted.tag.with_generation(report.boxes[name].generation).tag().to_string()
        };
        let stands = scene.pair(round, [&tag("base"), &tag("build")]).await;
        assert_eq!(stands, Some([digest(&report, "base"), digest(&report, "build")]), "round {round}");
        for one in report.boxes.values() {
            hits += usize::from(one.outcome == Outcome::Used);
            built += usize::from(one.outcome == Outcome::Built);
            revived += usize::from(one.generation.0 > 0);
        }
        assert_eq!(scene.pair(round, ["main", "main"]).await, main, "round {round}");
        scene.drop_leases().await;

        // And once more against a promotion of what nobody leases.
        let pause = scene.pause();
        let job = async {
            tokio::time::sleep(pause).await;
            scene.promote(format!("promote-{round}"), &boxes).await
        };
        let ((count, _), result) = tokio::join!(scene.sweep_twice(), job);
        deleted += count;
        scene.drop_leases().await;
        deleted += scene.sweep_twice().await.0;
        match result {
            Ok(()) => {
                promoted += 1;
                main = Some([digest(&report, "base"), digest(&report, "build")]);
            }
            // What a sweep has condemned is not promoted.
            Err(PromoteError::Missing { .. }) => refused += 1,
            Err(error) => panic!("round {round}: {error}"),
        }
        assert_eq!(scene.pair(round, ["main", "main"]).await, main, "round {round}");
        scene.drop_old(promoted).await;
        scene.sweeps = (scene.sweeps * 7 + took) / 8;
    }
    for name in BOXES {
        let (_, list) = scene.read(format!("{name}/tags/list")).await.unwrap();
        let tags: BTreeSet<&str> =
            list["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap()).collect();
        assert!(padding().all(|tag| tags.contains(tag.as_str())), "{name}: {tags:?}");
    }
    let told = format!(
        "{} rounds in {:.0} s: {hits} boxes used, {built} built, {revived} of them anew beside a condemned one; \
         {promoted} promotions, {refused} of what was condemned; {deleted} images deleted; nothing lost",
        2 * ROUNDS,
        began.elapsed().as_secs_f64(),
    );
    figure(env!("CARGO_TARGET_TMPDIR"), "races", &told);
    assert!(hits > 0 && built > 0 && revived > 0 && promoted > 0 && refused > 0 && deleted > 0);
}
