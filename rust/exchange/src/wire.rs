//! Digits, times, checksums and WebSocket frames. This crate shares no code with the recorder's core, so that each checks
//! the other.

/// CRC-32/ISO-HDLC tables for eight bytes at a time.
const TABLES: [[u32; 256]; 8] = {
    let mut tables = [[0u32; 256]; 8];
    let mut i = 0;
    while i < 256 {
        #[allow(clippy::cast_possible_truncation, reason = "below 256")]
        let mut crc = i as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
            bit += 1;
        }
        tables[0][i] = crc;
        i += 1;
    }
    let mut t = 1;
    while t < 8 {
        let mut i = 0;
        while i < 256 {
            let before = tables[t - 1][i];
            tables[t][i] = (before >> 8) ^ tables[0][(before & 0xFF) as usize];
            i += 1;
        }
        t += 1;
    }
    tables
};

/// CRC-32/ISO-HDLC of `bytes`.
#[must_use]
pub fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        let low = crc ^ u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
        crc = 0;
        for (i, byte) in low.to_le_bytes().into_iter().chain(chunk[4..].iter().copied()).enumerate() {
            crc ^= TABLES[7 - i][usize::from(byte)];
        }
    }
    for &byte in chunks.remainder() {
        crc = (crc >> 8) ^ TABLES[0][((crc ^ u32::from(byte)) & 0xFF) as usize];
    }
    !crc
}

/// `00` to `99`.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut i = 0;
    while i < 100 {
        #[allow(clippy::cast_possible_truncation, reason = "below 100")]
        let byte = i as u8;
        pairs[i] = [b'0' + byte / 10, b'0' + byte % 10];
        i += 1;
    }
    pairs
};

/// Digits of a number, at the end of a buffer of zeros.
const WIDTH: usize = 48;

/// Writes the digits of `rest` to the end of `digits`, at least one; returns where they begin.
fn fill(mut rest: u128, digits: &mut [u8; WIDTH]) -> usize {
    let mut at = WIDTH;
    // 64 bits if they suffice: their division is many times faster.
    while rest > u128::from(u64::MAX) {
        at -= 1;
        #[allow(clippy::cast_possible_truncation, reason = "one digit")]
        let digit = (rest % 10) as u8;
        digits[at] = b'0' + digit;
        rest /= 10;
    }
    #[allow(clippy::cast_possible_truncation, reason = "it fits now")]
    let mut small = rest as u64;
    loop {
        at -= 2;
        digits[at..at + 2].copy_from_slice(&PAIRS[(small % 100) as usize]);
        if small < 100 {
            return if small < 10 { at + 1 } else { at };
        }
        small /= 100;
    }
}

/// Writes `value` × 10^-`decimals` in fixed point, padded: 5100 with 8 decimals is `0.00005100`.
pub fn number(value: i128, decimals: u8, out: &mut Vec<u8>) {
    let mut digits = [b'0'; WIDTH];
    let point = WIDTH - usize::from(decimals);
    let at = fill(value.unsigned_abs(), &mut digits).min(point - 1);
    if value < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..point]);
    if decimals > 0 {
        out.push(b'.');
        out.extend_from_slice(&digits[point..]);
    }
}

/// Writes the digits of a whole number without padding, as the checksum uses them.
pub fn digits(value: i64, out: &mut Vec<u8>) {
    let mut digits = [b'0'; WIDTH];
    let at = fill(value.unsigned_abs().into(), &mut digits);
    out.extend_from_slice(&digits[at..]);
}

