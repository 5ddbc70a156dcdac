//! Gives events a value that is the same for the same contents.
use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use md5::Md5;
use sha1::Sha1;
use sha2::digest::Digest;
use sha2::{Sha256, Sha384, Sha512};

use crate::batch::{Batch, Fate, Filter};
use crate::ecs::Ecs;
use crate::event::Event;
use crate::field::FieldRef;
use crate::lang::kinds::{Password, Placed};
use crate::lang::problems::Problems;
use crate::plan::CommonFilter;
use crate::plugins::FilterOptions;
use crate::ruby::{Dot, Groups, Replacement, Ruby};
use crate::spec::{plugin, words};
use crate::success::OnSuccess;
use crate::value::{Map, Text, Value};

/// How long one text may be searched for what is no punctuation.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(1);
/// Where MurmurHash3 of 128 bits begins.
const SEED: u32 = 2;

plugin! {
    /// Gives each event a value that is the same for the same contents: to find what came twice, as the id of a document, or
    /// to hide what a field holds.
    ///
    /// ```
    /// filter { fingerprint { source => ["message"] target => "[@metadata][id]" method => "SHA256" } }
    /// ```
    ///
    /// Of several sources the last one that is there counts, unless they are taken together. A list gets a list of values.
    filter "fingerprint" => pub(crate) struct FingerprintOptions {
        /// The fields that the value is made of.
        source: Vec<FieldRef> = ["message"],
        /// The field to put the value into: `fingerprint`, or `[event][hash]` with `ecs_compatibility => v1`.
        target: Option<FieldRef>,
        /// How the value is made.
        method: Placed<Method> = "SHA1",
        /// The key of a keyed hash (HMAC); for `IPV4_NETWORK` the length of the network's prefix.
        key: Option<Password>,
        /// Write the value in base 64, not in hexadecimal digits.
        base64encode: bool = false,
        /// Make one value of all sources together.
        concatenate_sources: bool = false,
        /// Make one value of all fields together.
        concatenate_all_fields: bool = false,
        /// Where the value goes: see `target`.
        ecs_compatibility: Ecs = "disabled",
    }
    validate = check
}

words! {
    /// How a value is made of contents.
    pub(crate) enum Method {
        /// SHA-1.
        Sha1 = "SHA1",
        /// SHA-2 of 256 bits.
        Sha256 = "SHA256",
        /// SHA-2 of 384 bits.
        Sha384 = "SHA384",
        /// SHA-2 of 512 bits.
        Sha512 = "SHA512",
        /// MD5.
        Md5 = "MD5",
        /// MurmurHash3 of 32 bits: a number.
        Murmur3 = "MURMUR3",
        /// MurmurHash3 of 128 bits.
        Murmur3Of128 = "MURMUR3_128",
        /// The network that an address lies in.
        Ipv4Network = "IPV4_NETWORK",
        /// A random id, another one for each event.
        Uuid = "UUID",
        /// What is neither letter nor digit nor blank.
        Punctuation = "PUNCTUATION",
    }
}

fn check(options: &FingerprintOptions, problems: &mut Problems) {
    let key = options.key.as_ref().map(Password::reveal);
    if options.method.value == Method::Ipv4Network && key.and_then(prefix).is_none() {
        problems
            .error(options.method.span, "`IPV4_NETWORK` needs the length of the network's prefix as its key")
            .hint("write `key => 24`");
    }
}

fn prefix(key: &str) -> Option<u32> {
    key.parse().ok().filter(|prefix| *prefix <= 128)
}

impl FilterOptions for FingerprintOptions {
    fn build(&self, on_success: &Arc<CommonFilter>) -> Result<Box<dyn Filter>, String> {
        let target = self
            .ecs_compatibility
            .choose(FieldRef::top("fingerprint"), FieldRef::from_names(&["event", "hash"]));
        let punctuation =
            Ruby::compile(r"[^[\p{P}\p{S}]]", Dot::NotNewline).map_err(|error| error.to_string())?;
        let mut source = self.source.clone();
        if self.concatenate_sources || self.method.value == Method::Punctuation {
            source.sort_by_key(ToString::to_string);
        }
        Ok(Box::new(Fingerprint {
            source,
            target: self.target.clone().unwrap_or(target),
            punctuation,
            options: self.clone(),
            on_success: OnSuccess::new(on_success),
        }))
    }
}

struct Fingerprint {
    source: Vec<FieldRef>,
    target: FieldRef,
    punctuation: Ruby,
    options: FingerprintOptions,
    on_success: OnSuccess,
}

impl Filter for Fingerprint {
    fn run(&mut self, batch: &mut Batch) {
        let mut groups = Groups::new();
        batch.each(|event| {
            self.work(event, &mut groups);
            self.on_success.apply(event);
            Fate::Keep
        });
    }
}

