//! A text as numbers.

use anyhow::{Result, ensure};

/// The distinct characters of a text.
#[derive(Clone, Debug)]
pub struct Vocabulary(Vec<char>);

impl Vocabulary {
    pub fn of(text: &str) -> Self {
        let mut characters: Vec<char> = text.chars().collect();
        characters.sort_unstable();
        characters.dedup();
        Vocabulary(characters)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn character(&self, symbol: usize) -> char {
        self.0.get(symbol).copied().unwrap_or(char::REPLACEMENT_CHARACTER)
    }

    /// Each character by its place in the vocabulary.
    pub fn encode(&self, text: &str) -> Result<Vec<usize>> {
        let symbol = |c| self.0.binary_search(&c).map_err(|_| anyhow::anyhow!("{c:?} does not occur in the text"));
        text.chars().map(symbol).collect()
    }
}

/// A text cut into rows that are read side by side, from left to right.
pub struct Rows<'a> {
    symbols: &'a [usize],
    rows: usize,
    length: usize,
}

/// Some steps of all rows.
pub struct Chunk {
    pub time: usize,
    /// `[T, N]`
    pub inputs: Vec<usize>,
    /// What comes after each, `[T, N]`.
    pub targets: Vec<usize>,
}

impl<'a> Rows<'a> {
    /// # Errors
    /// If there is less than a step for each row.
    pub fn new(symbols: &'a [usize], rows: usize) -> Result<Self> {
        let length = symbols.len().saturating_sub(1).checked_div(rows).unwrap_or(0);
        ensure!(length > 0, "a text of {} characters is too short for {rows} rows", symbols.len());
        Ok(Rows { symbols, rows, length })
    }

    /// All of it, `time` steps at once; fewer in the end.
    pub fn chunks(&self, time: usize) -> impl ExactSizeIterator<Item = Chunk> + '_ {
        let time = time.max(1);
        (0..self.length.div_ceil(time)).map(move |k| {
            let steps = k * time..((k + 1) * time).min(self.length);
            let from = |after: usize| {
                let at = move |t| (0..self.rows).map(move |row| self.symbols[row * self.length + t + after]);
                steps.clone().flat_map(at).collect()
            };
            Chunk { time: steps.len(), inputs: from(0), targets: from(1) }
        })
    }
}
