//! Every frame on its way out: the delay of its channel, the faults that happen to it, its line in the log.

use crate::connection::{Connection, Delayed, HeldBack, Label};
use crate::damage::{damage, has_field};
use crate::faults::{Faults, Injected};
use crate::kinds::{Fault, Occasion, What};
use crate::request::Endpoint;
use crate::rng::Rng;
use crate::wire;

const SECOND: i64 = 1_000_000_000;
/// A frame that waits to change places with the next one leaves alone after this time, ns.
const REORDER: i64 = SECOND;
/// Index of the book channel in `Outbox::paces`.
pub const BOOK: usize = 0;
/// Index of the level3 channel in `Outbox::paces`.
pub const LEVEL3: usize = 1;

/// How messages of a channel leave, ns.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pace {
    /// From the making of a message to its sending.
    pub delay: i64,
    /// A random addition to the delay, up to this much. Messages of one connection stay in their order.
    pub jitter: i64,
    /// Changes of one symbol are collected for this long into one message; 0: each step of the market has its own.
    pub conflate: i64,
}

/// All connections, and what leaves for them.
#[derive(Debug)]
pub struct Outbox {
    /// Time of the exchange, ns since the epoch.
    pub now: i64,
    /// Time for the log, ns since the epoch.
    pub wall: i64,
    /// How the channels book and level3 leave: `BOOK`, `LEVEL3`.
    pub paces: [Pace; 2],
    /// The faults: most of them happen to frames.
    pub faults: Faults,
    /// Symbols of the pairs, by number.
    pub symbols: Vec<String>,
    /// Connections by place; a place that is free is used again.
    pub connections: Vec<Option<Connection>>,
    /// The earliest heartbeat, snapshot or frame that leaves later, ns.
    pub next_due: i64,
    /// Frames that were sent.
    pub messages: u64,
    /// Connections that there have been.
    connected: u64,
    /// Only for the jitter: what happens on the markets does not depend on it.
    jitter: Rng,
    log: Option<Vec<u8>>,
    text: Vec<u8>,
    framed: Vec<u8>,
}

impl Outbox {
    /// No connections yet. With `log`, `take_log` names every frame.
    pub fn new(seed: u64, start: i64, log: bool) -> Self {
        Self {
            now: start,
            wall: 0,
            paces: [Pace::default(); 2],
            faults: Faults::new(seed),
            symbols: Vec::new(),
            connections: Vec::new(),
            next_due: i64::MAX,
            messages: 0,
            connected: 0,
            jitter: Rng::new(seed ^ 0x4A49_5454),
            log: log.then(|| b"wall_ns,connection,frame,channel,symbol,checksum,sent_ns,fault\n".to_vec()),
            text: Vec::new(),
            framed: Vec::new(),
        }
    }

    /// Opens a connection; returns its place and its number.
    pub fn open(&mut self, announced_id: u64, endpoint: Endpoint) -> (usize, u64) {
        let id = self.connected;
        self.connected += 1;
        let place = self.connections.iter().position(Option::is_none).unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        self.connections[place] = Some(Connection::new(id, announced_id, endpoint, self.now));
        (place, id)
    }

    /// Place of a connection.
    pub fn place(&self, id: u64) -> Option<usize> {
        self.connections.iter().position(|c| c.as_ref().is_some_and(|c| c.id == id))
    }

    /// Looks for the earliest thing that is due.
    pub fn find_next_due(&mut self) {
        self.next_due = self.connections.iter().flatten().map(Connection::next_due).min().unwrap_or(i64::MAX);
    }

