//! Faults, asked for and carried out: those of time, of the exchange, of pairs, and of clients that want to connect.
//!
//! Faults of frames are applied in the outbox, faults of answers where requests are answered; what happens to sockets is
//! only reported, and the owner of the sockets does it.

use crate::connection::Label;
use crate::fanout::{DELISTED, Fanout};
use crate::faults::Refusal;
use crate::kinds::{self, Fault, Occasion, SECOND, What};
use crate::market::Market;
use crate::message;
use crate::pairs::{PAIRS_MAX, pairs};
use crate::request::Endpoint;
use crate::wire;

/// Status of a pair that a fault keeps from trading.
const SUSPENDED: [&str; 5] = ["cancel_only", "limit_only", "maintenance", "reduce_only", "work_in_progress"];

/// Phases of an announced maintenance: how long before its begin each starts, ns.
const PHASES: [(i64, &str); 5] = [
    (i64::MAX, "announced"),
    (86_400 * SECOND, "reminder_24h"),
    (1800 * SECOND, "approaching_30m"),
    (300 * SECOND, "imminent_5m"),
    (30 * SECOND, "final_warning_30s"),
];
/// How long before the begin orders should be cancelled, and how long it lasts, ns; as in Kraken's own announcement.
const CANCEL_BEFORE: i64 = 300 * SECOND;
const LASTS: i64 = 3600 * SECOND;

/// A maintenance that is announced.
#[derive(Debug)]
pub struct Announced {
    /// When it begins, ns.
    pub begin: i64,
    /// When its next phase begins, or it itself, ns.
    pub next: i64,
}

impl Announced {
    fn new(begin: i64, now: i64) -> Self {
        let later = PHASES.iter().skip(1).map(|phase| begin - phase.0).find(|&at| at > now);
        Self { begin, next: later.unwrap_or(begin).max(now + 1) }
    }

    /// As an entry of `upcoming_maintenance`; the clock that stamps it is off by `skew`.
    fn describe(&self, now: i64, skew: i64) -> String {
        let left = self.begin - now;
        let phase = PHASES.iter().rfind(|phase| left <= phase.0).map_or("announced", |phase| phase.1);
        // Of actions only that of the first phase is known.
        let action = if phase == "announced" { "continue" } else { "unspecified" };
        let time = |ns: i64| {
            let mut text = Vec::new();
            wire::time(ns + skew, 6, &mut text);
            text.into_iter().map(char::from).collect::<String>()
        };
        let (cancel, end) = (time((self.begin - CANCEL_BEFORE).max(now)), time(self.begin + LASTS));
        format!(
            "{{\"affected_services\":[\"spot_trading\",\"spot_fix\",\"spot_ws\"],\"cancel_before_utc\":{cancel},\
             \"event_id\":33,\"expected_end_utc\":{end},\"expected_start_utc\":{},\"order_submission\":\"allowed\",\
             \"phase\":\"{phase}\",\"recommended_action\":\"{action}\",\"source_url\":\"\",\"time_to_start_s\":{},\
             \"title\":\"Order Entry System Maintenance\"}}",
            time(self.begin),
            left / SECOND,
        )
    }
}

/// Carries out the faults of an exchange.
#[derive(Debug)]
pub struct Injector {
    /// A maintenance that is announced.
    pub announced: Option<Announced>,
    /// State of the exchange; nothing trades unless it is `online`.
    pub system: &'static str,
    /// When a state ends that a fault brought, of the exchange (`None`) or of a pair.
    restore: Vec<(i64, Option<usize>)>,
    /// Seed of the exchange, for pairs that are listed later.
    seed: u64,
}

impl Injector {
    /// Nothing is wrong yet.
    pub const fn new(seed: u64) -> Self {
        Self { announced: None, system: "online", restore: Vec::new(), seed }
    }

    /// Asks for a fault.
    ///
    /// # Errors
    /// A sentence that says what is wrong with the text, and what is allowed.
    pub fn inject(fanout: &mut Fanout, text: &str) -> Result<(), String> {
        let fault = kinds::read(text, fanout.outbox.now)?;
        if let Some(pattern) = &fault.symbol
            && !fanout.outbox.symbols.iter().any(|symbol| kinds::glob(pattern, symbol))
        {
            return Err(format!("{}: symbol={pattern}: no pair of this exchange is so called", fault.kind.name));
        }
        fanout.outbox.faults.add(fault);
        Ok(())
    }

