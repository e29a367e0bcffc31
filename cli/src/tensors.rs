//! The files that inputs and outputs stand in: `.npy`, `.npz` and `.safetensors`.

use anyhow::{Context, Result, bail, ensure};
use gatefold_models::{Data, Inputs, Outputs, Tensor, numpy, safetensors};
use std::collections::BTreeMap;
use std::path::Path;

/// A format, known by the name's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileType {
    /// One array.
    Npy,
    /// Arrays with names.
    Npz,
    /// Arrays with names.
    Safetensors,
}

impl FileType {
    /// That of `path`, for the file that `argument` names.
    pub fn of(path: &Path, argument: &str) -> Result<FileType> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("npy") => Ok(FileType::Npy),
            Some("npz") => Ok(FileType::Npz),
            Some("safetensors") => Ok(FileType::Safetensors),
            _ => bail!("{argument} {}: expected a name that ends in .npy, .npz or .safetensors", path.display()),
        }
    }
}

/// Tensors of a file by their names; the one of a `.npy` has the first of the names that it may have.
#[derive(Debug)]
pub struct Tensors {
    file: String,
    tensors: BTreeMap<String, Tensor>,
}

const X: &[&str] = &["x", "X", "input"];
const H0: &[&str] = &["h0", "initial_h"];
const C0: &[&str] = &["c0", "initial_c"];
const LENGTHS: &[&str] = &["lengths", "sequence_lens"];
const MASK: &[&str] = &["mask"];

/// What an output may be called.
pub const Y: &[&str] = &["y", "Y", "output"];
/// What a final hidden state may be called.
pub const HN: &[&str] = &["hn", "h_n", "Y_h"];
/// What a final cell state may be called.
pub const CN: &[&str] = &["cn", "c_n", "Y_c"];

impl Tensors {
    /// Reads the file that `argument` names; `lone` is what a `.npy` holds.
    pub fn read(path: &Path, argument: &str, lone: &str) -> Result<Tensors> {
        let tensors = match FileType::of(path, argument)? {
            FileType::Npy => numpy::read_npy(path).map(|tensor| BTreeMap::from([(lone.to_owned(), tensor)])),
            FileType::Npz => numpy::read_npz(path),
            FileType::Safetensors => safetensors::read(path).map(|contents| contents.tensors),
        };
        let tensors = tensors.with_context(|| argument.to_owned())?;
        Ok(Tensors { file: path.display().to_string(), tensors })
    }

    /// The tensor that has one of `names`.
    pub fn get(&self, names: &[&str]) -> Result<Option<&Tensor>> {
        let mut found = names.iter().filter_map(|&name| Some((name, self.tensors.get(name)?)));
        let first = found.next();
        if let Some(((first, _), (second, _))) = first.zip(found.next()) {
            bail!("{}: {first} and {second} are two names of one thing", self.file);
        }
        Ok(first.map(|(_, tensor)| tensor))
    }

    /// What a model is run over, and a warning for each tensor that holds NaN.
    pub fn inputs(&self) -> Result<(Inputs<'_>, Vec<String>)> {
        let Some(x) = self.get(X)? else {
            let names: Vec<&str> = self.tensors.keys().map(String::as_str).collect();
            bail!("{}: expected a tensor named {}, found {}", self.file, X.join(" or "), names.join(", "));
        };
        let inputs =
            Inputs { x, h0: self.get(H0)?, c0: self.get(C0)?, lengths: self.get(LENGTHS)?, mask: self.get(MASK)? };
        let floats = [(X, Some(x)), (H0, inputs.h0), (C0, inputs.c0)];
        let warnings = floats.iter().filter_map(|(names, tensor)| {
            let nan = nan_warning(names[0], tensor.as_ref()?.shape(), count_nan(tensor.as_ref()?)?);
            Some(format!("{}: {nan}", self.file))
        });
        Ok((inputs, warnings.collect()))
    }
}

/// Where the first NaN of `tensor` stands in row-major order, and how many there are.
pub fn count_nan(tensor: &Tensor) -> Option<(usize, usize)> {
    fn count<T: Copy>(values: &[T], is_nan: impl Fn(&T) -> bool) -> Option<(usize, usize)> {
        let first = values.iter().position(&is_nan)?;
        Some((first, values[first..].iter().filter(|value| is_nan(value)).count()))
    }
    match tensor.data() {
        Data::F32(values) => count(values, |value| value.is_nan()),
        Data::F64(values) => count(values, |value| value.is_nan()),
        _ => None,
    }
}

/// What to say of `count` NaN among the values of a tensor, the first at `first` in row-major order.
pub fn nan_warning(name: &str, shape: &[usize], (first, count): (usize, usize)) -> String {
    let values: usize = shape.iter().product();
    format!("{name}: {count} of {values} values are NaN, the first at {:?}", index(first, shape))
}

/// The place of the value `flat` of an array in row-major order.
fn index(mut flat: usize, shape: &[usize]) -> Vec<usize> {
    let mut index: Vec<usize> = shape
        .iter()
        .rev()
        .map(|&size| {
            let place = flat % size.max(1);
            flat /= size.max(1);
            place
        })
        .collect();
    index.reverse();
    index
}

/// Writes y, and where the format has names the final states.
pub fn write_outputs(path: &Path, outputs: &Outputs) -> Result<()> {
    let states = [("hn", outputs.hn.as_ref()), ("cn", outputs.cn.as_ref())];
    write(path, "--output", [("y", Some(&outputs.y))].into_iter().chain(states))
}

/// Writes the final states.
pub fn write_states(path: &Path, outputs: &Outputs) -> Result<()> {
    ensure!(outputs.hn.is_some(), "--state-out: this model gives no states");
    write(path, "--state-out", [("hn", outputs.hn.as_ref()), ("cn", outputs.cn.as_ref())].into_iter())
}

/// A `.npy` takes the first tensor.
fn write<'a>(path: &Path, argument: &str, tensors: impl Iterator<Item = (&'a str, Option<&'a Tensor>)>) -> Result<()> {
    let tensors = tensors.filter_map(|(name, tensor)| Some((name, tensor?)));
    let written = match FileType::of(path, argument)? {
        FileType::Npy => tensors.take(1).try_for_each(|(_, tensor)| numpy::write_npy(path, tensor)),
        FileType::Npz => numpy::write_npz(path, tensors),
        FileType::Safetensors => safetensors::write(path, tensors),
    };
    written.with_context(|| argument.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_row_major() {
        assert_eq!(index(0, &[2, 3, 4]), [0, 0, 0]);
        assert_eq!(index(23, &[2, 3, 4]), [1, 2, 3]);
        assert_eq!(index(5, &[2, 3]), [1, 2]);
        assert!(index(0, &[]).is_empty());
    }

    #[test]
    fn nan_is_found_among_floats_alone() {
        let tensor = |data| Tensor::new(vec![2, 2], data).unwrap();
        let nan = f64::NAN;
        let found = count_nan(&tensor(Data::F64(vec![0.0, 1.0, nan, nan])));
        assert_eq!(found, Some((2, 2)));
        let warning = nan_warning("x", &[2, 2], (2, 2));
        assert_eq!(warning, "x: 2 of 4 values are NaN, the first at [1, 0]");
        assert_eq!(count_nan(&tensor(Data::F32(vec![f32::INFINITY; 4]))), None);
        assert_eq!(count_nan(&tensor(Data::I64(vec![0; 4]))), None);
    }
}
