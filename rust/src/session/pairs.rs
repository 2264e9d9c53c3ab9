//! Pairs and assets of the instrument channel, and which of them a session subscribes.

use super::options::{Channel, Options};
use super::output::{LedgerRow, column, detail};
use super::state::State;
use super::symbols::SubscriptionState;
use crate::error::Error;
use crate::instrument::{Asset, Origin, Pair, matches};
use crate::limits;
use crate::table::ledger::LedgerKind;
use crate::table::rows::Cell;
use crate::table::schema::Table;

impl State {
    pub(super) fn asset(&mut self, asset: &Asset, entry: usize) {
        let place = self.out.place(entry, None, None);
        let cells = [
            Cell::Text(&asset.id),
            Cell::Text(&asset.status),
            Cell::of(asset.precision, Cell::U8),
            Cell::of(asset.precision_display, Cell::U8),
            Cell::of(asset.borrowable, Cell::Bool),
            column(asset.collateral_value),
            column(asset.margin_rate),
            Cell::of(asset.class.as_deref(), Cell::Text),
            Cell::text_or_null(&asset.extra),
        ];
        self.out.row(Table::Assets, &place, cells);
    }

    /// A pair, new or changed.
    pub(super) fn pair(&mut self, options: &Options, pair: &Pair) {
        let found = self.index.get(&*pair.symbol);
        let Some(i) = found.or_else(|| self.add(&pair.symbol)) else { return };
        let now = self.out.now;
        let first = self.instrument != SubscriptionState::Active;
        let symbol = &mut self.symbols[i];
        let known_before = symbol.pair.is_some();
        let precision = (pair.price_precision, pair.qty_precision, Origin::Instrument);
        let precision_changed = symbol.precision.is_some_and(|p| p != precision);
        let status_changed = symbol.pair.as_ref().is_some_and(|p| p.status != pair.status);
        symbol.pair = Some(pair.clone());
        let holdable = pair.price_precision <= limits::SCALE && pair.qty_precision <= limits::SCALE;
        symbol.precision = Some(precision);
        let name = symbol.name.clone();
        if precision_changed {
            // What was refused for its digits may be held now.
            (symbol.book.refusals, symbol.orders.refusals) = (0, 0);
            // What Kraken does to a live book at that moment is not documented: it is left and asked for again.
            self.out.precision_row(&name, precision);
            for channel in [Channel::Book, Channel::Level3] {
                if self.symbols[i].subscriptions[channel as usize].state == SubscriptionState::Active {
                    self.resync(options, i, channel, "precision changed");
                    let row = LedgerRow {
                        detail: Some(detail("reason", "precision changed")),
                        ..self.out.ledger_row(LedgerKind::Gap, Some(channel), &name)
                    };
                    self.out.add_ledger_row(row);
                }
            }
        }
        if options.passive {
            return;
        }
        let chosen = options.symbols.iter().any(|pattern| matches(pattern, &name))
            && !options.exclude.iter().any(|pattern| matches(pattern, &name));
        if !chosen {
            return;
        }
        self.missing.retain(|missing| *missing != name);
        let symbol = &mut self.symbols[i];
        if pair.status == "delisted" {
            let live = symbol
                .subscriptions
                .iter()
                .any(|s| !matches!(s.state, SubscriptionState::Off | SubscriptionState::Removed));
            for subscription in &mut symbol.subscriptions {
                if subscription.state != SubscriptionState::Off {
                    subscription.state = SubscriptionState::Removed;
                }
            }
            symbol.book.end();
            symbol.orders.end();
            if live || (symbol.selected && status_changed) {
                let row = self.out.ledger_row(LedgerKind::Delisted, None, &name);
                self.out.add_ledger_row(row);
            }
            return;
        }
        if !holdable {
            for subscription in &mut symbol.subscriptions {
                if subscription.state != SubscriptionState::Off {
                    subscription.state = SubscriptionState::Removed;
                }
            }
            symbol.book.end();
            symbol.orders.end();
            let error = Error::Limit {
                what: "SCALE",
                limit: limits::SCALE.into(),
                found: pair.price_precision.max(pair.qty_precision).into(),
            };
            let row = LedgerRow {
                detail: Some(detail("reason", &error.to_string())),
                ..self.out.ledger_row(LedgerKind::Gone, None, &name)
            };
            self.out.add_ledger_row(row);
            return;
        }
        symbol.selected = true;
        if !first && !known_before {
            let row = self.out.ledger_row(LedgerKind::Listed, None, &name);
            self.out.add_ledger_row(row);
        }
        for &channel in &options.channels {
            let subscription = &mut self.symbols[i].subscriptions[channel as usize];
            let changed = status_changed || precision_changed;
            let again =
                matches!(subscription.state, SubscriptionState::Rejected | SubscriptionState::Removed) && changed;
            if subscription.state == SubscriptionState::Off || again {
                subscription.state = SubscriptionState::Pending(now);
            }
        }
    }
}