    /// Takes the log.
    pub fn take_log(&mut self) -> Vec<u8> {
        self.log.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// The time that a message carries for something that happened at `ts`.
    pub fn stamp(&self, ts: i64) -> i64 {
        ts + self.faults.skew(self.now)
    }

    /// An empty buffer for the text of the next message, which `send` sends.
    pub fn compose(&mut self) -> &mut Vec<u8> {
        self.text.clear();
        &mut self.text
    }

    /// Sends the composed text to some connections: at once, or after the delay of the channel and behind the frames
    /// that wait already.
    pub fn send(&mut self, places: &[usize], label: Label) {
        let mut framed = std::mem::take(&mut self.framed);
        framed.clear();
        wire::frame(&self.text, &mut framed);
        let pace = match label.channel {
            "book" => self.paces[BOOK],
            "level3" => self.paces[LEVEL3],
            _ => Pace::default(),
        };
        for &place in places {
            let Some(connection) = &mut self.connections[place] else { continue };
            let latest = connection.delayed.back().map(|delayed| delayed.due);
            let mut due = self.now + pace.delay;
            if let Ok(jitter @ 1..) = usize::try_from(pace.jitter) {
                due = due.saturating_add_unsigned(self.jitter.below(jitter + 1) as u64);
            }
            if due > self.now || latest.is_some() {
                due = due.max(latest.unwrap_or(due));
                connection.delayed.push_back(Delayed { due, frame: framed.clone(), label });
                self.next_due = self.next_due.min(due);
            } else {
                self.deliver(place, &framed, label);
            }
        }
        self.framed = framed;
    }

    /// Sends the frame of a connection that has waited longest past its time, if there is one.
    pub fn send_overdue(&mut self, place: usize) -> bool {
        let now = self.now;
        let Some(connection) = &mut self.connections[place] else { return false };
        if connection.held_back.front().is_some_and(|held_back| held_back.delayed.due <= now) {
            if let Some(HeldBack { delayed, .. }) = connection.held_back.pop_front() {
                self.put(place, &delayed.frame, delayed.label, "");
            }
        } else if connection.delayed.front().is_some_and(|delayed| delayed.due <= now) {
            if let Some(delayed) = connection.delayed.pop_front() {
                self.deliver(place, &delayed.frame, delayed.label);
            }
        } else {
            return false;
        }
        true
    }

    /// Counts a frame as made for a connection, and puts it into its queue unless a fault prevents that.
    fn deliver(&mut self, place: usize, frame: &[u8], label: Label) {
        let Some(connection) = &mut self.connections[place] else { return };
        connection.count(label);
        if self.faults.frames || !connection.silenced.is_empty() {
            self.apply_fault(place, frame, label);
        } else {
            self.put(place, frame, label, "");
        }
    }

    /// Puts a frame into the queue of a connection; `fault` is what happened to it.
    fn put(&mut self, place: usize, frame: &[u8], label: Label, fault: &'static str) {
        let Some(connection) = self.connections[place].as_mut().filter(|connection| !connection.lost) else { return };
        connection.out.extend_from_slice(frame);
        connection.bytes += frame.len() as u64;
        let (id, number) = (connection.id, connection.frames);
        connection.frames += 1;
        self.messages += 1;
        let swaps = |held_back: &HeldBack| {
            let other = held_back.delayed.label;
            held_back.swap && other.channel == label.channel && other.pair == label.pair
        };
        let partner = if connection.held_back.is_empty() {
            None
        } else {
            connection.held_back.iter().position(swaps).and_then(|at| connection.held_back.remove(at))
        };
        self.log_frame(id, number, label, fault);
        // The frame that waited to change places with this one follows it.
        if let Some(HeldBack { delayed, .. }) = partner {
            self.put(place, &delayed.frame, delayed.label, "");
        }
    }

    /// Does not send a frame: it has a line in the log, with the number of the next frame that is sent.
    fn lose(&mut self, place: usize, label: Label, fault: &'static str) {
        let Some(connection) = &mut self.connections[place] else { return };
        connection.count_fault(label, fault);
        let (id, number) = (connection.id, connection.frames);
        self.log_frame(id, number, label, fault);
    }

    fn log_frame(&mut self, id: u64, number: u64, label: Label, fault: &'static str) {
        let Some(log) = &mut self.log else { return };
        let symbol = label.pair.map_or("", |pair| self.symbols[pair].as_str());
        let (wall, now, Label { channel, number: checksum, .. }) = (self.wall, self.now, label);
        log.extend_from_slice(format!("{wall},{id},{number},{channel},{symbol},{checksum},{now},{fault}\n").as_bytes());
    }

    /// Sends a frame as the faults in force want it.
    fn apply_fault(&mut self, place: usize, frame: &[u8], label: Label) {
        let Some(connection) = &mut self.connections[place] else { return };
        if connection.is_silenced(label) {
            return self.lose(place, label, "silence");
        }
        let symbol = label.pair.map_or("", |pair| self.symbols[pair].as_str());
        let endpoint = connection.endpoint;
        let may = |fault: &Fault| {
            fault.is_at(endpoint)
                && match fault.kind.what {
                    What::Silence => label.pair.is_some(),
                    What::Absent | What::Null | What::Huge => has_field(wire::text(frame), &fault.words),
                    _ => true,
                }
        };
        let subject = (self.now, connection.id, label.channel, symbol);
        let Some(fault) = self.faults.pick(Occasion::Frame, subject, may) else {
            return self.put(place, frame, label, "");
        };
        self.record_fault(&fault, Some(place), label.channel, label.pair);
        let Some(connection) = &mut self.connections[place] else { return };
        let name = fault.kind.name;
        match fault.kind.what {
            What::Drop => return self.lose(place, label, name),
            What::Silence => {
                connection.silenced.extend(label.pair.map(|pair| (label.channel, pair)));
                return self.lose(place, label, name);
            }
            What::Stray => {
                let mut stray = Vec::new();
                wire::frame(fault.words.as_bytes(), &mut stray);
                self.put(place, &stray, Label::new(""), name);
                return self.put(place, frame, label, "");
            }
            _ => connection.count_fault(label, name),
        }
        match fault.kind.what {
            What::Repeat => {
                self.put(place, frame, label, "");
                self.put(place, frame, label, name);
            }
            What::Reorder | What::Delay => {
                let swap = fault.kind.what == What::Reorder;
                let due = self.now + if swap { REORDER } else { fault.by };
                let held_back = HeldBack { delayed: Delayed { due, frame: frame.to_vec(), label }, swap };
                self.hold_back(place, held_back);
            }
            _ => {
                let mut text = wire::text(frame).to_vec();
                damage(&fault, &mut text, &mut self.faults.rng);
                let mut damaged = Vec::new();
                wire::frame(&text, &mut damaged);
                self.put(place, &damaged, label, name);
            }
        }
    }

    /// Holds a frame back until it is due; others overtake it.
    fn hold_back(&mut self, place: usize, held_back: HeldBack) {
        let Some(connection) = &mut self.connections[place] else { return };
        let due = held_back.delayed.due;
        let at = connection.held_back.partition_point(|other| other.delayed.due <= due);
        connection.held_back.insert(at, held_back);
        self.next_due = self.next_due.min(due);
    }

    /// Sends the composed text to a connection so much later; what is sent meanwhile overtakes it.
    pub fn send_late(&mut self, place: usize, label: Label, by: i64) {
        let mut frame = Vec::new();
        wire::frame(&self.text, &mut frame);
        let delayed = Delayed { due: self.now + by, frame, label };
        self.hold_back(place, HeldBack { delayed, swap: false });
    }

    /// Records that a fault happened.
    pub fn record_fault(&mut self, fault: &Fault, place: Option<usize>, channel: &'static str, pair: Option<usize>) {
        let connection = place.and_then(|place| self.connections[place].as_ref());
        let (id, frame) = connection.map(|c| (c.id, c.frames)).unzip();
        let symbol = pair.map_or("", |pair| self.symbols[pair].as_str());
        let (name, now, by) = (fault.kind.name, self.now, fault.by);
        // A fault of a frame is named in the line of that frame.
        if let Some(log) = &mut self.log
            && fault.kind.occasion != Occasion::Frame
        {
            let text = |number: Option<u64>| number.map_or(String::new(), |number| number.to_string());
            let (wall, id, frame) = (self.wall, text(id), text(frame));
            log.extend_from_slice(format!("{wall},{id},{frame},{channel},{symbol},0,{now},{name}\n").as_bytes());
        }
        let symbol = symbol.to_owned();
        self.faults.happened(Injected { ts: now, name, connection: id, frame, channel, symbol, by });
    }
}