    /// Ends all faults. What they did stays done; what they hold back comes.
    pub fn clear_faults(&mut self, fanout: &mut Fanout) {
        fanout.outbox.faults.clear();
        for connection in fanout.outbox.connections.iter_mut().flatten() {
            connection.silenced.clear();
        }
        self.announced = None;
        for (_, what) in std::mem::take(&mut self.restore) {
            self.restore_state(fanout, what);
        }
    }

    /// Whether a client of an address may connect to an endpoint.
    ///
    /// # Errors
    /// How it is refused.
    pub fn admit(fanout: &mut Fanout, who: &str, endpoint: Endpoint) -> Result<(), Refusal> {
        match fanout.outbox.faults.admit(fanout.outbox.now, who, endpoint) {
            None => Ok(()),
            Some((fault, refusal)) => {
                fanout.outbox.record_fault(&fault, None, "", None);
                Err(refusal)
            }
        }
    }

    /// How a request to REST for public data goes wrong, if it does: an HTTP status, or the text of a refusal.
    pub fn refuse_rest(fanout: &mut Fanout) -> Option<(u16, String)> {
        let now = fanout.outbox.now;
        let hit = fanout.outbox.faults.pick(Occasion::Rest, (now, 0, "", ""), |_| true)?;
        fanout.outbox.record_fault(&hit, None, "", None);
        let status = if hit.kind.what == What::Rest { u16::try_from(hit.by).unwrap_or_default() } else { 200 };
        Some((status, hit.words))
    }

    /// When a fault of time is due next, or the end of a state, ns.
    pub fn next(&self, fanout: &Fanout) -> i64 {
        let ends = self.restore.iter().map(|(due, _)| *due).min().unwrap_or(i64::MAX);
        let announces = self.announced.as_ref().map_or(i64::MAX, |announced| announced.next);
        ends.min(announces).min(fanout.outbox.faults.next)
    }

    /// Carries out faults of time that are due, and ends the states that are over.
    pub fn apply_due(&mut self, fanout: &mut Fanout) {
        let now = fanout.outbox.now;
        let over: Vec<Option<usize>> =
            self.restore.iter().filter(|(due, _)| *due <= now).map(|(_, what)| *what).collect();
        self.restore.retain(|(due, _)| *due > now);
        for what in over {
            self.restore_state(fanout, what);
        }
        if let Some(announced) = self.announced.take_if(|announced| announced.next <= now) {
            // When it should begin there is nothing to announce any more.
            if announced.begin > now {
                self.announced = Some(Announced::new(announced.begin, now));
                self.announce(fanout);
            }
        }
        let connections: Vec<(u64, Endpoint)> =
            fanout.outbox.connections.iter().flatten().map(|one| (one.id, one.endpoint)).collect();
        for (fault, connection) in fanout.outbox.faults.due(now, &connections) {
            match fault.kind.occasion {
                Occasion::Socket => {
                    let place = connection.and_then(|id| fanout.outbox.place(id));
                    fanout.outbox.record_fault(&fault, place, "", None);
                }
                Occasion::Pair => self.apply_to_pair(fanout, &fault),
                _ => self.apply_to_exchange(fanout, &fault),
            }
        }
    }

    fn apply_to_exchange(&mut self, fanout: &mut Fanout, fault: &Fault) {
        let state = match fault.kind.what {
            What::Maintenance => Some("maintenance"),
            What::CancelOnly => Some("cancel_only"),
            What::PostOnly => Some("post_only"),
            _ => None,
        };
        fanout.outbox.record_fault(fault, None, "status", None);
        if let Some(state) = state {
            self.system = state;
            self.restore.retain(|(_, what)| what.is_some());
            self.restore.push((fanout.outbox.now + fault.by, None));
        }
        if fault.kind.what == What::Status {
            self.announced = Some(Announced::new(fanout.outbox.now + fault.by, fanout.outbox.now));
        }
        if fault.kind.what != What::Skew {
            self.announce(fanout);
        }
    }

    /// The exchange, or a pair, is online again.
    fn restore_state(&mut self, fanout: &mut Fanout, what: Option<usize>) {
        match what {
            None => {
                self.system = "online";
                self.announce(fanout);
            }
            Some(pair) if fanout.listings[pair].market.pair.status != DELISTED => fanout.set_status(pair, "online"),
            Some(_) => {}
        }
    }

