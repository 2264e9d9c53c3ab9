//! The exchange's own account of what it sent, connection by connection.

use std::collections::VecDeque;

use serde_json::{Map, Value, json};

use crate::connection::Connection;
use crate::outbox::Outbox;

/// Accounts of closed connections; the oldest is forgotten beyond this number.
const CLOSED_MAX: usize = 10_000;

/// Accounts of connections that are closed.
#[derive(Debug, Default)]
pub struct Accounts {
    /// The oldest first.
    closed: VecDeque<Value>,
}

impl Accounts {
    /// Keeps the account of a connection that is being closed.
    pub fn keep(&mut self, connection: &Connection, symbols: &[String]) {
        if self.closed.len() == CLOSED_MAX {
            self.closed.pop_front();
        }
        self.closed.push_back(account(connection, symbols));
    }

    /// Totals, and the account of each connection, closed ones first.
    pub fn summary(&self, outbox: &Outbox) -> Value {
        let open = outbox.connections.iter().flatten().map(|connection| account(connection, &outbox.symbols));
        let connections: Vec<Value> = self.closed.iter().cloned().chain(open).collect();
        json!({
            "messages": outbox.messages, "now": outbox.now, "faults": outbox.faults.counts(),
            "connections": connections
        })
    }
}

fn account(connection: &Connection, names: &[String]) -> Value {
    let mut symbols: Map<String, Value> = Map::new();
    let mut counts: Vec<_> = connection.counts.iter().collect();
    counts.sort_by_key(|((channel, pair), _)| (*pair, *channel));
    for (&(channel, pair), count) in counts {
        let mut facts = json!({ "messages": count.messages, "hash": format!("{:016x}", count.hash) });
        if let Some(faults) = connection.fault_counts.get(&(channel, pair)) {
            facts["faults"] = json!(faults);
        }
        if let Value::Object(channels) = symbols.entry(names[pair].clone()).or_insert_with(|| json!({})) {
            channels.insert(channel.to_owned(), facts);
        }
    }
    json!({
        "connection": connection.id, "connection_id": connection.announced_id, "frames": connection.frames,
        "bytes": connection.bytes, "symbols": symbols
    })
}
