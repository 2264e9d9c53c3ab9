//! Rows being collected, column by column, in the layout that Arrow uses, so that a batch is made without copying.

use crate::table::schema::{Table, Type};

/// Text or bytes as Arrow views: 16 bytes for each row; up to 12 bytes of text in the view itself, longer text in one
/// buffer.
#[derive(Debug, Default)]
pub struct Views {
    /// One view a row.
    pub views: Vec<u128>,
    /// The longer texts.
    pub data: Vec<u8>,
    /// The last long text pushed: a run of rows of one symbol shares it.
    last: std::ops::Range<usize>,
}

/// The view of a text of up to 12 bytes: length, then the text.
const fn inline(bytes: &[u8]) -> u128 {
    let mut view = [0; 16];
    // At most 12.
    #[allow(clippy::cast_possible_truncation, reason = "see above")]
    {
        view[0] = bytes.len() as u8;
    }
    let mut at = 0;
    while at < bytes.len() {
        view[4 + at] = bytes[at];
        at += 1;
    }
    u128::from_le_bytes(view)
}

/// The cell of a short word, made once: a text of up to 12 bytes.
///
/// # Panics
/// If it is longer: a mistake of this crate, met at compile time where the cell is a constant.
#[must_use]
pub const fn word(text: &str) -> Cell<'static> {
    Cell::View(view(text))
}

/// The view of a short word, as [`word`].
///
/// # Panics
/// As [`word`].
#[must_use]
pub const fn view(text: &str) -> u128 {
    assert!(text.len() <= 12, "a word of more than 12 bytes");
    inline(text.as_bytes())
}

/// The view of a text that fits into one.
#[must_use]
pub fn short_view(text: &str) -> Option<u128> {
    (text.len() <= 12).then(|| inline(text.as_bytes()))
}

impl From<Vec<u128>> for Views {
    /// Words, whose views hold the whole text.
    fn from(views: Vec<u128>) -> Self {
        Self { views, ..Self::default() }
    }
}

impl Views {
    /// The text of a row, if it is too long for its view.
    #[must_use]
    pub fn longer(&self, row: usize) -> Option<&[u8]> {
        let bytes = self.views[row].to_le_bytes();
        let part = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]) as usize;
        let (length, at) = (part(0), part(12));
        (length > 12).then(|| &self.data[at..at + length])
    }

    /// Adds the same text `times` times. `view` is its [`short_view`].
    #[inline]
    pub fn push_times(&mut self, text: &str, view: Option<u128>, times: usize) {
        let view = view.unwrap_or_else(|| self.view(text.as_bytes()));
        for _ in 0..times {
            self.views.push(view);
        }
    }

    /// Adds a text.
    pub fn push(&mut self, bytes: &[u8]) {
        let view = self.view(bytes);
        self.views.push(view);
    }

    /// The view of a text, which is kept if it is a longer one.
    fn view(&mut self, bytes: &[u8]) -> u128 {
        if bytes.len() <= 12 {
            return inline(bytes);
        }
        if self.data.get(self.last.clone()) != Some(bytes) {
            self.last = self.data.len()..self.data.len() + bytes.len();
            self.data.extend_from_slice(bytes);
        }
        long(bytes, self.last.start)
    }
}

/// The view of a longer text: length, its first four bytes, number of the buffer (0), place in the buffer. The buffer
/// stays below 4 GiB since the caller takes the rows long before: frames are at most 16 MiB.
fn long(bytes: &[u8], at: usize) -> u128 {
    let mut view = [0; 16];
    #[allow(clippy::cast_possible_truncation, reason = "see above")]
    {
        view[..4].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
        view[12..].copy_from_slice(&(at as u32).to_le_bytes());
    }
    view[4..8].copy_from_slice(&bytes[..4]);
    u128::from_le_bytes(view)
}