    /// The maintenance that is announced, as Kraken describes it: JSON.
    pub fn advisory(&self, fanout: &Fanout) -> Option<String> {
        let (now, outbox) = (fanout.outbox.now, &fanout.outbox);
        self.announced
            .as_ref()
            .map(|announced| announced.describe(now, outbox.stamp(announced.begin) - announced.begin))
    }

    /// Tells all connections the state of the exchange, and a maintenance that is to come.
    fn announce(&self, fanout: &mut Fanout) {
        let advisory = self.advisory(fanout);
        let outbox = &mut fanout.outbox;
        for place in 0..outbox.connections.len() {
            if let Some(id) = outbox.connections[place].as_ref().map(|connection| connection.announced_id) {
                message::status(self.system, id, advisory.as_deref(), outbox.compose());
                outbox.send(&[place], Label::new("status"));
            }
        }
    }

    /// Carries out a fault on a pair that its pattern selects, if there is one.
    fn apply_to_pair(&mut self, fanout: &mut Fanout, fault: &Fault) {
        let listing = fault.kind.what == What::List;
        let fits: Vec<usize> = fanout
            .listings
            .iter()
            .map(|listing| &listing.market.pair)
            .enumerate()
            .filter(|(_, pair)| fault.symbol.as_ref().is_none_or(|pattern| kinds::glob(pattern, &pair.symbol)))
            .filter(|(_, pair)| (pair.status == DELISTED) == listing)
            // `restore` brings a pair back to `online`: one with another status would lose it.
            .filter(|(_, pair)| fault.kind.what != What::Instrument || pair.status == "online")
            .map(|(number, _)| number)
            .collect();
        let pair = match (fits.len(), listing) {
            (0, true) if fault.symbol.is_none() && fanout.listings.len() < PAIRS_MAX => self.add_pair(fanout),
            (0, _) => return,
            (n, _) => fits[fanout.outbox.faults.rng.below(n)],
        };
        fanout.outbox.record_fault(fault, None, "instrument", Some(pair));
        match fault.kind.what {
            What::Instrument => {
                let status = SUSPENDED[fanout.outbox.faults.rng.below(SUSPENDED.len())];
                self.restore.push((fanout.outbox.now + fault.by, Some(pair)));
                fanout.set_status(pair, status);
            }
            What::Delist => fanout.delist(pair),
            What::List => {
                let precision = fanout.listings[pair].market.pair.price_precision;
                restart_market(fanout, pair, precision);
                if fault.by > 0 {
                    fanout.listings[pair].market.restart_ids(fault.by);
                }
                fanout.set_status(pair, "online");
            }
            _ => {
                let before = fanout.listings[pair].market.pair.price_precision;
                let more = before == 0 || (before < 10 && fanout.outbox.faults.rng.below(2) == 0);
                restart_market(fanout, pair, if more { before + 1 } else { before - 1 });
                let status = fanout.listings[pair].market.pair.status;
                fanout.set_status(pair, status);
                fanout.resend_books(pair);
            }
        }
    }

    /// Adds a pair; its market does not trade until it is listed.
    fn add_pair(&self, fanout: &mut Fanout) -> usize {
        let number = fanout.listings.len();
        let mut pair = pairs(number + 1, self.seed).swap_remove(number);
        pair.status = DELISTED;
        fanout.add(Market::new(pair, self.seed, fanout.outbox.now))
    }
}

/// Starts the market of a pair again, with prices of this many decimals. Its trade ids continue.
fn restart_market(fanout: &mut Fanout, number: usize, price_precision: u8) {
    let before = &fanout.listings[number].market;
    let mut pair = before.pair.clone();
    pair.price = match price_precision.cmp(&pair.price_precision) {
        std::cmp::Ordering::Less => pair.price / 10,
        std::cmp::Ordering::Equal => pair.price,
        std::cmp::Ordering::Greater => pair.price.saturating_mul(10),
    }
    .max(500);
    pair.price_precision = price_precision;
    let market = before.restarted(pair, fanout.outbox.faults.rng.bits(), fanout.outbox.now);
    fanout.replace_market(number, market);
}
