//! Orders of the account that get new terms: in place, or as another order.

use crate::desk::{BY_USER, Desk, FUNDS, POST_ONLY, REPLACED, UNKNOWN, stamp};
use crate::engine::Amendment;
use crate::fanout::Fanout;
use crate::own::{ClientId, OrderKind, Stage};
use crate::rate;
use crate::report;
use crate::terms::{Asked, may_show};

/// New terms of an order: what is given.
#[derive(Debug, Clone, Default)]
pub struct NewTerms {
    /// Quantity in all.
    pub qty: Option<i64>,
    /// Worst price.
    pub limit: Option<i64>,
    /// Quantity that is shown at once.
    pub display: Option<i64>,
    /// Price of the trigger.
    pub trigger: Option<i64>,
    /// Whether it must not take.
    pub post_only: bool,
    /// What is wrong with a price.
    pub price: Option<String>,
}

impl Desk {
    /// Gives an open order new terms; returns the id of the amendment.
    ///
    /// # Errors
    /// Kraken's text.
    pub fn amend(&mut self, fanout: &mut Fanout, number: u64, system: &str, new: &NewTerms) -> Result<String, String> {
        let (now, stamp) = (fanout.outbox.now, stamp(fanout));
        let order = self.orders.get(&number).filter(|order| order.now.stage.is_alive()).ok_or(UNKNOWN)?;
        let (pair, aged, filled, stage) = (order.terms.pair, order.aged, order.now.filled, order.now.stage);
        Self::is_served(fanout, pair, system, order.terms.post_only, false)?;
        let qty = new.qty.unwrap_or(order.now.qty);
        // To amend an order to less than is filled cancels it, and costs as much.
        let more = if qty <= filled { rate::cancel(now - aged) } else { rate::amend(now - aged) };
        self.count(pair, (rate::FIXED, more), now)?;
        let order = self.orders.get(&number).ok_or(UNKNOWN)?;
        if let Some(error) = &new.price {
            return Err(error.clone());
        }
        let mut terms = order.terms.clone();
        if (new.limit.is_some() && !terms.kind.has_limit()) || (new.trigger.is_some() && order.now.trigger.is_none()) {
            return Err("EGeneral:Invalid arguments:price".to_owned());
        }
        terms.limit = new.limit.or(order.now.limit);
        terms.trigger = terms.trigger.map(|(_, index)| (new.trigger.or(order.now.trigger).unwrap_or(1), index));
        terms.display = new.display.or(order.now.display);
        if new.display.is_some() && terms.kind != OrderKind::Iceberg {
            return Err("EGeneral:Invalid arguments:displayvol".to_owned());
        }
        let left = qty - filled;
        if left > 0 {
            let market = &fanout.listings[pair].market;
            Self::check_sizes(market.best(terms.side.other()), &market.pair, &terms, qty)?;
            if terms.display.is_some_and(|display| display < qty && !may_show(display, qty)) {
                return Err("EGeneral:Invalid arguments:displayvol".to_owned());
            }
            if self.needs(fanout, &terms, left) - order.now.held > self.wallet.free(order.holds()) {
                return Err(FUNDS.to_owned());
            }
            let moved = terms.limit != order.now.limit;
            // Nothing is matched while only post-only orders are taken.
            let post_only = new.post_only || [system, market.pair.status].contains(&"post_only");
            if post_only && moved && stage == Stage::Open && market.engine.crosses(terms.side, terms.limit) {
                return Err(POST_ONLY.to_owned());
            }
        }
        let held = if left > 0 { self.needs(fanout, &terms, left) } else { order.now.held };
        let (asset, before) = (order.holds().to_owned(), order.now.held);
        self.counter(pair).add(more);
        self.wallet.hold(&asset, held - before);
        let qty = qty.max(filled);
        let order = self.orders.get_mut(&number).ok_or(UNKNOWN)?;
        order.aged = now;
        let then = &mut order.now;
        (then.qty, then.limit, then.display, then.held, then.amended) = (qty, terms.limit, terms.display, held, true);
        then.trigger = terms.trigger.map(|trigger| trigger.0);
        let then = then.clone();
        let amended = self.amended(now, [qty, left.max(0)], &then);
        let id = amended.id.clone();
        if let Some(order) = self.orders.get_mut(&number) {
            order.amends.push(amended);
        }
        self.changed((now, stamp), number, false, |order| report::amended(order, stamp));
        if left <= 0 {
            self.cancel(fanout, number, BY_USER);
        } else if stage == Stage::Open {
            let (price, keep) = (terms.limit.unwrap_or(1), self.settings.is_other("amend_up"));
            let (peak, self_trade) = (terms.display.unwrap_or(left), terms.self_trade);
            let amendment = Amendment { price, qty: left, peak, keep, self_trade };
            let arrived =
                fanout.act_for(pair, (number, terms.side, false), |engine, ts| engine.amend(number, &amendment, ts));
            self.settle(fanout, pair);
            if let Some(arrived) = arrived {
                self.arrived(fanout, number, arrived);
            }
            self.watch(fanout, pair);
        } else {
            self.watch_all(fanout);
        }
        self.find_next_due(fanout);
        Ok(id)
    }

    /// Replaces an order by one with new terms: the old one is cancelled, the new one has another id, which is returned.
    ///
    /// # Errors
    /// Kraken's text.
    pub fn edit(
        &mut self,
        fanout: &mut Fanout,
        number: u64,
        (new, client): (&NewTerms, Option<i64>),
        validate: bool,
    ) -> Result<String, String> {
        let now = fanout.outbox.now;
        let order = self.orders.get(&number).filter(|order| order.now.stage.is_alive()).ok_or(UNKNOWN)?;
        let pair = order.terms.pair;
        let more = rate::edit(now - order.aged);
        self.count(pair, (rate::FIXED, more), now)?;
        let order = self.orders.get(&number).ok_or(UNKNOWN)?;
        if order.now.trigger.is_some() || matches!(order.terms.client, ClientId::Name(_)) {
            return Err("EOrder:Order not editable".to_owned());
        }
        let mut terms = order.terms.clone();
        terms.qty = new.qty.unwrap_or(order.now.qty) - order.now.filled;
        if terms.qty <= 0 {
            return Err("EOrder:Not enough leaves qty".to_owned());
        }
        terms.limit = new.limit.or(order.now.limit);
        terms.display = new.display.or(order.now.display);
        terms.post_only = new.post_only || terms.post_only;
        terms.begins = None;
        terms.client = ClientId::Number(client.unwrap_or(0));
        // The old order makes room for the new one before that is looked at.
        let (asset, held) = (order.holds().to_owned(), order.now.held);
        self.wallet.hold(&asset, -held);
        self.alive.remove(&number);
        let asked = Asked { terms, price: new.price.clone() };
        let checked = self.check(fanout, &asked);
        self.alive.insert(number);
        self.wallet.hold(&asset, held);
        checked?;
        if validate {
            return Ok(String::new());
        }
        self.counter(pair).add(more);
        self.cancel(fanout, number, REPLACED);
        Ok(self.place(fanout, asked.terms))
    }
}
