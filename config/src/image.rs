//! Decides which image config applies to which image.
//!
//! A pattern is written like an image: `nginx`, `nginx:1.27`, `registry:5000/team/app@sha256:…`.
//!
//! - Without a tag and a digest it applies to every tag and digest of that name. With a tag it applies to that tag only
//!   (an image that names neither tag nor digest has the tag `latest`, as for Docker). With a digest it applies to that
//!   digest; a tag beside it must match too when the image has one.
//! - The registry, `docker.io` and `library/` may be left out as for Docker: `nginx`, `library/nginx`, `docker.io/nginx`,
//!   `index.docker.io/library/nginx` are one name. A pattern applies when it matches **any** of these spellings.
//! - `*` stands for any characters, also none, **also `/`**; `?` for one character except `/`. Neither crosses from the
//!   name into the tag or the digest. So `team/*` applies to `team/app` and `team/web/app`, `host:5000/*` to everything
//!   of that registry, `nginx:1.*` to the tags that begin with `1.`, and `*` to everything.
//! - Registries are compared without regard to case, everything else exactly; names are lower case (Docker refuses others).
//! - An image known only by its id (`sha256:…`) has no name: `*` applies to it, and `sha256:` with an id or a wildcard.
//!
//! When several patterns apply, the most specific one wins: see [`ImagePattern`]'s order.
use std::cmp::Ordering;
use std::fmt;

/// Why a text is no image pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PatternError(pub String);

/// A pattern over image names, as written in the name of an image config.
///
/// Patterns are ordered by how specific they are, the most specific first: a digest before a tag before neither; no
/// wildcard before wildcards; more literal characters before fewer; then by text. The order is total, and two patterns
/// are equal only when their texts are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ImagePattern {
    text: String,
    reference: Reference,
}

/// An image name (or a pattern of one) taken apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Reference {
    /// Only an image id is known: the part after `sha256:`.
    Id(String),
    /// A name, maybe with a tag and a digest.
    Named { name: String, tag: Option<String>, digest: Option<String> },
}

const DOCKER_HUB: &str = "docker.io";
const LIBRARY: &str = "library/";

impl ImagePattern {
    /// Parses a pattern.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let reference = Reference::split(text);
        reference.validate(text)?;
        Ok(Self { text: text.to_owned(), reference })
    }

    /// Whether the pattern applies to an image as Docker names it (`nginx:1.27`, `host:5000/team/app@sha256:…`).
    pub fn matches(&self, image: &str) -> bool {
        match (&self.reference, Reference::split(image)) {
            (Reference::Id(pattern), Reference::Id(id)) => glob(pattern, &id),
            (Reference::Named { name, tag: None, digest: None }, Reference::Id(_)) => {
                !name.is_empty() && name.chars().all(|c| c == '*')
            }
            (
                Reference::Named { name, tag, digest },
                Reference::Named { name: image_name, tag: image_tag, digest: image_digest },
            ) => {
                version_applies(tag.as_deref(), digest.as_deref(), image_tag, image_digest)
                    && spellings(&image_name).iter().any(|spelling| glob(name, spelling))
            }
            _ => false,
        }
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Smaller is more specific.
    fn rank(&self) -> (u8, bool, std::cmp::Reverse<usize>, &str) {
        let version = match &self.reference {
            Reference::Id(_) | Reference::Named { digest: Some(_), .. } => 0,
            Reference::Named { tag: Some(_), .. } => 1,
            Reference::Named { .. } => 2,
        };
        let wild = self.text.contains(['*', '?']);
        let literal = self.text.chars().filter(|c| !matches!(c, '*' | '?')).count();
        (version, wild, std::cmp::Reverse(literal), &self.text)
    }
}

impl Ord for ImagePattern {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl PartialOrd for ImagePattern {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for ImagePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The patterns that apply to `image`, most specific first; the first one wins, the others are shadowed. Texts that
/// are no patterns apply to nothing.
pub fn applicable<'a>(patterns: impl IntoIterator<Item = &'a str>, image: &str) -> Vec<&'a str> {
    let mut found: Vec<(ImagePattern, &'a str)> = patterns
        .into_iter()
        .filter_map(|text| Some((ImagePattern::parse(text).ok()?, text)))
        .filter(|(pattern, _)| pattern.matches(image))
        .collect();
    found.sort();
    found.into_iter().map(|(_, text)| text).collect()
}

fn version_applies(
    tag: Option<&str>,
    digest: Option<&str>,
    image_tag: Option<String>,
    image_digest: Option<String>,
) -> bool {
    if let Some(digest) = digest {
        return image_digest.is_some_and(|d| glob(digest, &d))
            && tag.is_none_or(|tag| image_tag.is_none_or(|t| glob(tag, &t)));
    }
    let Some(tag) = tag else { return true };
    match (image_tag, image_digest) {
        (Some(image_tag), _) => glob(tag, &image_tag),
        (None, None) => glob(tag, "latest"),
        (None, Some(_)) => false,
    }
}

impl Reference {
    /// Takes a text apart; never fails, since images come from Docker and are not ours to judge.
    fn split(text: &str) -> Self {
        if let Some(id) = text.strip_prefix("sha256:")
            && !id.contains(['/', '@', ':'])
        {
            return Self::Id(id.to_ascii_lowercase());
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.to_ascii_lowercase())),
            None => (text, None),
        };
        // A colon after the last slash begins a tag; one before it, a registry's port.
        let (path, last) = match rest.rsplit_once('/') {
            Some((path, last)) => (Some(path), last),
            None => (None, rest),
        };
        let (last, tag) = match last.split_once(':') {
            Some((last, tag)) => (last, Some(tag.to_owned())),
            None => (last, None),
        };
        let name = match path {
            Some(path) => canonical_registry(&format!("{path}/{last}")),
            None => last.to_owned(),
        };
        Self::Named { name, tag, digest }
    }

    fn validate(&self, text: &str) -> Result<(), PatternError> {
        if text.is_empty() {
            return refuse("it is empty; write an image name such as `nginx`, or `*` for every image".into());
        }
        match self {
            Self::Id(id) => valid_hex(id).then_some(()).ok_or_else(|| not_a_digest(text)),
            Self::Named { name, tag, digest } => {
                valid_name(name)?;
                if let Some(tag) = tag {
                    valid_tag(tag)?;
                }
                match digest {
                    Some(digest) if !valid_digest(digest) => Err(not_a_digest(text)),
                    _ => Ok(()),
                }
            }
        }
    }
}

