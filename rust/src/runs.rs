//! Rows of book messages being collected: what the rows of a message share is kept once, and written out column by
//! column when the rows are taken. Of the 14 columns of a level three are its own.

use crate::book::Terms;
use crate::message::{Kind, OrderEvent, Side};
use crate::rows::{Cell, Column, Rows, Values, Views, view};
use crate::schema::Table;

/// What the rows of one message share.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// Number of the WebSocket message within its session.
    pub message: u64,
    /// Place within the message of its first row.
    pub entry: u32,
    /// Receive time, ns.
    pub ts_recv: i64,
    /// Time of the exchange, ns.
    pub ts_event: Option<i64>,
    /// The symbol, by a number of the caller's.
    pub symbol: usize,
    /// Kind, checksum, depth, precisions.
    pub terms: Terms,
    /// Rows: one at least, since a message without entries is a row without side, price and quantity. A frame has at
    /// most 16 Mi of them.
    rows: u32,
}

impl Run {
    /// A message without rows so far.
    #[must_use]
    pub fn new(
        (message, entry): (u64, u32),
        (ts_recv, ts_event): (i64, Option<i64>),
        symbol: usize,
        terms: Terms,
    ) -> Self {
        Self { message, entry, ts_recv, ts_event, symbol, terms, rows: 0 }
    }
}

/// What a row has of its own.
pub trait Line: Copy {
    /// The table.
    const TABLE: Table;
    /// The row of a message without entries.
    const NONE: Self;

    /// Its columns; `ids` are those of the orders.
    fn columns(lines: &[Self], ids: Views) -> Vec<Column>;
}

/// A level.
#[derive(Debug, Clone, Copy)]
pub struct LevelLine {
    /// Side; none where the message has no entries.
    pub side: Option<Side>,
    /// Price at scale 10.
    pub price: i128,
    /// Quantity at scale 10.
    pub qty: i128,
}

/// An order, but for its id, whose length varies.
#[derive(Debug, Clone, Copy)]
pub struct OrderLine {
    /// Side, price and quantity.
    pub level: LevelLine,
    /// What befell it; none in snapshots.
    pub event: Option<OrderEvent>,
    /// When it was inserted or amended, ns.
    pub ts_order: i64,
}

/// A column of what each line says, null where it is not told.
fn column<L, T>(
    lines: &[L],
    values: impl FnOnce(Vec<T>) -> Values,
    cell: impl Fn(&L) -> T,
    told: impl Fn(&L) -> bool,
) -> Column {
    let valid = (!lines.iter().all(&told)).then(|| lines.iter().map(told).collect());
    Column { values: values(lines.iter().map(cell).collect()), valid }
}

fn words(views: Vec<u128>) -> Values {
    Values::Views(Views::from(views))
}

impl LevelLine {
    fn told(&self) -> bool {
        self.side.is_some()
    }

    fn side(&self) -> u128 {
        self.side.map_or(0, |side| const { [view(Side::Bid.word()), view(Side::Ask.word())] }[side as usize])
    }
}

impl Line for LevelLine {
    const TABLE: Table = Table::Book;
    const NONE: Self = Self { side: None, price: 0, qty: 0 };

    fn columns(lines: &[Self], _: Views) -> Vec<Column> {
        vec![
            column(lines, words, Self::side, Self::told),
            column(lines, Values::I128, |line| line.price, Self::told),
            column(lines, Values::I128, |line| line.qty, Self::told),
        ]
    }
}

impl OrderLine {
    fn told(&self) -> bool {
        self.level.told()
    }

    fn event(&self) -> u128 {
        const WORDS: [u128; 3] =
            [view(OrderEvent::Add.word()), view(OrderEvent::Modify.word()), view(OrderEvent::Delete.word())];
        self.event.map_or(0, |event| WORDS[event as usize])
    }
}

impl Line for OrderLine {
    const TABLE: Table = Table::Orders;
    const NONE: Self = Self { level: LevelLine::NONE, event: None, ts_order: 0 };

    fn columns(lines: &[Self], ids: Views) -> Vec<Column> {
        let ids = Column { values: Values::Views(ids), ..column(lines, words, |_| 0, Self::told) };
        vec![
            column(lines, words, |line| line.level.side(), Self::told),
            column(lines, words, Self::event, |line| line.event.is_some()),
            ids,
            column(lines, Values::I128, |line| line.level.price, Self::told),
            column(lines, Values::I128, |line| line.level.qty, Self::told),
            column(lines, Values::I64, |line| line.ts_order, Self::told),
        ]
    }
}

