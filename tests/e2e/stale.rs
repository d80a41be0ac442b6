//! A registry whose memory of blobs outlives them: HEAD says that they are there, GET gives nothing,
//! and manifests that need them are taken.

use boxwright_testing::witness::{Registry, tell};
use boxwright_testing::world::{BOXES, CHAIN, World};

/// An image as it stood.
struct Stood {
    name: &'static str,
    tag: String,
    config: String,
}

impl Stood {
    fn read(registry: &Registry, (name, tag): (&'static str, String)) -> Self {
        let (status, _, manifest) = registry.curl(&[], &format!("{name}/manifests/{tag}"));
        assert_eq!(status, 200);
        let document: serde_json::Value = serde_json::from_str(&manifest).unwrap();
        let config = document["config"]["digest"].as_str().unwrap().to_owned();
        Self { name, tag, config }
    }

    /// Loses its configuration, behind the registry's back.
    fn lose_config(&self, registry: &Registry) {
        let (algorithm, hex) = self.config.split_once(':').unwrap();
        let blobs = registry.directory().join("docker/registry/v2/blobs").join(algorithm);
        std::fs::remove_dir_all(blobs.join(&hex[..2]).join(hex)).unwrap();
    }
}

/// Deletes all manifests of the boxes, and the blobs behind the registry's back.
fn lose(registry: &Registry) {
    for name in BOXES {
        for tag in registry.tags(name) {
            if let Some(digest) = registry.digest(name, &tag) {
                assert_eq!(registry.curl(&["-X", "DELETE"], &format!("{name}/manifests/{digest}")).0, 202);
            }
        }
    }
    registry.collect();
}

/// Reads every byte of an image, as a pull does.
fn pull(world: &World, registry: &Registry, name: &str, tag: &str) {
    let (from, to) = (format!("docker://{}/{name}:{tag}", registry.host), world.beside(name));
    let _ = std::fs::remove_dir_all(&to);
    tell("skopeo", &["copy", "--quiet", "--src-tls-verify=false", &from, &format!("dir:{}", to.display())]);
}

#[test]
fn a_registry_that_remembers_lost_blobs_is_not_believed() {
    let (built, registry) = (Registry::start(&[]), Registry::start(&["--cache"]));
    let world = World::chain(&built.host);
    world.boxwright(&["build"]).good();
    world.boxwright(&["export", "-o", "boxes.tar"]).good();
    world.configure(&registry.host, CHAIN);
    let import = ["import", "boxes.tar", "--push"];
    world.boxwright(&import).good();
    let tags: Vec<String> = BOXES.iter().map(|name| registry.tags(name)[0].clone()).collect();
    let stood: Vec<Stood> =
        BOXES.into_iter().zip(tags.clone()).map(|at| Stood::read(&registry, at)).collect();

    // What is missing is brought with all its blobs, whatever the registry says it has.
    lose(&registry);
    for one in &stood {
        let blob = format!("{}/blobs/{}", one.name, one.config);
        assert_eq!(registry.curl(&["-I"], &blob).0, 200, "it has forgotten");
    }
    world.boxwright(&["plan", "--check"]).exits(10);
    world.boxwright(&import).good();
    for one in &stood {
        pull(&world, &registry, one.name, &one.tag);
    }

    // An image whose configuration is lost is neither used nor promoted; not even by a machine that
    // has read it before.
    stood.iter().for_each(|one| one.lose_config(&registry));
    let promoted = world.boxwright(&["promote", "main", "--yes"]).fails(20, &["@sha256:", "(box "]);
    assert!(!promoted.err.contains("missing"), "{}", promoted.err);
    let fresh = |arguments: &[&str]| {
        let mut command = world.command(arguments);
        boxwright_testing::world::Ended::of(
            command.env("XDG_CACHE_HOME", world.beside("fresh")).output().unwrap(),
        )
    };
    for command in [&["plan", "--check"][..], &["guard"], &["build"], &["run", "test", "--", "true"]] {
        fresh(command).fails(20, &["@sha256:", "(box "]);
    }
    for name in BOXES {
        assert_eq!(registry.digest(name, "main"), None);
    }

    // Once it has forgotten, what it took is broken; brought again it is whole.
    registry.stop();
    registry.restart();
    let plan = fresh(&["plan", "--check"]).exits(10);
    assert_eq!(plan.out.matches("broken").count(), 3, "{}", plan.out);
    world.boxwright(&import).good();
    world.boxwright(&["promote", "main", "--yes"]).good();
    for name in BOXES {
        pull(&world, &registry, name, "main");
    }
}
