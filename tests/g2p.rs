//! The example's words: a trained encoder and decoder give the phonemes that their authors' own code gives.

#[path = "../examples/g2p/speller.rs"]
mod speller;

use gatefold::Isa;
use speller::{Error, Speller};
use std::collections::BTreeMap;

const WEIGHTS: &[u8] = include_bytes!("../examples/g2p/data/g2p_en.safetensors");
const EXPECTED: &str = include_str!("../examples/g2p/data/expected.json");

fn speller() -> Speller {
    Speller::new(WEIGHTS, None).unwrap()
}

#[test]
fn every_word_on_every_instruction_set() {
    let expected: BTreeMap<String, Vec<String>> = serde_json::from_str(EXPECTED).unwrap();
    assert_eq!(expected.len(), 103);
    for &isa in Isa::available() {
        let mut speller = Speller::new(WEIGHTS, Some(isa)).unwrap();
        assert_eq!(speller.isa(), isa);
        let wrong: Vec<_> = expected
            .iter()
            .filter_map(|(word, phonemes)| {
                let found = speller.spell(word).unwrap();
                (found != *phonemes).then(|| format!("{word}: expected {phonemes:?}, found {found:?}"))
            })
            .collect();
        assert!(wrong.is_empty(), "{}: {} words wrong\n{}", isa.name(), wrong.len(), wrong.join("\n"));
    }
}

#[test]
fn a_word_leaves_nothing_behind() {
    let mut speller = speller();
    let first: Vec<String> = speller.spell("memory").unwrap().into_iter().map(String::from).collect();
    assert!(speller.spell("mem√ory").is_err());
    assert_eq!(speller.spell("network").unwrap(), ["N", "EH1", "T", "W", "ER2", "K"]);
    assert_eq!(speller.spell("Memory").unwrap(), first);
}

#[test]
fn other_characters_are_refused() {
    let mut speller = speller();
    for (word, wrong) in
        [("it's", '\''), ("mp3", '3'), ("naïve", 'ï'), ("a b", ' '), ("\u{212a}", '\u{212a}'), ("\0", '\0')]
    {
        match speller.spell(word) {
            Err(Error::Letter { letter, .. }) => assert_eq!(letter, wrong, "{word:?}"),
            other => panic!("{word:?}: {other:?}"),
        }
    }
    assert!(matches!(speller.spell(""), Err(Error::Empty)));
    let message = speller.spell("it's").unwrap_err().to_string();
    assert_eq!(message, r#"cannot spell "it's": '\'' is not a letter from a to z"#);
}

/// The length of the file up to its first tensor.
fn header() -> usize {
    8 + u64::from_le_bytes(*WEIGHTS.first_chunk().unwrap()) as usize
}

#[test]
fn truncated_weights_are_refused() {
    let lengths = (0..header() + 2).chain((header()..WEIGHTS.len()).step_by(100_003)).chain([WEIGHTS.len() - 1]);
    for length in lengths {
        assert!(matches!(Speller::new(&WEIGHTS[..length], None), Err(Error::Weights(_))), "{length} bytes");
    }
}

#[test]
fn altered_weights_are_refused() {
    let cases = [
        ("\"enc_b_ih\"", "\"enc_b_iz\"", "enc_b_ih"),
        ("\"fc_w\":{\"dtype\":\"F32\"", "\"fc_w\":{\"dtype\":\"I32\"", "fc_w: expected F32"),
        ("\"shape\":[29,256]", "\"shape\":[256,29]", "enc_emb: expected F32 [29, 256]"),
        ("\"graphemes\"", "\"graphemez\"", "graphemes"),
        ("\\\"<s>\\\"", "\\\"<z>\\\"", "<s>"),
        (", \\\"AA0\\\"", "         ", "[73, 256]"),
    ];
    for (from, to, names) in cases {
        let text = str::from_utf8(&WEIGHTS[..header()]).unwrap();
        assert_eq!((text.matches(from).count(), from.len()), (1, to.len()), "{from}");
        let mut file = text.replace(from, to).into_bytes();
        file.extend_from_slice(&WEIGHTS[header()..]);
        let error = Speller::new(&file, None).and_then(|mut s| s.spell("a").map(|_| ())).unwrap_err().to_string();
        assert!(error.contains(names), "{from}: {error}");
    }
}
