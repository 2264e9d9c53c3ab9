//! Refusals of the exchange: whether the order that was asked for may live all the same.

/// What a refusal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It was not done.
    Refused,
    /// It was not done: the token is not known, so the next request needs another one.
    Token,
    /// It may have been done: only a look at the account tells.
    MayLive,
}

/// Texts that say that nothing was done, as [`normal`] makes them.
const REFUSED: &[&str] = &[
    "malformed request",
    "exceeded msg rate",
    "private data and trading are unavailable on this endpoint",
    "unsupported field",
    "unsupported event",
    "currency pair not supported",
    "currency pair not in iso 4217-a3 format",
    "already subscribed",
    "subscription name invalid",
    "egeneral:permission denied",
    "egeneral:invalid arguments",
    "egeneral:too many requests",
    "egeneral:unknown method",
    "egeneral:temporary lockout",
    "eservice:market in cancel_only mode",
    "eservice:market in post_only mode",
    "eservice:market in limit_only mode",
    "eservice:throttled",
    "eorder:rate limit exceeded",
    "eorder:domain rate limit exceeded",
    "eorder:orders limit exceeded",
    "eorder:scheduled orders limit exceeded",
    "eorder:invalid price",
    "eorder:tick size check failed",
    "eorder:order minimum not met",
    "eorder:cost minimum not met",
    "eorder:insufficient funds",
    "eorder:post only order",
    "eorder:unknown order",
    "eorder:invalid order",
    "eorder:order not editable",
    "eorder:not enough leaves qty",
    "eorder:unknown position",
    "eorder:positions limit exceeded",
    "eorder:cannot open position",
    "eorder:cannot open opposing position",
    "eorder:margin allowance exceeded",
    "eorder:margin level too low",
    "eorder:margin position size exceeded",
    "eorder:insufficient margin",
    "eorder:insufficient initial margin",
    "eorder:reduce only:no position exists",
    "eorder:reduce only:non-pc",
    "eorder:reduce only:non-ecp",
    "eorder:trading agreement required",
    "ebm:limit exceeded:cal",
    "eapi:invalid key",
    "eapi:invalid signature",
    "eapi:invalid nonce",
    "eapi:rate limit exceeded",
    "eapi:bad request",
    "eapi:feature disabled",
    "eauth:rate limit exceeded",
    "eauth:too many requests",
    "eauth:account temporary disabled",
    "eauth:account unconfirmed",
    "etrade:locked",
    "etrade:user locked",
    "etrade:invalid request",
    "eaccount:invalid permissions",
    "equery:unknown asset pair",
    "equery:unknown asset",
    "equery:invalid asset pair",
];

/// Texts about the token.
const TOKEN: &[&str] = &["token(s) not found", "esession:invalid session"];

/// How the texts of refusals begin that are not the exchange's: nothing was sent.
const LOCAL: &str = "krakpot:";

/// A text without what varies: letter case, and blanks around colons and at the ends.
fn normal(text: &str) -> String {
    let parts: Vec<String> =
        text.split(':').map(|part| part.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()).collect();
    parts.join(":")
}

/// Whether a text is one of these, or begins with one of these and goes on with a detail.
fn is_one_of(text: &str, known: &[&str]) -> bool {
    known.iter().any(|begin| {
        text.strip_prefix(begin)
            .is_some_and(|rest| !rest.starts_with(|next: char| next.is_alphanumeric() || next == '_'))
    })
}

impl Refusal {
    /// The meaning of a text. What is not known may live: the exchange's trouble of the moment (`EService:Unavailable`,
    /// `Busy`, `Deadline elapsed`, internal errors), and every text that was never seen.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let text = normal(text);
        if is_one_of(&text, TOKEN) {
            Self::Token
        } else if is_one_of(&text, REFUSED)
            || text.starts_with(LOCAL)
            || text.ends_with(" field must be a number_float")
        {
            Self::Refused
        } else {
            Self::MayLive
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: each text of Kraken is in its class, however it is spaced and written; what is not known may live.
    #[test]
    fn texts_have_a_class() {
        use Refusal::{MayLive, Refused, Token};
        for (text, class) in [
            ("EOrder:Insufficient funds", Refused),
            ("eorder: insufficient  funds ", Refused),
            ("EOrder:Invalid price:ETH/GBP price can only be specified up to 2 decimals.", Refused),
            ("EGeneral:Invalid arguments:volume", Refused),
            ("EGeneral:Invalid arguments:no_mpp order option is only available when ordertype = market", Refused),
            ("EGeneral:Unknown method", Refused),
            ("EService: Throttled: 1741500000", Refused),
            ("EService:Market in cancel_only mode", Refused),
            ("EAccount:Invalid permissions:USDT trading restricted for AT.", Refused),
            ("Limit_price field must be a number_float", Refused),
            ("Unsupported field: 'params' for the given msg type: ping", Refused),
            ("Currency pair not supported FISH/USD", Refused),
            ("Private data and trading are unavailable on this endpoint. Try ws-auth.kraken.com", Refused),
            ("EOrder:Unknown order", Refused),
            ("krakpot:order_value", Refused),
            ("EOrder:Reduce only:Non-PC", Refused),
            ("EOrder:Reduce only:Position is closed", MayLive),
            ("EOrder:Cancel pending", MayLive),
            ("EService:Unavailable", MayLive),
            ("EService:Busy", MayLive),
            ("EService:Deadline elapsed", MayLive),
            ("EGeneral:Internal error:42", MayLive),
            ("EDatabase:Internal error", MayLive),
            ("EOrder:Invalid orders of a new kind", MayLive),
            ("EOrder:", MayLive),
            ("", MayLive),
            ("Token(s) not found", Token),
            ("ESession:Invalid session", Token),
        ] {
            assert_eq!(Refusal::of(text), class, "{text}");
        }
    }

    /// Goal: the lists are as `normal` writes texts, or they would match nothing.
    #[test]
    fn the_lists_are_normal() {
        assert!(REFUSED.len() > 50);
        for text in REFUSED.iter().chain(TOKEN) {
            assert_eq!(normal(text), *text);
        }
    }
}
