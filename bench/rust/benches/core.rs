//! The core and its peers. Names: `group/case/implementation`.
//!
//! Goals: time per frame from bytes to a checked book with rows; of the book alone; of proving rows again; on the same
//! frames, the time that others need only to read them. The same for level 3, and time per message of its book alone,
//! at every depth; memory per order. Every answer is asserted; a hash of it is printed.
//! Not goals: sockets, Python and files (see `bench/python`); latency under load; machines other than this one.
//!
//! Times are CPU times of the thread. One iteration is a whole case. `cargo bench -- --test` runs each once.

mod cpu_time;

use std::hint::black_box;
use std::time::Duration;

use cpu_time::CpuTime;
use criterion::{BenchmarkId, Throughput, criterion_group, criterion_main};
use krakpot_bench::cases::{Case, cases};
use krakpot_bench::{Answer, krakpot, orders, peers};

type Criterion = criterion::Criterion<CpuTime>;

fn say(case: &Case, what: &str, answer: Answer) {
    let hash = krakpot_frames::crc32(format!("{answer:?}").as_bytes());
    println!("{}: {what}: {} frames, {} entries, answer {hash:08x}", case.name, case.frames.len(), answer.entries);
}

fn frame(criterion: &mut Criterion, cases: &[Case]) {
    let mut group = criterion.benchmark_group("frame");
    group.sample_size(20).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    for case in cases {
        let frames = &case.frames;
        group.throughput(Throughput::Elements(frames.len() as u64));
        let answer = krakpot::answer(case);
        assert_eq!(answer, case.answer, "{}: the rows say what the frames say", case.name);
        say(case, "krakpot", answer);
        let proved = (frames.len() as u64, case.answer.entries);
        let id = |implementation| BenchmarkId::new(case.name, implementation);
        group.bench_function(id("krakpot"), |b| b.iter(|| assert_eq!(krakpot::checked_book(black_box(case)), proved)));
        group.bench_function(id("krakpot_batches"), |b| {
            b.iter(|| {
                let rows: usize = krakpot::batches(black_box(case)).iter().map(|batch| batch.num_rows()).sum();
                assert_eq!(rows as u64, case.answer.entries);
            });
        });
        for (name, read) in [
            ("serde_json_typed", peers::serde_json_typed as fn(&[Vec<u8>]) -> Answer),
            ("serde_json_value", peers::serde_json_value),
            ("sonic_rs_typed", peers::sonic_rs_typed),
            ("simd_json_typed", peers::simd_json_typed),
        ] {
            group.bench_function(id(name), |b| b.iter(|| assert_eq!(read(black_box(frames)), case.answer)));
        }
        let found = peers::kraken_book(case);
        if found == proved.0 {
            group.bench_function(id("kraken_book"), |b| {
                b.iter(|| assert_eq!(peers::kraken_book(black_box(case)), found));
            });
        } else {
            println!("{}: kraken-book finds {found} of {} checksums right: it is left out", case.name, proved.0);
        }
        let nodes = peers::nodes(frames);
        group.bench_function(id("simd_json_tape"), |b| {
            b.iter(|| assert_eq!(peers::simd_json_tape(black_box(frames)), nodes));
        });
        #[cfg(simdjson)]
        for (name, text) in [("simdjson_on_demand_text", true), ("simdjson_on_demand_double", false)] {
            let mut reader = krakpot_bench::simdjson::Reader::new(frames, false);
            group.bench_function(id(name), |b| b.iter(|| assert_eq!(reader.read(black_box(text)), case.answer)));
        }
    }
    group.finish();
}

fn book(criterion: &mut Criterion, cases: &[Case]) {
    let mut group = criterion.benchmark_group("book");
    group.sample_size(20).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    for case in cases {
        let messages = krakpot::messages(case);
        group.throughput(Throughput::Elements(messages.len() as u64));
        group.bench_function(BenchmarkId::new(case.name, "apply_and_checksum"), |b| {
            b.iter(|| assert_eq!(krakpot::apply(black_box(&messages)), messages.len() as u64));
        });
    }
    group.finish();
}