/// The words of [`Kind`].
const KINDS: [u128; 2] = [view(Kind::Snapshot.word()), view(Kind::Update.word())];

/// Rows of one of the two tables of books.
#[derive(Debug)]
pub struct Runs<L> {
    messages: Vec<Run>,
    lines: Vec<L>,
    /// Ids of the orders.
    ids: Views,
}

impl<L> Default for Runs<L> {
    fn default() -> Self {
        Self { messages: Vec::new(), lines: Vec::new(), ids: Views::default() }
    }
}

impl<L: Line> Runs<L> {
    /// Rows waiting to be taken.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.lines.len()
    }

    /// Adds the rows of a message, one at least: its entries, or that it had none. Returns how many they are.
    #[inline]
    pub fn push(&mut self, run: Run, lines: impl ExactSizeIterator<Item = L>, ids: impl FnOnce(&mut Views)) -> usize {
        let rows = lines.len().max(1);
        if lines.len() == 0 {
            self.lines.push(L::NONE);
            self.ids.views.push(0);
        }
        self.lines.extend(lines);
        ids(&mut self.ids);
        #[allow(clippy::cast_possible_truncation, reason = "at most 16 Mi, as a frame has")]
        self.messages.push(Run { rows: rows as u32, ..run });
        rows
    }

    /// The rows collected since the last call, if any; `name` tells the cell of a symbol's name.
    pub fn take<'a>(&mut self, name: impl Fn(usize) -> Cell<'a>) -> Option<Rows> {
        let len = self.lines.len();
        if len == 0 {
            return None;
        }
        let runs = &self.messages;
        // The message of each row, and its place there.
        let (mut of, mut entries) = (Vec::with_capacity(len), Vec::with_capacity(len));
        let mut symbols = Views::default();
        symbols.views.reserve(len);
        for (at, run) in runs.iter().enumerate() {
            for entry in run.entry..run.entry + run.rows {
                of.push(at);
                entries.push(entry);
            }
            symbols.push_times(name(run.symbol), run.rows as usize);
        }
        let shared = Shared { runs, of: &of };
        let mut columns = vec![
            shared.column(Values::U64, |run| run.message),
            Column { values: Values::U32(entries), valid: None },
            shared.column(Values::I64, |run| run.ts_recv),
            shared.nullable(Values::I64, |run| run.ts_event),
            Column { values: Values::Views(symbols), valid: None },
            shared.column(words, |run| KINDS[run.terms.kind as usize]),
        ];
        columns.extend(L::columns(&self.lines, std::mem::take(&mut self.ids)));
        columns.extend([
            shared.nullable(Values::U32, |run| run.terms.checksum),
            shared.column(Values::U16, |run| run.terms.depth),
            shared.column(Values::U8, |run| run.terms.price_precision),
            shared.column(Values::U8, |run| run.terms.qty_precision),
        ]);
        self.messages.clear();
        self.lines.clear();
        Some(Rows { table: L::TABLE, columns, len })
    }
}

/// Runs, to be spread over their rows.
struct Shared<'a> {
    runs: &'a [Run],
    /// The message of each row.
    of: &'a [usize],
}

impl Shared<'_> {
    fn spread<T>(&self, value: impl Fn(&Run) -> T) -> impl Iterator<Item = T> {
        self.of.iter().map(move |&at| value(&self.runs[at]))
    }

    /// A column of what each message says.
    fn column<T>(&self, values: impl FnOnce(Vec<T>) -> Values, value: impl Fn(&Run) -> T) -> Column {
        Column { values: values(self.spread(value).collect()), valid: None }
    }

    /// The same, null where it does not say it.
    fn nullable<T: Default>(&self, values: impl FnOnce(Vec<T>) -> Values, value: impl Fn(&Run) -> Option<T>) -> Column {
        let told = self.runs.iter().all(|run| value(run).is_some());
        let valid = (!told).then(|| self.spread(|run| value(run).is_some()).collect());
        Column { valid, ..self.column(values, |run| value(run).unwrap_or_default()) }
    }
}
