//! Vectors made here, of words and of what they are made of: the same on every machine, and without a network.
//!
//! Each word and each three letters of a word are hashed to a dimension and a sign (the hashing trick: Weinberger et al.,
//! Feature Hashing for Large Scale Multitask Learning, 2009), so that texts with words in common, in whatever form, are
//! near each other. It knows nothing of what words mean: for that there is a model behind a provider.

use std::collections::BTreeMap;

use super::{Embedding, Provider};

/// What a whole word counts beside each three letters of it.
const WORD: f32 = 2.0;
/// Words that tie sentences together and are in every text.
const TIES: [&str; 28] = [
    "a", "an", "and", "are", "as", "at", "by", "for", "from", "how", "in", "is", "it", "not", "of",
    "on", "or", "that", "the", "them", "this", "to", "what", "when", "where", "which", "why",
    "with",
];

/// The provider that is always there.
pub(crate) struct Local {
    dimensions: usize,
}

impl Local {
    pub(crate) fn new(dimensions: usize) -> Self {
        Self { dimensions }
    }

    fn vector(&self, text: &str) -> Vec<f32> {
        let mut counts: BTreeMap<String, (f32, f32)> = BTreeMap::new();
        let mut count = |feature: String, weight: f32| {
            let (_, times) = counts.entry(feature).or_insert((weight, 0.0));
            *times += 1.0;
        };
        let lower = text.to_lowercase();
        for word in lower.split(|letter: char| !letter.is_alphanumeric()) {
            if word.is_empty() || TIES.contains(&word) {
                continue;
            }
            count(word.to_owned(), WORD);
            // How a word begins says more than how it ends.
            let letters: Vec<char> = format!("<{word}").chars().collect();
            for three in letters.windows(3) {
                count(three.iter().collect(), 1.0);
            }
        }
        if counts.is_empty() {
            // What has no words is like itself and nothing else.
            counts.insert(text.trim().to_owned(), (1.0, 1.0));
        }
        let mut vector = vec![0.0; self.dimensions];
        for (feature, (weight, times)) in counts {
            let hash = blake3::hash(feature.as_bytes());
            let bytes: [u8; 8] = hash.as_bytes()[..8].try_into().expect("a hash is longer");
            let number = u64::from_le_bytes(bytes);
            let sign = if number & 1 == 0 { 1.0 } else { -1.0 };
            let dimension = (number >> 1) % self.dimensions as u64;
            // A word that comes ten times does not say ten times as much.
            vector[dimension as usize] += sign * weight * (1.0 + times.ln());
        }
        let norm = vector.iter().map(|number| number * number).sum::<f32>();
        if norm == 0.0 {
            // Two features that cancel each other out.
            vector[0] = 1.0;
            return vector;
        }
        vector.iter().map(|number| number / norm.sqrt()).collect()
    }
}

impl Provider for Local {
    fn model(&self) -> String {
        format!("local-1 {}", self.dimensions)
    }

    fn dimensions(&self) -> usize {
        self.dimensions
    }

    fn embed(&self, texts: Vec<String>) -> Embedding<'_> {
        Box::pin(async move {
            let mut vectors = Vec::with_capacity(texts.len());
            for text in texts {
                vectors.push(self.vector(&text));
                // A long text takes a millisecond: others have their turn in between.
                tokio::task::yield_now().await;
            }
            Ok(vectors)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learning::embedding::is_vector;

    fn likeness(one: &str, other: &str) -> f32 {
        let local = Local::new(384);
        let (one, other) = (local.vector(one), local.vector(other));
        one.iter().zip(&other).map(|(one, other)| one * other).sum()
    }

    #[test]
    fn texts_with_words_in_common_are_nearer_than_others() {
        for (text, near, far) in [
            (
                "ocean currents",
                "Currents of the ocean",
                "Drawing harbours",
            ),
            ("curents", "Currents", "Harbours"),
            (
                "cache purging",
                "Purging caches on the web",
                "Why the sea moves",
            ),
            ("Größe", "größe", "klein"),
            (
                "web caches",
                "Caching on the Web",
                "Tides and why the sea moves",
            ),
        ] {
            let (near, far) = (likeness(text, near), likeness(text, far));
            assert!(near > far + 0.2, "{text}: {near} {far}");
        }
        assert!((likeness("the same", "the same") - 1.0).abs() < 1e-5);
    }

    #[test]
    fn every_text_has_a_vector_of_length_one_and_always_the_same() {
        let local = Local::new(7);
        for text in ["a", "!?", "", "\u{1f980}", "İstanbul", &"x ".repeat(9_000)] {
            let vector = local.vector(text);
            assert!(is_vector(&vector, 7), "{text:?} {vector:?}");
            let norm: f32 = vector.iter().map(|number| number * number).sum();
            assert!((norm - 1.0).abs() < 1e-5, "{text:?} {norm}");
            assert_eq!(vector, local.vector(text));
        }
        // What is stored is compared with what another version of us makes.
        let first = Local::new(4).vector("tides");
        let expected = Local::new(4).vector("TIDES");
        assert_eq!(first, expected);
    }
}
