//! What belongs together: answers and requests by their id, messages of a channel by their number.

use foldhash::{HashMap, HashMapExt as _};
use krakpot_core::wire::message::Kind;

use super::message::Ack;
use crate::report::{Answer, Asked};
use crate::terms::Request;

/// The numbers of a channel's messages: 1 for the snapshot, then one more for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sequence {
    last: Option<u64>,
}

/// A number that is not the next one: messages are missing, or one came twice. What they said has to be looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Jump {
    /// The number that was due.
    pub expected: u64,
    /// The one that came.
    pub found: u64,
}

impl Sequence {
    /// Takes the number of a message. A snapshot begins anew.
    ///
    /// # Errors
    /// [`Jump`] if it is not the next one. The count goes on from there.
    pub fn take(&mut self, kind: Kind, found: u64) -> Result<(), Jump> {
        let expected = match (kind, self.last) {
            (Kind::Snapshot, _) | (Kind::Update, None) => 1,
            (Kind::Update, Some(last)) => last.saturating_add(1),
        };
        self.last = Some(found);
        if found == expected { Ok(()) } else { Err(Jump { expected, found }) }
    }

    /// A new connection, or a new subscription: nothing was heard yet.
    pub const fn reset(&mut self) {
        self.last = None;
    }
}

/// Requests about orders that have no answer yet, by the id that the answer repeats.
#[derive(Debug, Default)]
pub struct Awaiting {
    requests: HashMap<u64, (u64, Asked)>,
    last: u64,
}

impl Awaiting {
    /// Nothing is awaited. Ids begin behind `last`.
    #[must_use]
    pub fn new(last: u64) -> Self {
        Self { requests: HashMap::new(), last }
    }

    /// The id of a request without an order: a subscription, a ping, the dead-man timer.
    pub const fn id(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// The id of a request about an order, whose answer is awaited from now on.
    pub fn add(&mut self, request: &Request) -> u64 {
        let asked = match request {
            Request::Add { .. } => Asked::Add,
            Request::Amend { .. } => Asked::Amend,
            Request::Cancel { .. } => Asked::Cancel,
        };
        let id = self.id();
        self.requests.insert(id, (request.order(), asked));
        id
    }

    /// A request was not sent after all.
    pub fn forget(&mut self, id: u64) {
        self.requests.remove(&id);
    }

    /// Requests without an answer.
    #[must_use]
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// Whether every request has its answer.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// The connection is gone: no answer will come any more. Orders and what was asked of them, in order of sending.
    pub fn take_all(&mut self) -> Vec<(u64, Asked)> {
        let mut all: Vec<_> = self.requests.drain().collect();
        all.sort_unstable_by_key(|request| request.0);
        all.into_iter().map(|request| request.1).collect()
    }

    /// What an answer means, if it is to one of these requests and the first one to it. `heard`: the time to give it where
    /// the exchange says none, ns.
    ///
    /// The result of an amendment or a cancel has the exchange's id of the order only if the exchange repeats it; else it
    /// is empty. Not every refusal says that nothing was done: [`Refusal`](super::refusal::Refusal).
    pub fn answer(&mut self, ack: &Ack, heard: i64) -> Option<Answer> {
        let (order, asked) = self.requests.remove(&ack.req_id?)?;
        let ts = ack.time_out.unwrap_or(heard);
        // One order is named at most: each request is about one.
        let result = match &ack.result {
            Ok(all) => match all.first() {
                Some(one) if one.error.is_some() => Err(one.error.clone().unwrap_or_default()),
                one => Ok(one.and_then(|one| one.order_id.clone()).unwrap_or_default()),
            },
            Err(text) => Err(text.clone()),
        };
        Some(Answer { order, asked, result, ts })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::wire::message::Acked;

    fn ack(id: u64, result: Result<Vec<Acked>, Arc<str>>) -> Ack {
        Ack {
            method: "add_order".into(),
            req_id: Some(id),
            result,
            count: None,
            channel: None,
            rate_limit: None,
            trigger_time: None,
            time_in: None,
            time_out: Some(5),
            warnings: Vec::new(),
        }
    }

    /// Goal: a missing, repeated or unasked number is told with both numbers, and the count goes on.
    #[test]
    fn jumps_are_seen() {
        let mut sequence = Sequence::default();
        assert_eq!(sequence.take(Kind::Snapshot, 1), Ok(()));
        assert_eq!(sequence.take(Kind::Update, 2), Ok(()));
        assert_eq!(sequence.take(Kind::Update, 4), Err(Jump { expected: 3, found: 4 }));
        assert_eq!(sequence.take(Kind::Update, 5), Ok(()));
        assert_eq!(sequence.take(Kind::Update, 5), Err(Jump { expected: 6, found: 5 }));
        assert_eq!(sequence.take(Kind::Snapshot, 1), Ok(()));
        sequence.reset();
        assert_eq!(sequence.take(Kind::Update, 9), Err(Jump { expected: 1, found: 9 }), "no snapshot came");
        assert_eq!(sequence.take(Kind::Update, u64::MAX), Err(Jump { expected: 10, found: u64::MAX }));
        assert!(sequence.take(Kind::Update, 0).is_err());
    }

    /// Goal: each request has one answer; after a cut none is awaited any more.
    #[test]
    fn answers_find_their_requests() {
        let mut awaiting = Awaiting::new(100);
        let first = awaiting.add(&Request::Cancel { order: 7 });
        assert_eq!((first, awaiting.id()), (101, 102));
        let second = awaiting.add(&Request::Amend { order: 8, qty: None, price: None, deadline: 0 });
        let third = awaiting.add(&Request::Cancel { order: 9 });
        let done = vec![Acked { order_id: Some("O1".into()), ..Acked::default() }];
        assert_eq!(
            awaiting.answer(&ack(first, Ok(done.clone())), 1),
            Some(Answer { order: 7, asked: Asked::Cancel, result: Ok("O1".into()), ts: 5 })
        );
        assert_eq!(awaiting.answer(&ack(first, Ok(done)), 1), None, "the second answer to it");
        assert_eq!(awaiting.answer(&ack(102, Ok(Vec::new())), 1), None, "nobody awaits it");
        assert_eq!(
            awaiting.answer(&Ack { time_out: None, ..ack(second, Err("EOrder:Unknown order".into())) }, 1),
            Some(Answer { order: 8, asked: Asked::Amend, result: Err("EOrder:Unknown order".into()), ts: 1 })
        );
        assert_eq!(
            awaiting.answer(&ack(third, Err("EService:Busy".into())), 1),
            Some(Answer { order: 9, asked: Asked::Cancel, result: Err("EService:Busy".into()), ts: 5 })
        );
        assert!(awaiting.is_empty());
        awaiting.add(&Request::Cancel { order: 3 });
        awaiting.add(&Request::Cancel { order: 1 });
        assert_eq!((awaiting.len(), awaiting.take_all()), (2, vec![(3, Asked::Cancel), (1, Asked::Cancel)]));
        assert!(awaiting.is_empty());
    }
}
