//! The fuzz targets without a fuzzer: their corpora, and some thousand mutations of them, the same
//! each time.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

// The attribute's code, as in `fuzz/src/lib.rs`.
#[path = "../bgjob-macros/src/args.rs"]
mod args;
#[path = "../bgjob-macros/src/attribute.rs"]
mod attribute;
#[path = "../bgjob-macros/src/elsewhere.rs"]
mod elsewhere;
#[path = "../bgjob-macros/src/errors.rs"]
#[allow(dead_code, reason = "its own tests use more")]
mod errors;
#[path = "../bgjob-macros/src/expand.rs"]
mod expand;
#[path = "../bgjob-macros/src/input.rs"]
mod input;
#[path = "../bgjob-macros/src/literal/mod.rs"]
mod literal;
#[path = "../bgjob-macros/src/model.rs"]
mod model;
#[path = "../bgjob-macros/src/nearest.rs"]
mod nearest;
#[path = "../bgjob-macros/src/options.rs"]
mod options;
#[path = "../fuzz/src/targets.rs"]
#[allow(unreachable_pub, reason = "in its own crate they are public")]
mod targets;

/// Mutations a target is given.
const MUTATIONS: u64 = 10_000;
/// Seeds a target has at least.
const SEEDS: usize = 20;

/// A generator of numbers that are always the same (xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).expect("it is less than sides")
    }
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let entries = fs::read_dir(folder).expect("each target has a corpus");
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("it can be read").path())
        .collect();
    paths.sort();
    let read = |path| fs::read(path).expect("it can be read");
    paths.into_iter().map(read).collect()
}

/// Changes a few bytes, cuts, doubles, or crosses with another.
fn mutate(seeds: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    const ODD: &[u8] = b"\0\xff\"\\{}[](),:;=?/.-+0919eE\n \x7f\xc3\xa9";
    let mut data = seeds[dice.roll(seeds.len())].clone();
    for _ in 0..=dice.roll(4) {
        let at = dice.roll(data.len() + 1);
        match dice.roll(6) {
            0 => data.insert(at, ODD[dice.roll(ODD.len())]),
            1 => data.truncate(at),
            2 if at < data.len() => data[at] ^= 1 << dice.roll(8),
            3 if at < data.len() => drop(data.remove(at)),
            4 => {
                let end = at + dice.roll(data.len() - at + 1);
                let part = data[at..end].to_vec();
                data.splice(at..at, part);
            }
            _ => {
                let other = &seeds[dice.roll(seeds.len())];
                let from = dice.roll(other.len() + 1);
                data.truncate(at);
                data.extend_from_slice(&other[from..]);
            }
        }
    }
    data
}

/// Runs a target, and says what it failed on.
fn check(name: &str, target: targets::Target, data: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| target(data))).is_err() {
        panic!("{name} fails on b\"{}\"", data.escape_ascii());
    }
}

#[test]
fn every_target_stands_its_corpus_and_what_is_like_it() {
    for (name, target) in targets::TARGETS {
        let seeds = seeds(name);
        assert!(seeds.len() >= SEEDS, "{name} has {} seeds", seeds.len());
        seeds.iter().for_each(|seed| check(name, target, seed));
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
        for _ in 0..MUTATIONS {
            check(name, target, &mutate(&seeds, &mut dice));
        }
    }
}