/// Writes RFC 3339 with `decimals` (6 or 9) of a second: `2026-08-02T03:35:51.660084Z`. `ns` since the epoch.
pub fn time(ns: i64, decimals: usize, out: &mut Vec<u8>) {
    let (days, rest) = (ns.div_euclid(86_400_000_000_000), ns.rem_euclid(86_400_000_000_000));
    // Days to a date by the 400-year era (Hinnant, "chrono-compatible low-level date algorithms").
    let z = days + 719_468;
    let (era, doe) = (z.div_euclid(146_097), z.rem_euclid(146_097));
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + i64::from(month <= 2);
    let second = rest / 1_000_000_000;
    let mut field = |mut value: i64, width: usize, before: &[u8]| {
        out.extend_from_slice(before);
        let from = out.len();
        out.resize(from + width, b'0');
        for byte in out[from..].iter_mut().rev() {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "one digit")]
            let digit = (value % 10) as u8;
            *byte += digit;
            value /= 10;
        }
    };
    field(year, 4, b"\"");
    field(month, 2, b"-");
    field(day, 2, b"-");
    field(second / 3600, 2, b"T");
    field(second / 60 % 60, 2, b":");
    field(second % 60, 2, b":");
    let nanoseconds = rest % 1_000_000_000;
    field(if decimals == 9 { nanoseconds } else { nanoseconds / 1000 }, decimals, b".");
    out.extend_from_slice(b"Z\"");
}

/// Reads RFC 3339 in UTC, as `2026-11-28T15:00:01.500Z`, to ns since the epoch; years 1970 to 2200.
#[must_use]
pub fn read_time(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| {
        let digits = bytes.get(from..to).filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
        Some(digits.iter().fold(0i64, |value, digit| value * 10 + i64::from(digit - b'0')))
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    let zone = text.strip_suffix('Z').or_else(|| text.strip_suffix("+00:00"))?;
    let part = zone.get(19..)?;
    let digits = if part.is_empty() { "0" } else { part.strip_prefix('.')? };
    let right = marks.iter().all(|&(at, mark)| bytes[at] == mark)
        && (1970..=2200).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60
        && (1..=9).contains(&digits.len())
        && digits.bytes().all(|byte| byte.is_ascii_digit());
    let ns: i64 = if right { format!("{digits:0<9}").parse().ok()? } else { return None };
    // A date to days, as `time` the other way round.
    let y = year - i64::from(month <= 2);
    let era = y.div_euclid(400);
    let yoe = y.rem_euclid(400);
    let doy = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let days = era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468;
    Some(((days * 24 + hour) * 3600 + minute * 60 + second) * 1_000_000_000 + ns)
}

/// Writes an order id of Kraken's form, `"OTCFZG-YOE2Q-LQKNM3"`, with its quotes; each number has a different one.
pub fn order_id(number: u64, out: &mut Vec<u8>) {
    id(b'O', number, out);
}

/// Writes an id of Kraken's form that begins with `kind`, with its quotes; each number has a different one.
pub fn id(kind: u8, number: u64, out: &mut Vec<u8>) {
    // Each step can be undone, so that no two numbers meet (Stafford's variant 13 of MurmurHash3's finalizer).
    let mut mixed = number;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^= mixed >> 31;
    // Sixteen characters of five bits are 80: the upper 16 repeat some of the 64.
    let mut bits = u128::from(mixed) | u128::from(mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 48) << 64;
    let mut text = *b"\"O     -     -      \"";
    text[1] = kind;
    for byte in text.iter_mut().filter(|byte| **byte == b' ') {
        *byte = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[(bits & 31) as usize];
        bits >>= 5;
    }
    out.extend_from_slice(&text);
}

/// Adds a WebSocket text frame from server to client (unmasked) to `out`.
pub fn frame(text: &[u8], out: &mut Vec<u8>) {
    out.push(0x81);
    let length = text.len();
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ 0..=125), _) => out.push(short),
        (_, Ok(medium)) => {
            out.push(126);
            out.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(text);
}

/// The text of a frame that `frame` made.
#[must_use]
pub fn text(frame: &[u8]) -> &[u8] {
    &frame[head(frame)..]
}

/// Bytes before the text of a frame.
fn head(frame: &[u8]) -> usize {
    match frame[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    }
}

