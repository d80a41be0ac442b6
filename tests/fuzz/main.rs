//! Every parser of what comes from outside, fed with broken input: none panics, none hangs,
//! and what is accepted can be written again and read as the same.
//!
//! Inputs are mutated from seeds by a generator with a fixed seed, so a run can be repeated.
//! `BOXWRIGHT_FUZZ_SECONDS=600 cargo test --release --test fuzz` goes on for longer, each time
//! elsewhere; `BOXWRIGHT_FUZZ_SEED` repeats one of those. Inputs that failed once are in
//! `testdata/fuzz/<parser>/` and run first.

#![allow(clippy::print_stdout, clippy::print_stderr)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod mutate;
mod seeds;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use boxwright_testing::fuzz as parsers;
use mutate::Mutator;

/// How many inputs each parser gets without `BOXWRIGHT_FUZZ_SECONDS`.
const INPUTS: usize = 400;
/// A parser that takes longer for one input hangs. The machine may be busy.
const PATIENCE: Duration = Duration::from_secs(20);

/// Feeds a parser: inputs that failed once, the seeds, and mutations of them. Returns how many
/// were accepted.
fn fuzz(name: &'static str, seeds: Vec<Vec<u8>>, parser: fn(&[u8]) -> bool) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let time = number("BOXWRIGHT_FUZZ_SECONDS").map(Duration::from_secs);
    let now = || std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let seed = number("BOXWRIGHT_FUZZ_SEED").unwrap_or_else(|| if time.is_some() { now() } else { 1 });
    let corpus = seeds::failed(name).into_iter().chain(seeds.clone());
    let (alive, watched) = channel::<Vec<u8>>();
    let last = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{name}"));
    let watch = std::thread::spawn({
        let last = last.clone();
        move || {
            let mut input = Vec::new();
            loop {
                match watched.recv_timeout(PATIENCE) {
                    Ok(next) => input = next,
                    Err(RecvTimeoutError::Disconnected) => return,
                    Err(RecvTimeoutError::Timeout) => {
                        std::fs::write(&last, &input).unwrap();
                        // Nothing else ends a thread that does not return.
                        std::process::abort();
                    }
                }
            }
        }
    });
    let mut mutator = Mutator::new(seed, seeds.clone());
    let (start, mut run, mut accepted) = (Instant::now(), 0, 0);
    let goes_on = |run: usize| time.map_or(run < INPUTS, |time| start.elapsed() < time);
    let mut corpus = corpus.collect::<Vec<_>>().into_iter();
    loop {
        let input = match corpus.next() {
            Some(input) => input,
            None if goes_on(run) => mutator.next(),
            None => break,
        };
        run += 1;
        if time.is_some() {
            // What overflows the stack leaves nothing else behind.
            std::fs::write(&last, &input).unwrap();
        }
        alive.send(input.clone()).unwrap();
        match catch_unwind(AssertUnwindSafe(|| parser(&input))) {
            Ok(good) => accepted += usize::from(good),
            Err(panic) => {
                std::fs::write(&last, &input).unwrap();
                let (text, path) = (input.escape_ascii(), last.display());
                eprintln!("{name}, seed {seed}, input {run}, kept in {path}:\n{text}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    drop(alive);
    watch.join().unwrap();
    let _ = std::fs::remove_file(last);
    println!("{name}: {run} inputs, {accepted} accepted, {:.0?}", start.elapsed());
    // A fuzzer whose inputs are all refused at the door tests the door alone.
    assert!(accepted * 50 > run, "{name}: only {accepted} of {run} inputs were accepted");
    assert!(accepted < run, "{name}: every input was accepted");
}

macro_rules! parsers {
    ($($name:ident),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                fuzz(stringify!($name), seeds::$name(), parsers::$name);
            }
        )*

        /// For `scripts/fuzz`, which says where, and mutates them guided by what of the program they
        /// reach. There is something to begin with for each parser.
        #[test]
        fn seeds_are_written() {
            let own = tempfile::tempdir().unwrap();
            let asked = std::env::var_os("BOXWRIGHT_FUZZ_SEEDS").map(std::path::PathBuf::from);
            let directory = asked.unwrap_or_else(|| own.path().to_owned());
            $({
                let directory = directory.join(stringify!($name));
                std::fs::create_dir_all(&directory).unwrap();
                let all = seeds::$name().into_iter().chain(seeds::failed(stringify!($name)));
                for (number, seed) in all.enumerate() {
                    std::fs::write(directory.join(format!("seed-{number}")), seed).unwrap();
                }
                let first = std::fs::metadata(directory.join("seed-0"));
                assert!(first.is_ok_and(|seed| seed.len() > 0), stringify!($name));
            })*
            std::fs::write(directory.join("dictionary"), mutate::dictionary()).unwrap();
        }

        /// What `cargo test` feeds is what `scripts/fuzz` feeds. GNU tar is too slow for that.
        #[test]
        fn each_parser_has_a_target() {
            let manifest = include_str!("../../fuzz/Cargo.toml");
            for name in [$(stringify!($name)),*] {
                let has = manifest.contains(&format!("name = \"{name}\"\n"));
                assert_eq!(has, name != "archive_and_tar", "{name}");
            }
        }
    };
}

parsers!(
    archive,
    archive_and_tar,
    dockerfile,
    dockerignore,
    config,
    hosts,
    lock,
    pin_toml,
    pin_json,
    pin_yaml,
    pin_text,
    inputs,
    manifest,
    record,
    names,
    event,
    layout,
    registry,
);
