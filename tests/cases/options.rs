//! The options of a case, of which none may be unknown.

use super::Case;
use serde_json::Value;

/// The members of a JSON object.
pub fn members<'a>(case: &Case, object: &'a Value) -> impl Iterator<Item = (&'a str, &'a Value)> {
    let object = object.as_object().unwrap_or_else(|| panic!("{}: not an object: {object}", case.name));
    object.iter().map(|(key, value)| (key.as_str(), value))
}

/// The class of the layer.
pub fn layer(case: &Case) -> &str {
    string(case, "layer", &case.options["layer"])
}

pub fn string<'a>(case: &Case, key: &str, value: &'a Value) -> &'a str {
    value.as_str().unwrap_or_else(|| unknown(case, key, value))
}

pub fn number(case: &Case, key: &str, value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| unknown(case, key, value))
}

pub fn boolean(case: &Case, key: &str, value: &Value) -> bool {
    value.as_bool().unwrap_or_else(|| unknown(case, key, value))
}

pub fn size(case: &Case, key: &str, value: &Value) -> usize {
    value.as_u64().and_then(|n| n.try_into().ok()).unwrap_or_else(|| unknown(case, key, value))
}

/// Panics for an option, or a value of one, that is not known.
pub fn unknown(case: &Case, key: &str, value: &Value) -> ! {
    panic!("{}: unknown option {key} = {value}", case.name)
}

/// Panics for a tensor that is not known.
pub fn unknown_tensor(case: &Case, name: &str) -> ! {
    panic!("{}: unknown tensor {name}", case.name)
}
