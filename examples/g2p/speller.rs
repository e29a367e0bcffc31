//! A trained GRU encoder and decoder that spell a word as phonemes.

use gatefold::seq::time_major;
use gatefold::weights::pytorch;
use gatefold::{Gru, Isa, Options, Output, State, Threads, Workspace};
use safetensors::{Dtype, SafeTensors};
use std::collections::HashMap;
use std::fmt;

/// Phonemes after which the decoder is stopped.
const LONGEST: usize = 20;

/// What can go wrong.
#[derive(Debug)]
pub enum Error {
    /// The file does not hold what it should.
    Weights(String),
    /// The word holds a character that the encoder has no token for.
    Letter { word: String, letter: char },
    /// There is no letter to read.
    Empty,
    /// gatefold refused.
    Layer(gatefold::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Weights(what) => write!(f, "the file of weights: {what}"),
            Error::Letter { word, letter } => {
                write!(f, "cannot spell {word:?}: {letter:?} is not a letter from a to z")
            }
            Error::Empty => write!(f, "cannot spell a word without letters"),
            Error::Layer(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

impl From<gatefold::Error> for Error {
    fn from(error: gatefold::Error) -> Self {
        Error::Layer(error)
    }
}

/// The encoder, the decoder, and the memory that they work in.
pub struct Speller {
    encoder: Half,
    decoder: Half,
    /// From the decoder's state to a score for each phoneme: `[phonemes, H]`.
    score_weights: Vec<f32>,
    /// `[phonemes]`.
    score_bias: Vec<f32>,
    state: State<f32>,
    workspace: Workspace<f32>,
}

impl Speller {
    /// Reads the contents of `g2p_en.safetensors`; `isa` as in [`Options`].
    pub fn new(file: &[u8], isa: Option<Isa>) -> Result<Self, Error> {
        let file = File::new(file)?;
        let options = Options { isa, threads: Threads::One, ..Options::default() };
        let encoder = Half::read(&file, "enc", "graphemes", options)?;
        let decoder = Half::read(&file, "dec", "phonemes", options)?;
        let (phonemes, hidden) = (decoder.symbols.len(), decoder.gru.dims().hidden);
        let score_weights = file.tensor("fc_w", &[phonemes, hidden])?;
        let score_bias = file.tensor("fc_b", &[phonemes])?;
        if encoder.gru.dims() != decoder.gru.dims() {
            return Err(Error::Weights("encoder and decoder differ in size".into()));
        }
        let (state, workspace) = (encoder.gru.state(1)?, Workspace::new());
        Ok(Speller { encoder, decoder, score_weights, score_bias, state, workspace })
    }

    /// The instruction set that computes.
    pub fn isa(&self) -> Isa {
        self.encoder.gru.isa()
    }

    /// The phonemes of `word`, letters from a to z in either case.
    pub fn spell(&mut self, word: &str) -> Result<Vec<&str>, Error> {
        self.encode(word)?;
        let end = self.decoder.token("</s>")?;
        let mut spoken = Vec::new();
        let mut token = self.decoder.token("<s>")?;
        while spoken.len() < LONGEST {
            token = self.step(token)?;
            if token == end {
                break;
            }
            spoken.push(token);
        }
        Ok(spoken.into_iter().map(|token| self.decoder.symbols[token].as_str()).collect())
    }

    /// Reads the word from a state of zeros: one call for the whole sequence `[T, 1, I]`.
    fn encode(&mut self, word: &str) -> Result<(), Error> {
        let half = &self.encoder;
        let mut x = Vec::new();
        for letter in word.chars() {
            let token = half.token(letter.to_ascii_lowercase().encode_utf8(&mut [0; 4]));
            let token = token.map_err(|_| Error::Letter { word: word.into(), letter })?;
            x.extend_from_slice(half.embedding(token));
        }
        if x.is_empty() {
            return Err(Error::Empty);
        }
        x.extend_from_slice(half.embedding(half.token("</s>")?));
        let input = half.gru.dims().input;
        let x = time_major(&x, [x.len() / input, 1, input])?;
        self.state.reset();
        Ok(half.gru.forward_into(x, &mut self.state, Output::StateOnly, &mut self.workspace)?)
    }

    /// One step of the decoder, `[1, 1, I]`, in the state that the step before left: the phoneme after `token`.
    fn step(&mut self, token: usize) -> Result<usize, Error> {
        let half = &self.decoder;
        let x = time_major(half.embedding(token), [1, 1, half.gru.dims().input])?;
        half.gru.forward_into(x, &mut self.state, Output::StateOnly, &mut self.workspace)?;
        let h = self.state.h_row(0).unwrap_or_default();
        let dot = |row: &[f32]| row.iter().zip(h).map(|(w, h)| w * h).sum::<f32>();
        let scores = self.score_weights.chunks_exact(h.len()).zip(&self.score_bias).map(|(row, bias)| dot(row) + bias);
        let best = scores.enumerate().max_by(|(_, a), (_, b)| a.total_cmp(b));
        Ok(best.map_or(0, |(token, _)| token))
    }
}

/// The encoder or the decoder: a GRU, its tokens, and the vector that each of them enters the GRU as.
struct Half {
    symbols: Vec<String>,
    /// `[symbols, I]`.
    embedding: Vec<f32>,
    gru: Gru<f32>,
}

impl Half {
    fn read(file: &File<'_>, prefix: &str, symbols: &str, options: Options) -> Result<Self, Error> {
        let name = |part: &str| format!("{prefix}_{part}");
        let symbols = file.symbols(symbols)?;
        let input = file.columns(&name("w_ih"))?;
        let hidden = file.columns(&name("w_hh"))?;
        let rows = 3 * hidden;
        let arrays = pytorch::Arrays {
            weight_ih: &file.tensor(&name("w_ih"), &[rows, input])?,
            weight_hh: &file.tensor(&name("w_hh"), &[rows, hidden])?,
            bias_ih: Some(&file.tensor(&name("b_ih"), &[rows])?),
            bias_hh: Some(&file.tensor(&name("b_hh"), &[rows])?),
        };
        let gru = Gru::from_pytorch(input, hidden, arrays, options)?;
        Ok(Half { embedding: file.tensor(&name("emb"), &[symbols.len(), input])?, symbols, gru })
    }

    fn token(&self, symbol: &str) -> Result<usize, Error> {
        let place = self.symbols.iter().position(|s| s == symbol);
        place.ok_or_else(|| Error::Weights(format!("no token for {symbol:?}")))
    }

    fn embedding(&self, token: usize) -> &[f32] {
        let input = self.gru.dims().input;
        &self.embedding[token * input..][..input]
    }
}

/// An open file of weights.
struct File<'a> {
    tensors: SafeTensors<'a>,
    metadata: HashMap<String, String>,
}

impl<'a> File<'a> {
    fn new(bytes: &'a [u8]) -> Result<Self, Error> {
        let refused = |error: safetensors::SafeTensorError| Error::Weights(error.to_string());
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(refused)?;
        let metadata = header.metadata().clone().unwrap_or_default();
        Ok(File { tensors: SafeTensors::deserialize(bytes).map_err(refused)?, metadata })
    }

    /// The symbols that a metadata entry lists, a JSON array.
    fn symbols(&self, entry: &str) -> Result<Vec<String>, Error> {
        let text = self.metadata.get(entry).ok_or_else(|| Error::Weights(format!("no metadata entry {entry:?}")))?;
        serde_json::from_str(text).map_err(|error| Error::Weights(format!("{entry}: {error}")))
    }

    fn columns(&self, name: &str) -> Result<usize, Error> {
        match self.view(name)?.shape() {
            [_, columns] => Ok(*columns),
            shape => Err(Error::Weights(format!("{name}: expected a matrix, found {shape:?}"))),
        }
    }

    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Error> {
        let view = self.view(name)?;
        if (view.dtype(), view.shape()) != (Dtype::F32, shape) {
            let (found, dtype) = (view.shape(), view.dtype());
            return Err(Error::Weights(format!("{name}: expected F32 {shape:?}, found {dtype:?} {found:?}")));
        }
        let (values, _) = view.data().as_chunks();
        Ok(values.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect())
    }

    fn view(&self, name: &str) -> Result<safetensors::tensor::TensorView<'a>, Error> {
        self.tensors.tensor(name).map_err(|error| Error::Weights(error.to_string()))
    }
}
