//! Texts as vectors, near each other where the texts mean the same: who makes them.

pub(crate) mod local;
pub(crate) mod service;

use std::{future::Future, pin::Pin, sync::Arc};

use crate::config::{EmbeddingSource, Embeddings};

/// The longest text that is embedded, in characters; of a longer one, the beginning.
pub(crate) const LONGEST: usize = 8_000;

/// Why texts have no vectors.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotEmbedded {
    /// The provider will not have these very texts: others may be taken.
    #[error("the provider refuses the texts: {0}")]
    Refused(String),
    /// The provider is away, slow, or answers with what is no answer: whichever texts it was asked for.
    #[error("the provider fails: {0}")]
    Failed(String),
}

pub(crate) type Embedding<'a> =
    Pin<Box<dyn Future<Output = Result<Vec<Vec<f32>>, NotEmbedded>> + Send + 'a>>;

/// Makes vectors of texts.
pub(crate) trait Provider: Send + Sync {
    /// What vectors can be compared by: those of another model say nothing beside these.
    fn model(&self) -> String;

    /// How many numbers a vector has.
    fn dimensions(&self) -> usize;

    /// A vector for each text, in their order: finite, and not all zero.
    fn embed(&self, texts: Vec<String>) -> Embedding<'_>;
}

/// The provider of the settings. Touches no network.
pub(crate) fn provider(settings: &Embeddings) -> Arc<dyn Provider> {
    match &settings.source {
        EmbeddingSource::Local => Arc::new(local::Local::new(settings.dimensions)),
        EmbeddingSource::Http(service) => Arc::new(service::Service::new(
            service,
            settings.dimensions,
            settings.deadline,
        )),
    }
}

/// The beginning of a text that is too long.
pub(crate) fn beginning(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(end);
    }
    text
}

/// Whether a vector points somewhere: the cosine of one that does not is no number.
pub(crate) fn is_vector(vector: &[f32], dimensions: usize) -> bool {
    let norm: f32 = vector.iter().map(|number| number * number).sum();
    vector.len() == dimensions && norm.is_finite() && norm > 0.0
}
