//! Refusals of the exchange: what the text of an error means.

/// What a refusal is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Too many requests on this connection.
    MessageRate,
    /// This moment: another rate, or trouble of the exchange.
    Transient,
    /// The token, not the request.
    Token,
    /// The exchange still serves the subscription, and sends no snapshot.
    AlreadySubscribed,
    /// The request: to repeat it changes nothing.
    Permanent,
}

impl Refusal {
    /// The class of an error. Of a token Kraken says "Invalid session" on every private channel by its documentation,
    /// "Token(s) not found" as others saw it. Of a rate it says one word for the public channels, and all its other words
    /// end alike. Its page of errors names its own trouble: Unavailable, Busy, Deadline elapsed, Internal error.
    pub(crate) fn of(error: &str) -> Self {
        match error {
            "Exceeded msg rate" => Self::MessageRate,
            "Already subscribed" => Self::AlreadySubscribed,
            "Token(s) not found" => Self::Token,
            "EGeneral:Internal error" => Self::Transient,
            _ if error.starts_with("ESession:") => Self::Token,
            _ if error.starts_with("EService:") || error.ends_with("ate limit exceeded") => Self::Transient,
            _ => Self::Permanent,
        }
    }

    /// Whether the same request can succeed later: it is not the symbol that is refused.
    pub(crate) const fn may_pass(self) -> bool {
        matches!(self, Self::MessageRate | Self::Transient | Self::Token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: each known word is in its class, and an unknown one is not repeated forever.
    #[test]
    fn errors_have_a_class() {
        for (error, class, may_pass) in [
            ("Exceeded msg rate", Refusal::MessageRate, true),
            ("EAPI:Rate limit exceeded", Refusal::Transient, true),
            ("EService:Busy", Refusal::Transient, true),
            ("EGeneral:Internal error", Refusal::Transient, true),
            ("ESession:Invalid session", Refusal::Token, true),
            ("Token(s) not found", Refusal::Token, true),
            ("Already subscribed", Refusal::AlreadySubscribed, false),
            ("Currency pair not supported A/USD", Refusal::Permanent, false),
            ("", Refusal::Permanent, false),
        ] {
            let found = Refusal::of(error);
            assert_eq!((found, found.may_pass()), (class, may_pass), "{error}");
        }
    }
}