/// Where the texts of a block are, which holds whole frames that `frame` made: each begin and end.
pub fn texts(block: &[u8]) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let frame = block.get(at..).filter(|rest| !rest.is_empty())?;
        let head = head(frame);
        let length = match head {
            2 => u64::from(frame[1]),
            _ => frame[2..head].iter().fold(0, |length, &byte| length << 8 | u64::from(byte)),
        };
        let begin = at + head;
        at = begin.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
        Some(begin..at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a block is cut where its frames were put together, whatever their lengths.
    #[test]
    fn a_block_is_cut_into_its_texts() {
        let all = [0, 1, 125, 126, 65_535, 65_536, 3].map(|length| vec![b'x'; length]);
        let mut block = Vec::new();
        for text in &all {
            frame(text, &mut block);
        }
        let found: Vec<_> = texts(&block).map(|range| block[range].to_vec()).collect();
        assert_eq!(found, all);
        assert_eq!(texts(&[]).count(), 0);
    }

    #[test]
    fn digits_times_and_frames() {
        let text = |value, decimals| {
            let mut out = Vec::new();
            number(value, decimals, &mut out);
            String::from_utf8(out).expect("digits")
        };
        assert_eq!(text(5100, 8), "0.00005100");
        assert_eq!(text(0, 8), "0.00000000");
        assert_eq!(text(-125, 1), "-12.5");
        assert_eq!(text(7, 0), "7");
        assert_eq!(text(0, 0), "0");
        assert_eq!(text(100, 2), "1.00");
        assert_eq!(text(i128::from(u64::MAX) + 1, 10), "1844674407.3709551616");
        assert_eq!(text(123_456_789_012_345_678_901_234_567, 3), "123456789012345678901234.567");
        let mut out = Vec::new();
        time(1_785_641_751_660_084_123, 6, &mut out);
        assert_eq!(out, b"\"2026-08-02T03:35:51.660084Z\"");
        out.clear();
        time(951_782_400_000_000_001, 9, &mut out);
        assert_eq!(out, b"\"2000-02-29T00:00:00.000000001Z\"");
        for (length, header) in [(125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            out.clear();
            frame(&vec![b' '; length], &mut out);
            assert_eq!((out.len(), self::text(&out).len()), (length + header, length));
        }
    }

    /// Goal: a time that is written is read again; what is no time is not read.
    #[test]
    fn times_are_read() {
        for ns in [0, 1_785_641_751_660_084_123, 951_782_400_000_000_001, 4_102_444_799_999_999_999] {
            let mut out = Vec::new();
            time(ns, 9, &mut out);
            let text = String::from_utf8(out).expect("text");
            assert_eq!(read_time(text.trim_matches('"')), Some(ns), "{text}");
        }
        assert_eq!(read_time("2026-11-28T15:00:01Z"), read_time("2026-11-28T15:00:01.000+00:00"));
        for wrong in ["", "2026-11-28", "2026-11-28T15:00:01", "2026-13-28T15:00:01Z", "2026-11-28 15:00:01Z", "x"] {
            assert_eq!(read_time(wrong), None, "{wrong}");
        }
        assert_eq!(read_time("2026-11-28T15:00:01.0000000001Z"), None);
    }

    /// Goal: ids have Kraken's form, and numbers that follow one another, in any pair, have different ones.
    #[test]
    fn order_ids() {
        let mut seen = std::collections::HashSet::new();
        for number in (0..50_000).chain((0..1500).map(|pair| pair << 40)) {
            let mut out = Vec::new();
            order_id(number, &mut out);
            let text = String::from_utf8(out).expect("text");
            let parts: Vec<&str> = text.trim_matches('"').split('-').collect();
            assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [6, 5, 6], "{text}");
            assert!(
                parts[0].starts_with('O')
                    && parts.concat().bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
            );
            seen.insert(text);
        }
        assert_eq!(seen.len(), 51_499, "number 0 is there twice");
    }

    #[test]
    fn crc_is_zlibs() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(crc32(b""), 0);
    }
}