/// Which rows are not null, one bit for each row.
#[derive(Debug, Default)]
pub struct Bits {
    /// The bits, lowest first; none as long as no row is null.
    pub bytes: Vec<u8>,
    /// Rows.
    pub len: usize,
    /// Rows whose bit is 0.
    pub zeros: usize,
}

impl Bits {
    /// The bit of a row.
    #[must_use]
    pub fn get(&self, row: usize) -> bool {
        self.zeros == 0 || self.bytes[row / 8] >> (row % 8) & 1 == 1
    }

    #[inline]
    fn push(&mut self, bit: bool) {
        if self.zeros == 0 {
            // Columns that may be null seldom are: nothing is written before the first null.
            if bit {
                self.len += 1;
                return;
            }
            self.bytes.resize(self.len / 8, u8::MAX);
            if !self.len.is_multiple_of(8) {
                self.bytes.push((1 << (self.len % 8)) - 1);
            }
        }
        self.write(bit);
    }

    fn write(&mut self, bit: bool) {
        if self.len.is_multiple_of(8) {
            self.bytes.push(0);
        }
        self.bytes[self.len / 8] |= u8::from(bit) << (self.len % 8);
        self.len += 1;
        self.zeros += usize::from(!bit);
    }
}

impl FromIterator<bool> for Bits {
    fn from_iter<I: IntoIterator<Item = bool>>(bits: I) -> Self {
        let mut out = Self::default();
        bits.into_iter().for_each(|bit| out.push(bit));
        out
    }
}

/// The values of one column.
#[derive(Debug)]
pub enum Values {
    /// Text or bytes.
    Views(Views),
    /// Truth values.
    Bool(Bits),
    /// 8 bits.
    U8(Vec<u8>),
    /// 16 bits.
    U16(Vec<u16>),
    /// 32 bits.
    U32(Vec<u32>),
    /// 64 bits.
    U64(Vec<u64>),
    /// 64 bits, signed; also times.
    I64(Vec<i64>),
    /// Decimals at scale 10.
    I128(Vec<i128>),
}

/// One column: values, and which are not null if it may be null.
#[derive(Debug)]
pub struct Column {
    /// The values; anything where the row is null.
    pub values: Values,
    /// Which rows are not null.
    pub valid: Option<Bits>,
}

