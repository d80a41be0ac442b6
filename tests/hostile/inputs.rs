//! Dockerfiles and contexts that are odd, and that the engine takes.

use crate::world::World;

/// A project of one box, whose Dockerfile this is; its images stay on this machine.
fn project(dockerfile: &str) -> World {
    let world = World::empty();
    world.configure("embedded", "[box.only]\n");
    world.write("Dockerfile", dockerfile);
    world
}

#[test]
fn what_only_another_frontend_knows_is_passed_on() {
    for (line, named) in [
        ("COPY --link=True a /", None),
        ("COPY --link=1 --chmod=u=rw a /", None),
        ("HEALTHCHECK --interval=5 CMD x", None),
        ("EXPOSE 80/quic", None),
        ("COPY --lnik a /", Some("`COPY --lnik` (did you mean `--link`?)")),
        ("FETCH --everything", Some("the instruction `FETCH`")),
        ("RUN --mount=type=brand-new,target=/x true", Some("`type=brand-new` in --mount")),
    ] {
        let world = project(&format!("FROM scratch\n{line}\n"));
        world.write("a", "a");
        world.write("b", "b");
        world.commit();
        let keys = world.keys();
        let plan = world.without_engine(&["plan"]).good();
        assert_eq!(plan.err.contains("nothing is known about"), named.is_some(), "{line}: {}", plan.err);
        assert!(plan.err.contains(named.unwrap_or_default()), "{line}: {}", plan.err);
        // What is known to read one file reads that one; what is not known may read any.
        world.write("b", "other");
        assert_eq!(world.keys() != keys, named.is_some(), "{line}");
    }
}
