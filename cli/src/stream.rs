//! Long sequences from a `.npy` file to another, of which only a part stands in memory.

use crate::model::{Model, STEPS, warn};
use crate::npy::{Pieces, write_header, write_values};
use crate::progress;
use crate::tensors::{FileType, count_nan, nan_warning};
use anyhow::{Context, Result};
use gatefold_models::{Inputs, Outputs};
use std::io::{self, BufWriter, Write};
use std::path::Path;
use tempfile::NamedTempFile;

/// Steps that are in memory at once.
const BLOCK: usize = 4096;

/// Runs `model` over the file `input` block by block and returns what the last block gave, states included.
///
/// None, with nothing done, if that is not possible: with another file type, a model that goes backwards, rows of a batch
/// one behind the other; or not worth it, with a sequence that is short. The result would have the same bits.
pub fn run(model: &Model<'_>, input: &Path, output: &Path) -> Result<Option<Outputs>> {
    let npy = |path, argument| Ok::<_, anyhow::Error>(FileType::of(path, argument)? == FileType::Npy);
    if !(npy(input, "--input")? && npy(output, "--output")? && model.is_causal()?) {
        return Ok(None);
    }
    let Some(pieces) = Pieces::open(input)? else { return Ok(None) };
    let shape = pieces.shape().to_vec();
    let axis = model.time_axis(shape.len())?;
    // All sizes before time must be 1: then a piece of time is a piece of the file.
    let is_long = shape.get(axis).is_some_and(|&time| time > BLOCK) && !shape.contains(&0);
    if !is_long || shape.len() > 3 || shape[..axis].iter().any(|&size| size != 1) {
        return Ok(None);
    }
    Blocks { model, pieces, shape, axis, input }.run(output).map(Some)
}

/// A file without a lasting name, with the permissions that other new files get.
fn new_file(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}

struct Blocks<'a> {
    model: &'a Model<'a>,
    pieces: Pieces,
    shape: Vec<usize>,
    axis: usize,
    input: &'a Path,
}

impl Blocks<'_> {
    /// Writes to a file beside `output`, which takes its place when it is whole.
    fn run(mut self, output: &Path) -> Result<Outputs> {
        let place = || format!("--output {}", output.display());
        let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut file = BufWriter::new(new_file(folder).with_context(place)?);
        let last = self.write(&mut file)?;
        let file = file.into_inner().map_err(|error| error.into_error()).with_context(place)?;
        file.persist(output).map_err(|error| error.error).with_context(place)?;
        Ok(last)
    }

    fn write(&mut self, file: &mut impl Write) -> Result<Outputs> {
        let time = self.shape[self.axis];
        let bar = progress::bar(time, STEPS);
        let (mut last, mut nan): (Option<Outputs>, Option<(usize, usize)>) = (None, None);
        for start in (0..time).step_by(BLOCK) {
            let mut shape = self.shape.clone();
            shape[self.axis] = BLOCK.min(time - start);
            let x = self.pieces.next(&shape).with_context(|| format!("--input {}", self.input.display()))?;
            if let Some((first, count)) = count_nan(&x) {
                let before = start * self.shape[self.axis + 1..].iter().product::<usize>();
                nan = Some(nan.map_or((before + first, count), |(first, others)| (first, others + count)));
            }
            let (h0, c0) = last.as_ref().map_or((None, None), |last| (last.hn.as_ref(), last.cn.as_ref()));
            let inputs = Inputs { x: &x, h0, c0, lengths: None, mask: None };
            let outputs = self.model.run(inputs, |done| bar.set_position((start + done) as u64))?;
            if start == 0 {
                let mut shape = outputs.y.shape().to_vec();
                shape[self.axis] = time;
                write_header(file, &shape)?;
            }
            write_values(file, &outputs.y)?;
            last = Some(outputs);
        }
        bar.finish_and_clear();
        if let Some(nan) = nan {
            warn(&format!("{}: {}", self.input.display(), nan_warning("x", &self.shape, nan)));
        }
        last.context("a sequence without steps")
    }
}
