//! Two layouts of the same messages give the same rows, events and counts.

use super::*;

/// A source of numbers for scripts, the same every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Two sessions of which one takes frames as Kraken lays them out and the other the same with a blank, and must not differ.
struct Twins {
    plain: Session,
    blank: Session,
    frames: u32,
    /// Kinds of their events.
    seen: HashSet<String>,
}

impl Twins {
    fn new(options: &Options) -> Self {
        let [plain, blank] = [(); 2].map(|()| Session::new("test", options.clone()));
        Self { plain, blank, frames: 0, seen: HashSet::new() }
    }

    fn receive(&mut self, frame: &str, now: i64) {
        let Self { plain, blank, frames, seen } = self;
        plain.receive(frame.as_bytes(), now);
        blank.receive(frame.replacen(':', ": ", 1).as_bytes(), now);
        let (events, others) = (plain.take_ledger(), blank.take_ledger());
        assert_eq!(events, others, "{frames}: {frame}");
        seen.extend(events.into_iter().map(|row| row.kind.name().to_owned()));
        if frames.is_multiple_of(100) {
            assert_eq!(format!("{:?}", plain.drain()), format!("{:?}", blank.drain()), "up to {frames}");
            assert_eq!(format!("{:?}", plain.counts()), format!("{:?}", blank.counts()), "up to {frames}");
            let [subscriptions, others] = [&*plain, &*blank].map(|one| one.subscriptions().collect::<Vec<_>>());
            assert_eq!(subscriptions, others, "up to {frames}");
        }
        *frames += 1;
    }
}

