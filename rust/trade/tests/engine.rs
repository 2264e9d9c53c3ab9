//! Strategies in Rust on the built-in exchange: what they hear, and that what they did is what their accounts have.

mod played;

use krakpot_core::session::Channel;
use krakpot_trade::amount::Qty;
use krakpot_trade::engine::Engine;
use krakpot_trade::run::Wake;
use krakpot_trade::terms::Side;

use played::{MS, Maker, SECOND, load, pair, play, reads, run};

/// Goal: a maker quotes, is filled with proof, and its account has what its fills say; timers come at their times.
#[test]
fn a_maker_is_filled() {
    let reads = reads(20, 7, Channel::Level3);
    let pair = pair(&reads);
    let mut engine = Engine::new(run(&pair, Wake::Touch, 1, Channel::Level3), vec![Maker::default()]);
    let events = play(&mut engine, &reads, Channel::Level3);
    let maker = &engine.strategies()[0];
    assert!(events > 10_000 && maker.fills.len() > 20, "{events} events, {} fills", maker.fills.len());
    assert_eq!((maker.ended.as_str(), maker.gaps), ("the recording ended", 0));

    let begin = reads[0].0;
    let seconds: Vec<i64> = (1..=i64::try_from(maker.timers.len()).expect("few")).map(|n| begin + n * SECOND).collect();
    assert!(maker.timers == seconds && seconds.len() >= 18, "{:?}", maker.timers);

    let signed = |side, qty: Qty| if side == Side::Buy { qty.0 } else { -qty.0 };
    let held: i64 = maker.fills.iter().map(|&(_, side, _, qty, _)| signed(side, qty)).sum();
    let trader = engine.run().trader(0);
    assert_eq!(trader.inventory(0).qty, Qty(held));
    assert_eq!(engine.run().tally(0).fills.len(), maker.fills.len());
    // Both sides, by more than one kind of proof.
    let kinds: std::collections::BTreeSet<_> = maker.fills.iter().map(|fill| (fill.1.word(), fill.4)).collect();
    assert!(kinds.len() > 2, "{kinds:?}");
}

/// Goal: strategies share a pass and do not see each other, and the same input gives the same answer.
#[test]
fn many_are_as_one() {
    let reads = reads(8, 3, Channel::Level3);
    let pair = pair(&reads);
    let fills = |accounts: usize| {
        let makers = (0..accounts).map(|_| Maker::default()).collect();
        let mut engine = Engine::new(run(&pair, Wake::Every(MS), accounts, Channel::Level3), makers);
        play(&mut engine, &reads, Channel::Level3);
        engine.strategies().iter().map(|maker| maker.fills.clone()).collect::<Vec<_>>()
    };
    let one = fills(1);
    assert!(one[0].len() > 3, "{one:?}");
    assert!(fills(3).iter().all(|other| *other == one[0]));
}

/// Goal: what is in memory gives what the recording gives, each time, on both kinds of books.
#[test]
fn in_memory_it_is_the_same() {
    for books in [Channel::Level3, Channel::Book] {
        let reads = reads(8, 5, books);
        let (pair, (loaded, events)) = (pair(&reads), load(&reads, books));
        let engine = || Engine::new(run(&pair, Wake::Touch, 1, books), vec![Maker::default()]);
        let mut played = engine();
        assert_eq!(play(&mut played, &reads, books), events.len());
        let maker = &played.strategies()[0];
        assert!(maker.fills.len() > 3 && maker.timers.len() > 3, "{maker:?}");
        for _ in 0..2 {
            let mut again = engine();
            loaded.play(&mut again);
            again.stop("the recording ended");
            let other = &again.strategies()[0];
            assert_eq!((&other.fills, &other.timers, &other.ended), (&maker.fills, &maker.timers, &maker.ended));
            assert_eq!(again.run().messages(), played.run().messages());
            assert_eq!(again.run().trader(0).balance(&pair.quote), played.run().trader(0).balance(&pair.quote));
        }
        assert!(loaded.bytes() > 100 * events.len(), "{} bytes", loaded.bytes());
    }
}
