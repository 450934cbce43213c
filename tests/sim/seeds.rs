//! Many seeds, one seed again, and every broken rule.
//!
//! One seed again, with its story: `SIM_SEED=123 cargo sim seed -- --nocapture`. More of them:
//! `SIM_SEEDS=100000`.

use std::{
    collections::HashSet,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use super::{
    mutation::Mutation,
    rules,
    run::{Place, tell},
};

/// Seeds that are told; fewer where the compiler does not help.
const SEEDS: u64 = if cfg!(debug_assertions) { 30 } else { 10_000 };
/// Seeds in which a broken rule must show.
const SEEDS_OF_MUTATION: u64 = 3_000;

#[expect(clippy::disallowed_methods, reason = "how the simulation is told what to do")]
pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|it| it.parse().expect("a number"))
}

#[test]
fn every_seed_keeps_the_promises() {
    if let Some(seed) = number("SIM_SEED") {
        return again(seed);
    }
    let (n_seeds, started) = (number("SIM_SEEDS").unwrap_or(SEEDS), Instant::now());
    let first = number("SIM_FIRST").unwrap_or(0);
    let next = AtomicU64::new(first);
    let broken = Mutex::new(Vec::new());
    let sums = Mutex::new((0, 0, 0, 0));
    let run = || {
        let place = Place::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + n_seeds || broken.lock().unwrap().len() >= 10 {
                break;
            }
            let story = tell(seed, None, false, &place);
            let mut sums = sums.lock().unwrap();
            sums.0 += story.n_messages;
            sums.1 += story.n_sent;
            sums.2 += story.n_by_meta;
            sums.3 += story.n_crashes;
            if let Some((rule, how)) = story.failure {
                broken.lock().unwrap().push(format!(
                    "seed {seed}: {rule}: {how}\n    SIM_SEED={seed} cargo sim seed -- --nocapture"
                ));
            }
        }
    };
    std::thread::scope(|scope| {
        let n_threads = std::thread::available_parallelism().map_or(1, usize::from);
        (0..n_threads).for_each(|_| drop(scope.spawn(run)));
    });
    let (n_messages, n_sent, n_by_meta, n_crashes) = *sums.lock().unwrap();
    println!(
        "{n_seeds} seeds in {:.1} s: {n_messages} messages, {n_sent} sends taken, {n_by_meta} of them by Meta, {n_crashes} crashes",
        started.elapsed().as_secs_f64()
    );
    let broken = broken.into_inner().unwrap();
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

/// One seed again.
fn again(seed: u64) {
    let story = tell(seed, None, true, &Place::new());
    println!("{}", story.lines.join("\n"));
    assert_eq!(story.failure, None, "seed {seed}");
}

#[test]
fn a_seed_tells_the_same_story_twice() {
    let (one, other) = (Place::new(), Place::new());
    for seed in 0..if cfg!(debug_assertions) { 10 } else { 200 } {
        let traces = [&one, &other].map(|it| tell(seed, None, false, it).trace);
        if traces[0] != traces[1] {
            let [a, b] = [&one, &other].map(|it| tell(seed, None, true, it).lines);
            let differ = a.iter().zip(&b).find(|it| it.0 != it.1);
            panic!("seed {seed}: {differ:?}");
        }
    }
}

#[test]
#[cfg_attr(debug_assertions, ignore = "slow without an optimised build: scripts/test.sh runs it")]
fn every_broken_rule_is_noticed() {
    let next = AtomicU64::new(0);
    let found = Mutex::new(vec![None; Mutation::ALL.len()]);
    let run = || {
        let place = Place::new();
        loop {
            let n = usize::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap();
            let Some(mutation) = Mutation::ALL.get(n) else { break };
            found.lock().unwrap()[n] = Some(caught(*mutation, &place));
        }
    };
    std::thread::scope(|scope| {
        let n_threads = std::thread::available_parallelism().map_or(1, usize::from);
        (0..n_threads).for_each(|_| drop(scope.spawn(run)));
    });
    let mut missed = Vec::new();
    for (mutation, found) in Mutation::ALL.iter().zip(found.into_inner().unwrap()) {
        match found.expect("each is looked for") {
            Ok(n) => println!("{mutation:?}: after {n} seeds, by \"{}\"", mutation.breaks()[0]),
            Err(how) => missed.push(format!("{mutation:?}: {how}")),
        }
    }
    assert!(missed.is_empty(), "\n{}", missed.join("\n"));
}

#[test]
fn every_rule_is_broken_on_purpose() {
    let broken: HashSet<_> = Mutation::ALL.iter().map(|it| it.breaks()[0]).collect();
    assert_eq!(broken, rules::ALL.into_iter().collect());
}

/// After how many seeds the rule shows that is broken. What shows before it must be known to.
fn caught(mutation: Mutation, place: &Place) -> Result<u64, String> {
    let rules = mutation.breaks();
    for seed in 0..SEEDS_OF_MUTATION {
        match tell(seed, Some(mutation), false, place).failure {
            Some((rule, _)) if rule == rules[0] => return Ok(seed + 1),
            Some((rule, how)) if !rules.contains(&rule) => {
                return Err(format!("seed {seed} breaks another rule: {rule}: {how}"));
            }
            Some(_) | None => {}
        }
    }
    Err(format!("not noticed in {SEEDS_OF_MUTATION} seeds by \"{}\"", rules[0]))
}