/// One value on its way into a column.
#[derive(Debug, Clone, Copy)]
pub enum Cell<'a> {
    /// Nothing.
    Null,
    /// Text.
    Text(&'a str),
    /// Text of up to 12 bytes as its view: see [`word`].
    View(u128),
    /// Bytes.
    Bytes(&'a [u8]),
    /// Truth value.
    Bool(bool),
    /// 8 bits.
    U8(u8),
    /// 16 bits.
    U16(u16),
    /// 32 bits.
    U32(u32),
    /// 64 bits.
    U64(u64),
    /// 64 bits, signed.
    I64(i64),
    /// Time, ns.
    Time(i64),
    /// Decimal at scale 10.
    Decimal(i128),
}

impl<'a> Cell<'a> {
    /// The cell of a value that may be missing.
    pub fn of<T>(value: Option<T>, cell: impl FnOnce(T) -> Cell<'a>) -> Self {
        value.map_or(Cell::Null, cell)
    }

    /// Text, null where empty.
    #[must_use]
    pub fn text_or_null(text: &'a str) -> Self {
        if text.is_empty() { Cell::Null } else { Cell::Text(text) }
    }
}

impl Column {
    fn new(kind: Type, nullable: bool) -> Self {
        let values = match kind {
            Type::Text | Type::Bytes => Values::Views(Views::default()),
            Type::Bool => Values::Bool(Bits::default()),
            Type::U8 => Values::U8(Vec::new()),
            Type::U16 => Values::U16(Vec::new()),
            Type::U32 => Values::U32(Vec::new()),
            Type::U64 => Values::U64(Vec::new()),
            Type::I64 | Type::Time => Values::I64(Vec::new()),
            Type::Decimal => Values::I128(Vec::new()),
        };
        Self { values, valid: nullable.then(Bits::default) }
    }

    #[inline]
    fn push(&mut self, cell: Cell<'_>) {
        if let Some(valid) = &mut self.valid {
            valid.push(!matches!(cell, Cell::Null));
        }
        match (&mut self.values, cell) {
            (Values::Views(v), Cell::Text(text)) => v.push(text.as_bytes()),
            (Values::Views(v), Cell::Bytes(bytes)) => v.push(bytes),
            (Values::Views(v), Cell::View(view)) => v.views.push(view),
            (Values::Bool(v), Cell::Bool(value)) => v.write(value),
            (Values::U8(v), Cell::U8(value)) => v.push(value),
            (Values::U16(v), Cell::U16(value)) => v.push(value),
            (Values::U32(v), Cell::U32(value)) => v.push(value),
            (Values::U64(v), Cell::U64(value)) => v.push(value),
            (Values::I64(v), Cell::I64(value) | Cell::Time(value)) => v.push(value),
            (Values::I128(v), Cell::Decimal(value)) => v.push(value),
            (values, cell) => {
                debug_assert!(matches!(cell, Cell::Null), "a cell of another type than its column");
                match values {
                    Values::Views(v) => v.views.push(0),
                    Values::Bool(v) => v.write(false),
                    Values::U8(v) => v.push(0),
                    Values::U16(v) => v.push(0),
                    Values::U32(v) => v.push(0),
                    Values::U64(v) => v.push(0),
                    Values::I64(v) => v.push(0),
                    Values::I128(v) => v.push(0),
                }
            }
        }
    }
}

/// The first columns of a row, which all tables have. The session is not among them: it is the same for all rows.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Number of the WebSocket message within its session, from 0.
    pub message: Option<u64>,
    /// Place within the message.
    pub entry: u32,
    /// Receive time, ns.
    pub ts_recv: i64,
    /// Time of the exchange, ns.
    pub ts_event: Option<i64>,
    /// Symbol: text, view or null.
    pub symbol: Cell<'a>,
}

/// Rows of one table being collected.
#[derive(Debug)]
pub struct Rows {
    /// The table.
    pub table: Table,
    /// Its columns except the session.
    pub columns: Vec<Column>,
    /// Rows.
    pub len: usize,
}

impl Rows {
    /// No rows yet.
    #[must_use]
    pub fn new(table: Table) -> Self {
        let columns = table.columns().skip(1).map(|(_, kind, nullable)| Column::new(kind, nullable)).collect();
        Self { table, columns, len: 0 }
    }

    /// Adds a row: its place, then the table's own columns in order.
    ///
    /// # Panics
    /// If `cells` has another length than the table's own columns: a mistake of this crate.
    #[inline]
    pub fn push<const N: usize>(&mut self, place: &Place<'_>, cells: [Cell<'_>; N]) {
        let common = self.columns.len() - N;
        assert!(common == 4 + usize::from(self.table != Table::Assets), "a row of another width than its table");
        self.columns[0].push(Cell::of(place.message, Cell::U64));
        self.columns[1].push(Cell::U32(place.entry));
        self.columns[2].push(Cell::Time(place.ts_recv));
        self.columns[3].push(Cell::of(place.ts_event, Cell::Time));
        if common == 5 {
            self.columns[4].push(place.symbol);
        }
        for (column, cell) in self.columns[common..].iter_mut().zip(cells) {
            column.push(cell);
        }
        self.len += 1;
    }
}

/// The views and the buffer of a column that has the same text in all `rows`.
#[must_use]
pub fn constant(text: &str, rows: usize) -> Views {
    let bytes = text.as_bytes();
    if bytes.len() <= 12 {
        return Views { views: vec![inline(bytes); rows], ..Views::default() };
    }
    Views { views: vec![long(bytes, 0); rows], data: bytes.to_vec(), ..Views::default() }
}
