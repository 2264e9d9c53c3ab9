//! What an account sends over its private socket: subscriptions, requests, the dead-man timer.

use std::sync::Arc;

use crate::names::cl_ord_id;
use crate::note::{self, Note};
use crate::order::Order;
use crate::reconcile::{self, Own, Reconcile};
use crate::report::{Answer, Asked, Fill, Reply};
use crate::run::Run;
use crate::terms::{Request, Sent};
use crate::trader::Trader;
use crate::wire::request::{self, Frame, Token, Unsendable};

use super::account::{ACCOUNT, Effect, Heard, Live, Phase, TIMED_MAX};

impl Live {
    /// A connection is open: what is to be sent over it at once. `None`: the token is none.
    pub fn connected(&mut self, now: i64, token: &str, trader: &Trader) -> Option<Vec<Frame>> {
        let token = Token::new(token)?;
        self.reports.reset();
        self.holdings.reset();
        self.awaiting.take_all();
        self.timed.clear();
        self.told = i64::MIN;
        self.timer_ids.clear();
        self.waiting.clear();
        self.asks.clear();
        (self.doubt, self.balances, self.agreed, self.outcome) = (None, None, None, None);
        self.phase = Phase::Reconciling;
        // The request comes later than it is sent, however uncertain the clocks are.
        self.subscribed = self.clock.best().map(|(offset, length)| now.saturating_add(offset - length / 2));
        self.reconcile = Some(self.begin(now, trader));
        let mut frames = Vec::new();
        for subscription in [request::executions, request::balances] {
            let id = self.id(now);
            frames.push(subscription((id, &token)));
        }
        // What was cancelled meanwhile. It can only end orders.
        for order in std::mem::take(&mut self.cancels) {
            if trader.order(order).is_some_and(Order::is_live) {
                let asked = Request::Cancel { order };
                let id = self.awaiting.add(&asked);
                self.time(id, now);
                frames.extend(self.writer.cancel(&[order], (id, &token)).ok());
            }
        }
        self.token = Some(token);
        Some(frames)
    }

    pub(super) fn begin(&self, now: i64, trader: &Trader) -> Reconcile {
        let options = reconcile::Options {
            prefix: self.options.prefix.clone(),
            strangers: self.options.strangers,
            lag: self.options.lag,
            limit: self.options.limit,
        };
        Reconcile::new(self.exchange_time(now), self.own(trader), options)
    }

    /// The connection is gone.
    pub fn disconnected(&mut self) {
        (self.phase, self.token, self.reconcile, self.doubt) = (Phase::Down, None, None, None);
        self.asks.clear();
        self.awaiting.take_all();
    }

    /// Own orders that may be at the exchange.
    pub(super) fn own(&self, trader: &Trader) -> Vec<Own> {
        let name = |number| cl_ord_id(&self.options.prefix, number).map(Arc::from);
        let of = |order: &Order| {
            Some(Own {
                number: order.number,
                name: name(order.number)?,
                order_id: order.order_id.clone(),
                deadline: order.deadline,
                sent: order.sent,
                filled: order.booked,
                fills: order.fill_ids().to_vec(),
                last_fill: order.reported,
            })
        };
        let here = trader.all_orders().filter(|order| order.is_live() || order.at_stake().is_positive()).filter_map(of);
        let before = self.earlier.values().filter_map(|order| {
            Some(Own {
                number: order.number,
                name: name(order.number)?,
                order_id: order.order_id.clone(),
                deadline: order.deadline,
                sent: order.sent,
                filled: order.known.iter().map(|fill| fill.qty).sum(),
                fills: order.known.iter().map(Fill::id).collect(),
                last_fill: order.last_fill,
            })
        });
        before.chain(here).collect()
    }

    pub(super) fn id(&mut self, now: i64) -> u64 {
        let id = self.awaiting.id();
        self.time(id, now);
        id
    }

    pub(super) fn time(&mut self, id: u64, now: i64) {
        // Some are never answered; the newest are the ones that may be.
        if self.timed.len() == TIMED_MAX {
            self.timed.pop_first();
        }
        self.timed.insert(id, now);
    }

    // Requests.

    /// The requests of the run as frames, in their order, and whether one is a cancel. The rows of the others must be in the
    /// journal before they are sent; cancels may go in any case.
    pub fn requests(&mut self, now: i64, run: &mut Run) -> Vec<(Frame, bool)> {
        let sent = run.take_outbox();
        if sent.is_empty() {
            return Vec::new();
        }
        let (frames, effects) = self.frames(now, sent, run.trader(ACCOUNT));
        self.act(now, run, Heard { effects, renew: None });
        frames
    }

    pub(super) fn frames(&mut self, now: i64, sent: Vec<Sent>, trader: &Trader) -> (Vec<(Frame, bool)>, Vec<Effect>) {
        let (mut frames, mut effects) = (Vec::new(), Vec::new());
        let time = self.exchange_time(now);
        for Sent { request, .. } in sent {
            let number = request.order();
            let Some(order) = trader.order(number) else { continue };
            let refuse = |text: String| {
                let asked = match request {
                    Request::Add { .. } => Asked::Add,
                    Request::Amend { .. } => Asked::Amend,
                    Request::Cancel { .. } => Asked::Cancel,
                };
                let result = Err(format!("krakpot:{text}").into());
                Effect::Reply(Reply::Answer(Answer { order: number, asked, result, ts: time }))
            };
            let Some(token) = &self.token else {
                if matches!(request, Request::Cancel { .. }) {
                    // The exchange may never have heard of it; if it has, it is cancelled then.
                    if !self.cancels.contains(&number) {
                        self.cancels.push(number);
                    }
                    self.note(note::intent(&request, order, trader.pair(order.terms.pair), &self.options.prefix));
                } else {
                    effects.push(refuse("account: the private connection is down; nothing was sent".into()));
                }
                continue;
            };
            let id = self.awaiting.add(&request);
            let pair = trader.pair(order.terms.pair);
            match self.writer.request(&request, pair, Some((&order.terms, order.qty)), (id, token)) {
                Ok(frame) => {
                    let note = note::intent(&request, order, pair, &self.options.prefix);
                    self.note(note);
                    self.time(id, now);
                    frames.push((frame, matches!(request, Request::Cancel { .. })));
                }
                Err(why) => {
                    self.awaiting.forget(id);
                    effects.push(refuse(format!("unsendable: {why}")));
                }
            }
        }
        (frames, effects)
    }

    /// Sets the dead-man timer of the account; 0 ends it. `None` without a connection.
    ///
    /// # Errors
    /// [`Unsendable::Timeout`].
    pub fn arm(&mut self, now: i64, seconds: u32) -> Result<Option<Frame>, Unsendable> {
        if self.token.is_none() {
            return Ok(None);
        }
        let id = self.id(now);
        if self.timer_ids.len() == TIMED_MAX {
            self.timer_ids.pop_first();
        }
        self.timer_ids.insert(id);
        let Some(token) = &self.token else { return Ok(None) };
        request::cancel_all_after(seconds, (id, token)).map(Some)
    }

    /// A sign of life is asked for: its answer compares the clocks.
    pub fn ping(&mut self, now: i64) -> String {
        request::ping(self.id(now))
    }

    pub(super) fn note(&mut self, note: Note) {
        self.notes.push(note);
    }
}
