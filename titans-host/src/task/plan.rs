//! What of a task is known before its data are read: how much that takes, and how large its batches may be.

use super::TaskConfig;
use std::path::PathBuf;

/// The shortest sequences of a curriculum.
const SHORTEST: usize = 16;

impl TaskConfig {
    /// The files of a task, and the bytes that reading them takes at least: theirs (packed ones are larger), and those
    /// of a text's ids, which are made while it is there.
    pub fn reading(&self) -> (&[PathBuf], u64) {
        let bytes = |files: &[PathBuf]| -> u64 {
            files.iter().filter_map(|file| Some(std::fs::metadata(file).ok()?.len())).sum()
        };
        let ids = |n: u64| n.saturating_mul(size_of::<u32>() as u64);
        match self {
            Self::Recall(_) | Self::Track(_) => (&[], 0),
            Self::Series(c) => (std::slice::from_ref(&c.data), bytes(std::slice::from_ref(&c.data))),
            Self::Forecast(c) => (std::slice::from_ref(&c.data), bytes(std::slice::from_ref(&c.data))),
            Self::Classify(c) => (&c.data, ids(bytes(&c.data).saturating_add(bytes(&c.valid)))),
            Self::Text(c) => {
                let text = bytes(&c.data);
                // Of a vocabulary so much is taken at first.
                (&c.data, text.saturating_add(ids(if c.tokenizer.is_some() { text / 3 } else { text })))
            }
            Self::Babilong(c) => (&c.noise, bytes(&c.noise).saturating_add(ids(bytes(&c.noise)))),
            Self::Needle(c) => (&c.haystack, bytes(&c.haystack).saturating_add(ids(bytes(&c.haystack)))),
        }
    }

    /// The sizes, sequences and tokens of each, of the batches that may need most: a curriculum's short sequences come
    /// in large numbers, each with its memories.
    pub fn batches(&self) -> Vec<(usize, usize)> {
        let growing = |tokens: usize, length: usize| {
            let shorter = std::iter::successors(Some(SHORTEST), |&l| l.checked_mul(2)).take_while(|&l| l < length);
            shorter.chain([length]).map(|l| ((tokens / l.max(1)).max(1), l)).collect()
        };
        match self {
            Self::Text(c) => vec![(c.sequences, c.context)],
            Self::Series(c) => vec![(c.sequences, c.context)],
            Self::Forecast(c) => vec![(c.sequences, c.context)],
            Self::Classify(c) => vec![(c.sequences, c.context)],
            Self::Recall(c) => growing(c.tokens, c.length),
            Self::Track(c) => growing(c.tokens, c.tokens_of(c.length)),
            Self::Babilong(c) => growing(c.tokens, c.length),
            Self::Needle(c) => growing(c.tokens, c.length),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::task::TaskConfig;
    use crate::task::text::TextConfig;

    #[test]
    fn reading_takes_the_text_and_its_ids() {
        let folder = tempfile::tempdir().unwrap();
        let [a, b] = ["a.txt", "b.txt"].map(|name| folder.path().join(name));
        std::fs::write(&a, [0; 300]).unwrap();
        std::fs::write(&b, [0; 600]).unwrap();
        let text = TextConfig { data: vec![a, folder.path().join("none"), b], ..TextConfig::default() };
        assert_eq!(TaskConfig::Text(text.clone()).reading().1, 900 + 4 * 900);
        let words = TextConfig { tokenizer: Some("words.json".into()), ..text };
        assert_eq!(TaskConfig::Text(words).reading().1, 900 + 4 * 300);
    }
}