impl Fingerprint {
    fn work(&self, event: &mut Event, groups: &mut Groups) {
        let set = |event: &mut Event, value: Value| {
            // Where a value cannot be put, Logstash does not say so either.
            let _put = event.set(&self.target, value);
        };
        match self.options.method.value {
            Method::Uuid => set(event, Value::from(uuid::Uuid::new_v4().hyphenated().to_string())),
            Method::Punctuation => {
                for field in &self.source {
                    let Some(text) = event.get(field).map(Value::to_text) else { continue };
                    let nothing = Replacement::parse("");
                    let left = self.punctuation.replace_all(&text, &nothing, PATIENCE, groups);
                    set(event, left.ok().flatten().map_or(Value::Str(text), Value::from));
                }
            }
            _ if self.options.concatenate_all_fields => {
                let together = self.of_text(&all_fields(event));
                set(event, together);
            }
            _ if self.options.concatenate_sources => {
                let mut together = String::new();
                for field in &self.source {
                    let value = event.get(field).map(canonical).unwrap_or_default();
                    together.push_str(&format!("|{field}|{value}"));
                }
                together.push('|');
                let together = self.of_text(&together);
                set(event, together);
            }
            _ => {
                for field in &self.source {
                    let value = match event.get(field) {
                        None => continue,
                        Some(Value::List(items)) => Value::List(items.iter().map(|i| self.of(i)).collect()),
                        Some(value) => self.of(value),
                    };
                    set(event, value);
                }
            }
        }
    }

    fn of(&self, value: &Value) -> Value {
        match (self.options.method.value, value) {
            (Method::Murmur3, Value::Int(number)) => murmur32(&number.to_le_bytes()),
            (Method::Murmur3Of128, Value::Int(number)) => match i32::try_from(*number) {
                Ok(small) => self.murmur128(&small.to_le_bytes()),
                Err(_) => self.murmur128(&number.to_le_bytes()),
            },
            (_, value) => self.of_text(&canonical(value)),
        }
    }

    fn of_text(&self, text: &str) -> Value {
        let key = self.options.key.as_ref().map(|key| key.reveal().as_bytes());
        let bytes = text.as_bytes();
        let digest = match self.options.method.value {
            Method::Murmur3 => return murmur32(bytes),
            Method::Murmur3Of128 => return self.murmur128(bytes),
            Method::Ipv4Network => return network(text, self.options.key.as_ref()),
            Method::Sha256 => {
                key.map_or_else(|| Sha256::digest(bytes).to_vec(), |key| hmac::<Hmac<Sha256>>(key, bytes))
            }
            Method::Sha384 => {
                key.map_or_else(|| Sha384::digest(bytes).to_vec(), |key| hmac::<Hmac<Sha384>>(key, bytes))
            }
            Method::Sha512 => {
                key.map_or_else(|| Sha512::digest(bytes).to_vec(), |key| hmac::<Hmac<Sha512>>(key, bytes))
            }
            Method::Md5 => {
                key.map_or_else(|| Md5::digest(bytes).to_vec(), |key| hmac::<Hmac<Md5>>(key, bytes))
            }
            Method::Sha1 | Method::Uuid | Method::Punctuation => {
                key.map_or_else(|| Sha1::digest(bytes).to_vec(), |key| hmac::<Hmac<Sha1>>(key, bytes))
            }
        };
        self.written(&digest)
    }

    fn murmur128(&self, bytes: &[u8]) -> Value {
        // Reading from memory cannot fail.
        let hash = murmur3::murmur3_x64_128(&mut &*bytes, SEED).unwrap_or_default();
        self.written(&hash.to_le_bytes())
    }

    fn written(&self, digest: &[u8]) -> Value {
        Value::from(match self.options.base64encode {
            true => STANDARD.encode(digest),
            false => digest.iter().map(|byte| format!("{byte:02x}")).collect(),
        })
    }
}

fn hmac<M: Mac + sha2::digest::KeyInit>(key: &[u8], bytes: &[u8]) -> Vec<u8> {
    let mut mac = <M as Mac>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(bytes);
    mac.finalize().into_bytes().to_vec()
}

fn murmur32(bytes: &[u8]) -> Value {
    // Reading from memory cannot fail.
    Value::Int(murmur3::murmur3_32(&mut &*bytes, 0).unwrap_or_default().into())
}

/// The network of an address; null when it is none.
fn network(text: &str, key: Option<&Password>) -> Value {
    let Some(prefix) = key.and_then(|key| prefix(key.reveal())) else { return Value::Null };
    match text.trim().parse() {
        Ok(IpAddr::V4(address)) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(prefix)).unwrap_or(0);
            Value::from(std::net::Ipv4Addr::from(u32::from(address) & mask).to_string())
        }
        Ok(IpAddr::V6(address)) => {
            let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
            Value::from(std::net::Ipv6Addr::from(u128::from(address) & mask).to_string())
        }
        Err(_) => Value::Null,
    }
}

/// A value as a text that does not depend on the order of fields.
fn canonical(value: &Value) -> Text {
    match value {
        Value::Map(map) => {
            sorted(map).map(|(k, v)| format!("{k}|{}", canonical(v))).collect::<Vec<_>>().join("|").into()
        }
        Value::List(items) => {
            items.iter().map(|i| canonical(i).to_string()).collect::<Vec<_>>().join("|").into()
        }
        other => other.to_text(),
    }
}

fn sorted(map: &Map) -> impl Iterator<Item = (&str, &Value)> {
    let mut entries: Vec<_> = map.iter().map(|(name, value)| (name.as_str(), value)).collect();
    entries.sort_by_key(|(name, _)| *name);
    entries.into_iter()
}

fn all_fields(event: &Event) -> String {
    let timestamp = event.timestamp().map(Value::Time);
    let mut entries: Vec<(&str, &Value)> = event.fields().iter().map(|(n, v)| (n.as_str(), v)).collect();
    entries.extend(timestamp.as_ref().map(|at| ("@timestamp", at)));
    entries.sort_by_key(|(name, _)| *name);
    let mut together: String =
        entries.into_iter().map(|(name, value)| format!("|{name}|{}", canonical(value))).collect();
    together.push('|');
    together
}
