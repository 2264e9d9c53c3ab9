//! Other readers of the same frames, each as its documentation advises: buffers reused, text borrowed, numbers as
//! binary floating point. None of them keeps a book, except [`kraken_book`], a crate for Kraken's books.

use kraken_book::Orderbook;
use kraken_types::WsMessage;
use serde::Deserialize;
use simd_json::{Buffers, Tape};

use crate::Answer;
use crate::cases::Case;

#[derive(Deserialize)]
struct Frame<'a> {
    channel: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    data: Vec<Data<'a>>,
}

#[derive(Deserialize)]
struct Data<'a> {
    symbol: &'a str,
    bids: Vec<Level>,
    asks: Vec<Level>,
    checksum: u32,
    timestamp: &'a str,
}

#[derive(Deserialize)]
struct Level {
    price: f64,
    qty: f64,
}

fn take(frame: &Frame<'_>, answer: &mut Answer) {
    std::hint::black_box((frame.channel, frame.kind));
    for data in &frame.data {
        answer.entries += (data.bids.len() + data.asks.len()) as u64;
        answer.checksums += u64::from(data.checksum);
        std::hint::black_box((data.symbol, data.timestamp));
        for level in data.bids.iter().chain(&data.asks) {
            std::hint::black_box((level.price, level.qty));
        }
    }
}

/// `serde_json` into structs.
///
/// # Panics
/// If a frame is refused, like all functions here.
#[must_use]
pub fn serde_json_typed(frames: &[Vec<u8>]) -> Answer {
    let mut answer = Answer::default();
    for frame in frames {
        take(&serde_json::from_slice(frame).expect("a book frame"), &mut answer);
    }
    answer
}

/// `serde_json` into its `Value`.
#[must_use]
pub fn serde_json_value(frames: &[Vec<u8>]) -> Answer {
    let mut answer = Answer::default();
    for frame in frames {
        let value: serde_json::Value = serde_json::from_slice(frame).expect("JSON");
        for data in value["data"].as_array().expect("a list") {
            let levels = |side: &str| data[side].as_array().expect("a list").len() as u64;
            answer.entries += levels("bids") + levels("asks");
            answer.checksums += data["checksum"].as_u64().expect("a number");
        }
    }
    answer
}

/// `sonic-rs` into structs.
#[must_use]
pub fn sonic_rs_typed(frames: &[Vec<u8>]) -> Answer {
    let mut answer = Answer::default();
    for frame in frames {
        take(&sonic_rs::from_slice(frame).expect("a book frame"), &mut answer);
    }
    answer
}

/// `simd-json` into structs. It writes into its input, so each frame is copied first.
#[must_use]
pub fn simd_json_typed(frames: &[Vec<u8>]) -> Answer {
    let mut answer = Answer::default();
    let (mut scratch, mut buffers) = (Vec::new(), Buffers::new(4096));
    for frame in frames {
        scratch.clear();
        scratch.extend_from_slice(frame);
        take(
            &simd_json::serde::from_slice_with_buffers(&mut scratch, &mut buffers).expect("a book frame"),
            &mut answer,
        );
    }
    answer
}

/// The tape of `simd-json` alone, the core's own parser: copied and parsed, but not read. Returns the nodes.
#[must_use]
pub fn simd_json_tape(frames: &[Vec<u8>]) -> u64 {
    let (mut scratch, mut buffers, mut kept) = (Vec::new(), Buffers::new(4096), Some(Tape(Vec::new())));
    let mut nodes = 0;
    for frame in frames {
        scratch.clear();
        scratch.extend_from_slice(frame);
        scratch.resize(frame.len() + simd_json::INPUT_PADDING, 0);
        let mut tape = kept.take().expect("put back below").reset();
        simd_json::fill_tape_padded(&mut scratch, frame.len(), &mut buffers, &mut tape).expect("JSON");
        nodes += tape.0.len() as u64;
        kept = Some(tape.reset());
    }
    nodes
}

/// The nodes that [`simd_json_tape`] must find: one for each value and each key.
#[must_use]
pub fn nodes(frames: &[Vec<u8>]) -> u64 {
    fn of(value: &serde_json::Value) -> u64 {
        match value {
            serde_json::Value::Array(list) => 1 + list.iter().map(of).sum::<u64>(),
            serde_json::Value::Object(fields) => 1 + fields.values().map(|value| 1 + of(value)).sum::<u64>(),
            _ => 1,
        }
    }
    frames.iter().map(|frame| of(&serde_json::from_slice(frame).expect("JSON"))).sum()
}

/// The crate `kraken-book` with `kraken-types` for the messages: a checked book, no rows. Returns the messages whose
/// checksum it found right.
#[must_use]
pub fn kraken_book(case: &Case) -> u64 {
    let mut book = Orderbook::with_depth(case.symbol, case.depth.into());
    book.set_precision(case.precision.0, case.precision.1);
    let mut proved = 0;
    for (i, frame) in case.frames.iter().enumerate() {
        let text = std::str::from_utf8(frame).expect("frames are text");
        if let WsMessage::Book(message) = WsMessage::parse(text).expect("a book frame") {
            proved += message.data.iter().filter(|data| book.apply_book_data(data, i == 0).is_ok()).count() as u64;
        }
    }
    proved
}