fn refuse<T>(reason: String) -> Result<T, PatternError> {
    Err(PatternError(reason))
}

fn not_a_digest(text: &str) -> PatternError {
    PatternError(format!(
        "`{text}` holds no digest such as `sha256:9f86d081…` (hexadecimal, `*` and `?` allowed)"
    ))
}

fn valid_hex(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_hexdigit() || matches!(c, '*' | '?'))
}

fn valid_digest(digest: &str) -> bool {
    match digest.split_once(':') {
        Some((algorithm, hex)) => {
            !algorithm.is_empty()
                && algorithm.chars().all(|c| c.is_ascii_alphanumeric() || "+._-*?".contains(c))
                && valid_hex(hex)
        }
        None => !digest.is_empty() && digest.chars().all(|c| matches!(c, '*' | '?')),
    }
}

fn valid_tag(tag: &str) -> Result<(), PatternError> {
    if tag.is_empty() {
        return refuse("there is no tag after the colon; leave the colon out for every tag".into());
    }
    match tag.chars().find(|c| !(c.is_ascii_alphanumeric() || "._-*?".contains(*c))) {
        Some(bad) => refuse(format!("the tag `{tag}` holds {bad:?}, which no tag can have")),
        None => Ok(()),
    }
}

fn valid_name(name: &str) -> Result<(), PatternError> {
    if name.is_empty() || name.split('/').any(str::is_empty) {
        return refuse("it has an empty part before, between or after slashes".into());
    }
    let (registry, path) = split_registry(name).map_or((None, name), |(r, p)| (Some(r), p));
    if let Some(registry) = registry
        && let Some(bad) = registry.chars().find(|c| !(c.is_ascii_alphanumeric() || ".-_:[]*?".contains(*c)))
    {
        return refuse(format!("the registry `{registry}` holds {bad:?}, which no registry can have"));
    }
    match path.chars().find(|c| !(c.is_ascii_lowercase() || c.is_ascii_digit() || "._-/*?".contains(*c))) {
        Some(bad) if bad.is_ascii_uppercase() => {
            refuse(format!("image names are lower case; did you mean `{}`?", path.to_ascii_lowercase()))
        }
        Some(bad) => refuse(format!("the name `{path}` holds {bad:?}, which no image name can have")),
        None => Ok(()),
    }
}

/// Splits a registry off a name, by Docker's rule: the first part is one if it looks like a host.
fn split_registry(name: &str) -> Option<(&str, &str)> {
    let (first, rest) = name.split_once('/')?;
    let host = first.contains(['.', ':'])
        || first.eq_ignore_ascii_case("localhost")
        || first.contains(|c: char| c.is_ascii_uppercase());
    host.then_some((first, rest))
}

/// Writes a name's registry in lower case, and the Docker Hub under its one name.
fn canonical_registry(name: &str) -> String {
    let Some((registry, path)) = split_registry(name) else { return name.to_owned() };
    let registry = registry.to_ascii_lowercase();
    match registry.as_str() {
        "index.docker.io" | "registry-1.docker.io" => format!("{DOCKER_HUB}/{path}"),
        _ => format!("{registry}/{path}"),
    }
}

/// All the ways to write an image's name.
fn spellings(name: &str) -> Vec<String> {
    let path = match split_registry(name) {
        Some((DOCKER_HUB, path)) => path,
        Some(_) => return vec![name.to_owned()],
        None => name,
    };
    let short = match path.strip_prefix(LIBRARY) {
        Some(rest) if !rest.contains('/') => rest,
        _ => path,
    };
    let mut all = vec![short.to_owned(), format!("{DOCKER_HUB}/{short}")];
    if !short.contains('/') {
        all.push(format!("{LIBRARY}{short}"));
        all.push(format!("{DOCKER_HUB}/{LIBRARY}{short}"));
    }
    all
}

/// Whether all of `text` matches `pattern`: `*` any characters, `?` one character but no slash. Needs no memory and at
/// most `pattern × text` steps.
fn glob(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern.chars(), text.chars());
    let mut resume: Option<(std::str::Chars<'_>, std::str::Chars<'_>)> = None;
    loop {
        let (mut next_pattern, mut next_text) = (pattern.clone(), text.clone());
        match (next_pattern.next(), next_text.next()) {
            (None, None) => return true,
            (Some('*'), _) => {
                resume = Some((next_pattern.clone(), text.clone()));
                pattern = next_pattern;
                continue;
            }
            (Some(p), Some(t)) if p == t || (p == '?' && t != '/') => {
                (pattern, text) = (next_pattern, next_text);
                continue;
            }
            _ => {}
        }
        // A mismatch: let the last star take one character more.
        let Some((after_star, mut rest)) = resume.take() else { return false };
        if rest.next().is_none() {
            return false;
        }
        (pattern, text) = (after_star.clone(), rest.clone());
        resume = Some((after_star, rest));
    }
}

#[cfg(test)]
mod tests;
