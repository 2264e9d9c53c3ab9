//! Requests as text: subscribe, unsubscribe, ping.

use std::fmt::Write as _;

use super::json::write_text;

/// What tells subscriptions of one channel apart. Kraken wants it repeated in an unsubscribe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parameter {
    /// There is only one subscription of the channel.
    None,
    /// Levels of each side of a book.
    Depth(u16),
    /// A ticker at every change of the best prices.
    BestPrices,
    /// Length of a candle, minutes.
    Interval(u16),
}

/// What is subscribed or unsubscribed: some symbols of one channel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) channel: &'a str,
    pub(crate) symbols: &'a [&'a str],
    pub(crate) parameter: Parameter,
    /// What a private channel wants to see.
    pub(crate) token: Option<&'a str>,
}

impl Subject<'_> {
    /// Writes a subscribe request; `snapshot` says whether a snapshot is wanted.
    pub(crate) fn subscribe(&self, snapshot: bool, id: u64) -> String {
        self.request("subscribe", Some(snapshot), id)
    }

    /// Writes an unsubscribe request.
    pub(crate) fn unsubscribe(&self, id: u64) -> String {
        self.request("unsubscribe", None, id)
    }

    fn request(&self, method: &str, snapshot: Option<bool>, id: u64) -> String {
        let mut text = format!("{{\"method\":\"{method}\",\"params\":{{\"channel\":\"{}\",\"symbol\":[", self.channel);
        for (n, symbol) in self.symbols.iter().enumerate() {
            if n > 0 {
                text.push(',');
            }
            write_text(symbol, &mut text);
        }
        text.push(']');
        // Writing to a String cannot fail.
        let _ = match self.parameter {
            Parameter::None => Ok(()),
            Parameter::Depth(depth) => write!(text, ",\"depth\":{depth}"),
            Parameter::BestPrices => write!(text, ",\"event_trigger\":\"bbo\""),
            Parameter::Interval(minutes) => write!(text, ",\"interval\":{minutes}"),
        };
        if let Some(snapshot) = snapshot {
            let _ = write!(text, ",\"snapshot\":{snapshot}");
        }
        if let Some(token) = self.token {
            text.push_str(",\"token\":");
            write_text(token, &mut text);
        }
        let _ = write!(text, "}},\"req_id\":{id}}}");
        text
    }
}

/// Writes the request for the instrument channel; `tokenised` says whether tokenised assets are wanted too.
pub(crate) fn instrument(tokenised: bool, id: u64) -> String {
    let tokenised = if tokenised { ",\"include_tokenized_assets\":true" } else { "" };
    format!(
        "{{\"method\":\"subscribe\",\"params\":{{\"channel\":\"instrument\",\"snapshot\":true{tokenised}}},\"req_id\":{id}}}"
    )
}

/// Writes a ping.
pub(crate) fn ping(id: u64) -> String {
    format!("{{\"method\":\"ping\",\"req_id\":{id}}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: every field is where Kraken's documentation shows it, and nothing that a channel does not know is sent.
    #[test]
    fn requests_are_written() {
        let of = |channel, parameter, token| Subject { channel, symbols: &["A/USD", "B\"/USD"], parameter, token };
        assert_eq!(
            of("level3", Parameter::Depth(100), Some("t")).subscribe(true, 7),
            r#"{"method":"subscribe","params":{"channel":"level3","symbol":["A/USD","B\"/USD"],"depth":100,"snapshot":true,"token":"t"},"req_id":7}"#
        );
        assert_eq!(
            of("ticker", Parameter::BestPrices, None).unsubscribe(8),
            r#"{"method":"unsubscribe","params":{"channel":"ticker","symbol":["A/USD","B\"/USD"],"event_trigger":"bbo"},"req_id":8}"#
        );
        assert_eq!(
            of("ohlc", Parameter::Interval(5), None).unsubscribe(9),
            r#"{"method":"unsubscribe","params":{"channel":"ohlc","symbol":["A/USD","B\"/USD"],"interval":5},"req_id":9}"#
        );
        assert_eq!(
            of("trade", Parameter::None, None).subscribe(false, 10),
            r#"{"method":"subscribe","params":{"channel":"trade","symbol":["A/USD","B\"/USD"],"snapshot":false},"req_id":10}"#
        );
        assert_eq!(
            instrument(true, 1),
            r#"{"method":"subscribe","params":{"channel":"instrument","snapshot":true,"include_tokenized_assets":true},"req_id":1}"#
        );
        assert_eq!(ping(2), r#"{"method":"ping","req_id":2}"#);
    }
}