/// A message of the book channel with one or two of a few numbers a side, the exchange's checksum after it, or a wrong one.
fn script_message(dice: &mut Dice, symbol: &str, book: &mut Book, snapshot: bool) -> String {
    if snapshot {
        *book = Book::new(10, 1, 2);
    }
    let mut side = |side, first: u64| {
        let entries: Vec<_> = (0..dice.roll(4).max(snapshot.into()))
            .map(|_| {
                // Seldom across the other side's best, beyond the precision, or beyond 64 bits.
                let price = match dice.roll(200) {
                    0 => "95.55".to_owned(),
                    1 => "98765432109876543210.5".to_owned(),
                    2 => "100.0".to_owned(),
                    _ => format!("{}.{}", first + dice.roll(3), dice.roll(10)),
                };
                let qty = if !snapshot && dice.roll(3) == 0 { "0.00".into() } else { format!("{}.25", dice.roll(120)) };
                let number = |text: &str| Decimal::parse(text.as_bytes()).expect("a number");
                // What cannot be held ends the book; a checksum is no longer wanted.
                let _ = book.set(&Entry { side, price: number(&price), qty: number(&qty) });
                format!(r#"{{"price":{price},"qty":{qty}}}"#)
            })
            .collect();
        entries.join(",")
    };
    let (bids, asks) = (side(Side::Bid, 97), side(Side::Ask, 101));
    let kind = if snapshot { "snapshot" } else { "update" };
    let checksum = if dice.roll(60) == 0 { 7 } else { book.checksum() };
    format!(
        r#"{{"channel":"book","type":"{kind}","data":[{{"symbol":"{symbol}","bids":[{bids}],"asks":[{asks}],"checksum":{checksum},"timestamp":"2026-08-02T03:35:51.660084Z"}}]}}"#
    )
}

#[test]
fn how_a_message_is_laid_out_makes_no_difference() {
    // As Kraken does, which is read and applied in 64 bits where that will do, and with a blank.
    let symbols: Vec<_> = (0..limits::CHECKPOINTS_MAX + 20).map(|i| format!("S{i}/USD")).collect();
    let options = Options {
        passive: true,
        depth: Some(10),
        // Of the others precision is what the digits show.
        precision: symbols.iter().skip(3).map(|symbol| (symbol.clone(), (1, 2))).collect(),
        ..Options::default()
    };
    let mut pair = Twins::new(&options);
    let mut books: Vec<_> = symbols.iter().map(|_| Book::new(10, 1, 2)).collect();
    let mut dice = Dice(1);
    let mut now = START;
    for message in 0..20_000 {
        // Most of the time within a second; over an hour's end now and then.
        now += if dice.roll(2_000) == 0 { 1_800 * SECOND } else { SECOND / 500 };
        let i = if message < symbols.len() { message } else { usize::try_from(dice.roll(8)).expect("small") };
        let snapshot = message < symbols.len() || pair.plain.book(&symbols[i]).is_none();
        let frame = script_message(&mut dice, &symbols[i], &mut books[i], snapshot);
        pair.receive(&frame, now);
    }
    let counts = pair.plain.counts();
    assert!(counts.book.ok > 10_000 && counts.book.bad > 100 && counts.unknown_entries > 1_000, "{counts:?}");
    assert!(counts.rows[Table::Checkpoints as usize] > 300, "{counts:?}");
    for kind in ["mismatch", "crossed", "precision", "decode_error"] {
        assert!(pair.seen.contains(kind), "{kind} is one of {:?}", pair.seen);
    }
}

/// A message of level 3 with a few orders a side, the exchange's checksum after it, or a wrong one.
fn orders_message(dice: &mut Dice, symbol: &str, orders: &mut Orders, snapshot: bool) -> String {
    const EVENTS: [OrderEvent; 4] = [OrderEvent::Add, OrderEvent::Add, OrderEvent::Modify, OrderEvent::Delete];
    if snapshot {
        *orders = Orders::new(10, 1, 2);
    }
    let mut texts = [(); 2].map(|()| Vec::new());
    for (side, first) in [(Side::Bid, 97), (Side::Ask, 101)] {
        for _ in 0..dice.roll(4).max(snapshot.into()) {
            let event = if snapshot { OrderEvent::Add } else { EVENTS[usize::try_from(dice.roll(4)).expect("small")] };
            // Few, so that they come again; seldom of another shape.
            let figure = char::from(b"0123456789ABCDEFXYZ"[usize::try_from(dice.roll(19)).expect("small")]);
            let id = match dice.roll(30) {
                0 => format!("otcfzg-YOE2Q-LQKNM{figure}"),
                1 => format!("order {figure}"),
                _ => format!("OTCFZ{figure}-YOE2Q-LQKNM{}", side as u8),
            };
            // Seldom across the other side's best, or beyond the precision.
            let price = match dice.roll(300) {
                0 => "95.55".to_owned(),
                1..6 => "100.0".to_owned(),
                _ => format!("{}.{}", first + dice.roll(3), dice.roll(10)),
            };
            let (qty, second) = (format!("{}.25", dice.roll(120)), dice.roll(60));
            let number = |text: &str| Decimal::parse(text.as_bytes()).expect("a number");
            let entry = OrderEntry {
                side,
                event,
                id: OrderId::new(&id).expect("short enough"),
                price: number(&price),
                qty: number(&qty),
                timestamp: i64::try_from(second).expect("small"),
            };
            // What cannot be held ends the book; a checksum is no longer wanted.
            let _ = orders.apply(&[entry], ModifyRule::KeepPlace);
            let event = if snapshot { String::new() } else { format!(r#""event":"{}","#, event.word()) };
            texts[side as usize].push(format!(
                r#"{{{event}"order_id":"{id}","limit_price":{price},"order_qty":{qty},"timestamp":"2026-08-02T03:35:{second:02}.660084123Z"}}"#
            ));
        }
    }
    let [bids, asks] = texts.map(|orders| orders.join(","));
    let kind = if snapshot { "snapshot" } else { "update" };
    let checksum = if dice.roll(60) == 0 { 7 } else { orders.checksum(&mut Vec::new()) };
    format!(
        r#"{{"channel":"level3","type":"{kind}","data":[{{"checksum":{checksum},"symbol":"{symbol}","timestamp":"2026-08-02T03:35:51.660084123Z","bids":[{bids}],"asks":[{asks}]}}]}}"#
    )
}

#[test]
fn how_a_message_of_level_3_is_laid_out_makes_no_difference() {
    // As Kraken does, which has a reader of its own, and with a blank.
    let symbols = ["A/USD", "B/USD", "C/USD"];
    let options = Options {
        passive: true,
        level3_depth: Some(10),
        // Of the others precision is what the digits show.
        precision: symbols.iter().skip(1).map(|symbol| ((*symbol).to_owned(), (1, 2))).collect(),
        ..Options::default()
    };
    let mut pair = Twins::new(&options);
    let mut books: Vec<_> = symbols.iter().map(|_| Orders::new(10, 1, 2)).collect();
    let mut dice = Dice(1);
    for message in 0..10_000 {
        let now = START + message * SECOND;
        let i = usize::try_from(dice.roll(3)).expect("small");
        let lives = pair.plain.orders(symbols[i]).is_some_and(|life| life.book().is_some());
        let frame = orders_message(&mut dice, symbols[i], &mut books[i], !lives);
        pair.receive(&frame, now);
    }
    let counts = pair.plain.counts();
    assert!(counts.level3.ok > 5_000 && counts.level3.bad > 50 && counts.unknown_entries > 500, "{counts:?}");
    for kind in ["mismatch", "crossed", "precision", "decode_error", "doubt"] {
        assert!(pair.seen.contains(kind), "{kind} is one of {:?}", pair.seen);
    }
}
