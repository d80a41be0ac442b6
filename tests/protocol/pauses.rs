//! A process that is suspended for longer than its lease, at any request: what a sweep did
//! meanwhile is seen, and success is reported under a lease that lives.

use boxwright::adapter::memory::MemoryRegistry;
use boxwright::model::{Digest, Generation, Key, Record, Repository, Span, Tag, Tombstone};
use boxwright::port::{Registry, RegistryReader, RegistryWriter};

use super::net::{done, tag};
use super::world::{World, repository};

const LEASE: u64 = 3600;
const BOXES: [&str; 2] = ["base", "build"];

/// What a sweep needs to know of a box.
struct Target {
    repository: Repository,
    content: Tag,
    tombstone: Tag,
    key: Key,
}

impl Target {
    fn of(world: &World, name: &str) -> Self {
        Self {
            repository: repository(name),
            content: world.tag(name, 0),
            tombstone: world.tombstone_tag(name, 0),
            key: world.key(name),
        }
    }

    /// Condemns and deletes what stands, as sweeps do when nobody leases it or has begun to
    /// promote it.
    fn sweep(&self, memory: &MemoryRegistry) {
        let records = done(memory.tags(&repository("ledger"))).unwrap().tags;
        if records.iter().any(|record| record.as_str().starts_with("plan.")) {
            return;
        }
        let standing: Option<Digest> =
            done(memory.head(&self.repository, &self.content.clone().into())).unwrap();
        let Some(digest) = standing else { return };
        let marked = done(memory.now("r.example")).unwrap();
        let (key, reason) = (self.key.clone(), String::new());
        let tombstone = Tombstone {
            key,
            generation: Generation(0),
            marked,
            reason,
            images: Vec::new(),
            parts: Default::default(),
        };
        let ledger = repository("ledger");
        done(memory.put(&ledger, &self.tombstone.clone().into(), &tombstone.to_manifest())).unwrap();
        done(memory.delete(&self.repository, &digest)).unwrap();
    }
}

/// Suspends everything for two leases before the request of this number; meanwhile everything
/// that stands is swept.
fn suspend_at(world: &World, number: usize) {
    let mut latency = vec![0; number + 500];
    latency[number + 1] = 2 * LEASE * 1000;
    world.net.set_latency(&latency);
    let targets = BOXES.map(|name| Target::of(world, name));
    let mut count = 0;
    world.net.before_each(move |_, memory| {
        if count == number {
            targets.iter().for_each(|target| target.sweep(memory));
        }
        count += 1;
    });
}

async fn requests(template: &World, work: impl AsyncFn(&World)) -> usize {
    let world = template.copy();
    work(&world).await;
    world.log().len()
}

#[tokio::test(start_paused = true)]
async fn a_build_that_was_suspended_longer_than_its_lease_reports_what_stands() {
    let (mut cases, mut anew) = (0, 0);
    for is_there in [false, true] {
        let template = World::of(&BOXES);
        if is_there {
            template.run("zero").build().await.unwrap();
            template.drop_leases();
        }
        let template = template.copy();
        let build = async |world: &World| drop(world.run("one").build().await.unwrap());
        for number in 0..requests(&template, build).await {
            let world = template.copy();
            suspend_at(&world, number);
            let mut run = world.run("one");
            run.setting.lease = Span::from_seconds(LEASE);
            let report = run.build().await.unwrap();
            assert!(report.missing().next().is_none(), "{number}: {:?}", report.boxes);
            for (name, one) in &report.boxes {
                let stands = world.at(name, &world.tag(name, one.generation.0));
                assert_eq!(one.digest, stands, "{number}: {name}");
                anew += usize::from(one.generation.0 > 0);
            }
            assert!(report.lease_until.unwrap() > world.net.today(), "{number}: the lease has ended");
            cases += 1;
        }
    }
    assert!(anew > 10, "{anew}");
    eprintln!("{cases} builds that were suspended, {anew} boxes built anew beside a condemned one");
}

#[tokio::test(start_paused = true)]
async fn a_promotion_that_was_suspended_longer_than_its_lease_moves_nothing_that_is_gone() {
    let template = World::of(&BOXES);
    template.run("zero").build().await.unwrap();
    template.drop_leases();
    let template = template.copy();
    let promote = async |world: &World| drop(world.run("one").promote("main").await.unwrap());
    let (mut cases, mut refused) = (0, 0);
    for number in 0..requests(&template, promote).await {
        let world = template.copy();
        suspend_at(&world, number);
        let mut run = world.run("one");
        run.setting.lease = Span::from_seconds(LEASE);
        match run.promote("main").await {
            Ok(_) => {
                for name in BOXES {
                    assert!(world.at(name, &tag("main")).is_some(), "{number}: {name}");
                }
                assert_eq!(world.leases(), [], "{number}");
            }
            Err(_) => refused += 1,
        }
        cases += 1;
    }
    assert!(0 < refused && refused < cases, "{refused} of {cases}");
    eprintln!("{cases} promotions that were suspended, {refused} refused");
}
