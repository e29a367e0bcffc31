//! Bars of text.

/// Eighths of a character cell, from none to seven.
const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/// `part` of 1 as a bar of at most `width` characters, to an eighth of one.
pub fn bar(part: f64, width: usize) -> String {
    // What is no number becomes 0.
    let eighths = (part.clamp(0.0, 1.0) * (8 * width) as f64).round() as usize;
    "█".repeat(eighths / 8) + EIGHTHS[eighths % 8]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_they_say() {
        let cases =
            [(0.0, ""), (0.5, "██"), (1.0, "████"), (7.0, "████"), (-1.0, ""), (1.0 / 32.0, "▏"), (0.71, "██▉")];
        for (part, text) in cases {
            assert_eq!(bar(part, 4), text, "{part}");
        }
        assert_eq!(bar(f64::NAN, 4), "");
    }
}