fn verify(criterion: &mut Criterion, cases: &[Case]) {
    let mut group = criterion.benchmark_group("verify");
    group.sample_size(20).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    for case in cases {
        let batches = krakpot::batches(case);
        group.throughput(Throughput::Elements(case.frames.len() as u64));
        group.bench_function(BenchmarkId::new(case.name, "krakpot"), |b| {
            b.iter(|| {
                let found = krakpot::verify(black_box(&batches));
                assert_eq!((found.len(), found[0].ok), (1, case.frames.len() as u64), "{:?}", found[0].problems);
            });
        });
    }
    group.finish();
}

fn level3(criterion: &mut Criterion, cases: &[orders::Case]) {
    let mut group = criterion.benchmark_group("level3");
    group.sample_size(20).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    for case in cases {
        let (frames, depth) = (&orders::frames(case), case.depth);
        let answer = orders::answer(case);
        let proved = (frames.len() as u64, answer.entries);
        let id = |implementation| BenchmarkId::new(case.name, implementation);
        group.throughput(Throughput::Elements(proved.0));
        group.bench_function(id("krakpot"), |b| {
            b.iter(|| assert_eq!(orders::checked_book(depth, black_box(frames)), proved));
        });
        let blank = orders::with_a_blank(frames);
        group.bench_function(id("krakpot_any_layout"), |b| {
            b.iter(|| assert_eq!(orders::checked_book(depth, black_box(&blank)), proved));
        });
        let nodes = peers::nodes(frames);
        group.bench_function(id("simd_json_tape"), |b| {
            b.iter(|| assert_eq!(peers::simd_json_tape(black_box(frames)), nodes));
        });
        #[cfg(simdjson)]
        {
            let mut reader = krakpot_bench::simdjson::Reader::new(frames, true);
            group.bench_function(id("simdjson_on_demand_text"), |b| {
                b.iter(|| assert_eq!(reader.read(black_box(true)), answer));
            });
        }
    }
    group.finish();
}

fn order_books(criterion: &mut Criterion, cases: &[orders::Case]) {
    let mut group = criterion.benchmark_group("orders");
    group.sample_size(20).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    for case in cases {
        let count = case.messages.len() as u64;
        let answer = orders::answer(case);
        let hash = krakpot_frames::crc32(format!("{answer:?}").as_bytes());
        println!("{}: orders: {count} messages, {} entries, answer {hash:08x}", case.name, answer.entries);
        let id = |implementation| BenchmarkId::new(case.name, implementation);
        group.throughput(Throughput::Elements(count));
        group.bench_function(id("krakpot"), |b| {
            b.iter(|| assert_eq!(orders::krakpot(black_box(case), false), (count, 0)));
        });
        let both = orders::krakpot(case, true);
        group.bench_function(id("krakpot_both_checksums"), |b| {
            b.iter(|| assert_eq!(orders::krakpot(black_box(case), true), both));
        });
        let few = orders::PLAIN_MESSAGES as u64;
        group.throughput(Throughput::Elements(few));
        group.bench_function(id("sorted_anew"), |b| b.iter(|| assert_eq!(orders::plain(black_box(case)), few)));
    }
    group.finish();
}

fn all(criterion: &mut Criterion) {
    assert!(!cfg!(debug_assertions), "a debug build says nothing about speed: cargo bench builds for release");
    #[cfg(simdjson)]
    println!("simdjson {}", krakpot_bench::simdjson::version());
    #[cfg(not(simdjson))]
    println!("simdjson is not installed: the C++ peer is left out");
    let cases = cases();
    frame(criterion, &cases);
    book(criterion, &cases);
    verify(criterion, &cases);
    let cases = orders::cases();
    level3(criterion, &cases);
    order_books(criterion, &cases);
    for orders in [20_000, 100_000] {
        match orders::bytes_per_order(orders) {
            Some(bytes) => println!("orders: {bytes:.0} bytes per order in a book of {orders}"),
            None => println!("orders: memory is not measured here"),
        }
    }
}

criterion_group!(name = benches; config = criterion::Criterion::default().with_measurement(CpuTime::new()); targets = all);
criterion_main!(benches);
