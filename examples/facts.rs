//! What a million facts cost: memory, and the time of a hit beside a cache of a thousand.
//!
//! `cargo run --release --example facts -- [FACTS] [ROUNDS]`

use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign::agreements::cache::Settings;
use countersign::agreements::near::NearFacts;
use countersign::agreements::sources::Sources;
use countersign::agreements::{Agreements, Asking};
use countersign::clock::Now;
use countersign::policy::agreement::{Cloud, Fact, Key, MCA, Party, Scope, Status};
use countersign::policy::decision::Need;
use countersign::policy::id::{Guid, Name};

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const FEW: u64 = 1_000;
/// The billing partner.
const PARTNER: u128 = 0x7d1c_4a52_2f0e_4b7a_9a51_5f2f_4c1e_0a01;
/// Look-ups in one round.
const LOOKS: u64 = 1_000_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let many: u64 = arguments.next().map_or(Ok(1_000_000), |text| text.parse())?;
    let rounds: usize = arguments.next().map_or(Ok(7), |text| text.parse())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let week = Duration::from_secs(7 * 24 * 3600);
    let settings = Settings { entries: many.max(FEW), accepted: week, ..Settings::default() };
    let sources = Arc::new(Sources::default());
    let asking = Asking::new(&sources, &settings, Some(Guid::from_bits(PARTNER)), Now::read());
    let small = Agreements::new(settings.entries, runtime.handle().clone());
    fill(&small, &asking, FEW);

    let before = resident_bytes()?;
    let started = Instant::now();
    let big = Agreements::new(settings.entries, runtime.handle().clone());
    fill(&big, &asking, many);
    let took = started.elapsed();
    let after = resident_bytes()?;
    println!(
        "{many} facts: {:.1} MB, {:.0} bytes each ({} are kept); taken in {:.2} s, {:.2} us each",
        (after - before) as f64 / 1e6,
        (after - before) as f64 / many as f64,
        big.kept(),
        took.as_secs_f64(),
        took.as_secs_f64() * 1e6 / many as f64,
    );
    println!("one fact with its key: {} bytes", size_of_val(&big.all().next().expect("there are some")));

    let mut near = NearFacts::default();
    // Between two looks at a key of a thousand pass twenty seconds: a worker's own copy of it is too old by then.
    let at_hand = |agreements: &Agreements, near: &mut NearFacts, number: u64, ms: u64| {
        let now = Now { mono: asking.now.mono + Duration::from_millis(ms), ..asking.now };
        agreements.at_hand(near, &Asking { now, ..asking }, &[need(number)]).is_some()
    };
    let looked_up = |agreements: &Agreements, number: u64| {
        let (statuses, counts) = runtime.block_on(agreements.look_up(&asking, &[need(number)]));
        counts.misses == 0 && statuses.answers.len() == 1
    };
    compare("at hand, a random key", rounds, &[FEW, many], |count| {
        let agreements = if count == FEW { &small } else { &big };
        // A worker that has just begun: what it copied of the other cache would be found again.
        near = NearFacts::default();
        timed(|look| at_hand(agreements, &mut near, scattered(look) % count, 20 * look))
    });
    compare("at hand, the same key", rounds, &[FEW, many], |count| {
        let agreements = if count == FEW { &small } else { &big };
        near = NearFacts::default();
        timed(|_| at_hand(agreements, &mut near, 7, 0))
    });
    compare("looked up, a random key", rounds, &[FEW, many], |count| {
        let agreements = if count == FEW { &small } else { &big };
        timed(|look| looked_up(agreements, scattered(look) % count))
    });
    println!("questions that sources were asked: {}", big.asked() + small.asked());

    let started = Instant::now();
    let found = big.all().filter(|(_, kept)| kept.answer.last.is_some()).count();
    println!("a walk over all {found}: {:.0} ms", started.elapsed().as_secs_f64() * 1e3);
    Ok(())
}

fn fill(agreements: &Agreements, asking: &Asking<'_>, count: u64) {
    let fact = Fact {
        status: Status::UNDATED,
        observed_at: asking.now.wall,
        asked_at: asking.now.wall,
        source: Name::new("center").expect("a plain name"),
    };
    let taken =
        (0..count).filter(|number| agreements.take(asking, need(*number).key, fact, 1)).count() as u64;
    assert_eq!(taken, count, "none was there");
}

fn need(number: u64) -> Need {
    let customer = Guid::from_bits(u128::from(scattered(number)) << 64 | u128::from(number));
    let key = Key {
        cloud: Cloud::Commercial,
        agreement: MCA,
        party: Party::Customer(customer),
        scope: Scope::Billing(Guid::from_bits(PARTNER)),
    };
    Need { key, decides: true }
}

/// A number that looks random (the finaliser of splitmix64).
fn scattered(number: u64) -> u64 {
    let mixed = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

/// Nanoseconds of one look.
fn timed(mut look: impl FnMut(u64) -> bool) -> f64 {
    let started = Instant::now();
    let found = (0..LOOKS).filter(|number| look(*number)).count() as u64;
    assert_eq!(found, LOOKS, "everything is fresh");
    started.elapsed().as_nanos() as f64 / LOOKS as f64
}

/// Runs both in turns, and prints their medians beside each other.
fn compare(what: &str, rounds: usize, counts: &[u64; 2], mut run: impl FnMut(u64) -> f64) {
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for (times, count) in times.iter_mut().zip(counts) {
            times.push(run(*count));
        }
    }
    let medians = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    });
    let [few, many] = medians;
    println!("{what}: {few:.0} ns of {}, {many:.0} ns of {}, ratio {:.2}", counts[0], counts[1], many / few);
}

fn resident_bytes() -> Result<u64, Box<dyn std::error::Error>> {
    let pages = std::fs::read_to_string("/proc/self/statm")?;
    let resident: u64 = pages.split(' ').nth(1).ok_or("statm has a second field")?.parse()?;
    Ok(resident * 4096)
}
