//! Writes a stream to standard output, one frame per line, for the benchmarks in Python.

use std::io::Write as _;

fn main() -> std::io::Result<()> {
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect();
    let [symbols, depth, updates, seed] = numbers[..] else {
        eprintln!("usage: krakpot-frames SYMBOLS DEPTH UPDATES SEED");
        std::process::exit(2);
    };
    let size = |n: u64| usize::try_from(n).expect("a 64-bit machine");
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for frame in krakpot_frames::stream(size(symbols), size(depth), size(updates), seed) {
        out.write_all(&frame)?;
        out.write_all(b"\n")?;
    }
    out.flush()
}
