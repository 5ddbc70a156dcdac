//! Decides which image config applies to which image.
use std::fmt;

/// Why a text is no image pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PatternError(pub String);

/// A pattern over image names, as written in the name of an image config.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ImagePattern {
    text: String,
}

impl ImagePattern {
    /// Parses a pattern.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        Ok(Self { text: text.to_owned() })
    }

    /// Whether the pattern applies to an image as Docker names it (`nginx:1.27`, `host:5000/team/app@sha256:…`).
    pub fn matches(&self, image: &str) -> bool {
        self.text == image
    }
}

impl fmt::Display for ImagePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The patterns that apply to `image`, most specific first; the first one wins, the others are shadowed.
pub fn applicable<'a>(patterns: impl IntoIterator<Item = &'a str>, image: &str) -> Vec<&'a str> {
    patterns.into_iter().filter(|p| ImagePattern::parse(p).is_ok_and(|p| p.matches(image))).collect()
}
