//! Values of scripts, read without trust, and sentences about what is wrong.

use godot::builtin::{AnyArray, GString, PackedStringArray, Variant, VariantType};
use godot::meta::ToGodot;

/// A value, or a sentence that says what is wrong.
pub type Result<T> = std::result::Result<T, String>;

/// What a method returns that can be called wrongly: an empty text, or the sentence.
pub fn sentence(result: Result<()>) -> GString {
    GString::from(result.err().unwrap_or_default().as_str())
}

/// A text.
pub fn text(value: &Variant, name: &str) -> Result<String> {
    match value.get_type() {
        VariantType::STRING | VariantType::STRING_NAME => Ok(value.to_string()),
        _ => Err(format!("{name}: {value} is not allowed; allowed is a text")),
    }
}

/// A list of texts: a `PackedStringArray`, or an array of strings.
pub fn texts(value: &Variant, name: &str) -> Result<Vec<String>> {
    // The type is asked first: a number would become an empty list.
    let found = match value.get_type() {
        VariantType::PACKED_STRING_ARRAY => value.try_to::<PackedStringArray>().ok().map(|found| {
            let texts = found.as_slice().iter().map(ToString::to_string);
            Ok(texts.collect())
        }),
        VariantType::ARRAY => {
            value.try_to::<AnyArray>().ok().map(|found| found.iter_shared().map(|one| text(&one, name)).collect())
        }
        _ => None,
    };
    found
        .unwrap_or_else(|| Err(format!("{name}: {value} is not allowed; allowed is a list of texts, as [\"BTC/USD\"]")))
}

/// A whole number of a type; a script's `float` counts if it has no fraction.
pub fn whole<T: TryFrom<i64>>(value: &Variant, name: &str) -> Result<T> {
    #[allow(clippy::cast_possible_truncation, reason = "only a float without a fraction is taken, and it saturates")]
    let found = match value.get_type() {
        VariantType::INT => value.try_to::<i64>().ok(),
        VariantType::FLOAT => value.try_to::<f64>().ok().filter(|float| float.fract() == 0.0).map(|float| float as i64),
        _ => None,
    };
    let found = found.and_then(|found| T::try_from(found).ok());
    found.ok_or_else(|| format!("{name}: {value} is not allowed; allowed is a whole number in its range"))
}

/// A number.
pub fn float(value: &Variant, name: &str) -> Result<f64> {
    match value.get_type() {
        VariantType::INT | VariantType::FLOAT => value.try_to_relaxed::<f64>().ok(),
        _ => None,
    }
    .ok_or_else(|| format!("{name}: {value} is not allowed; allowed is a number"))
}

/// True or false.
pub fn flag(value: &Variant, name: &str) -> Result<bool> {
    let found = (value.get_type() == VariantType::BOOL).then(|| value.try_to::<bool>().ok()).flatten();
    found.ok_or_else(|| format!("{name}: {value} is not allowed; allowed is true or false"))
}

/// A counter, which a script has as 64 bits with a sign.
pub fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The value, or null.
pub fn maybe<T: ToGodot>(value: Option<T>) -> Variant {
    value.map_or_else(Variant::nil, |value| value.to_variant())
}

/// A list for a script.
pub fn packed<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> PackedStringArray {
    texts.into_iter().map(|text| GString::from(text.as_ref())).collect()
}
