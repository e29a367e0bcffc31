//! How far a long command has come, on a terminal.

use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal, stderr};

/// A bar of `length` on standard error if that is a terminal, else nothing. `{msg}` in the template is the message.
pub fn bar(length: usize, template: &str) -> ProgressBar {
    if !stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    // A bar is worth no error: what is wrong with a template costs its looks.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length as u64).with_style(style)
}
