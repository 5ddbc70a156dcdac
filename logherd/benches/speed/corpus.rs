//! Makes the logs that are measured with: the same for the same seed, on every machine.
use std::fmt::Write as _;
use std::fs;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

/// What a log is full of.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Combined access lines of 235 bytes on average.
    Access,
    /// JSON objects of some 480 bytes, one on a line.
    Json,
    /// Lines of a Java program; one event in five has a stack trace of 3 to 50 lines.
    Java,
}

/// Numbers that look random and are always the same (SplitMix64).
pub struct Dice(u64);

impl Dice {
    /// Numbers of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `below`.
    pub fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below.max(1)
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of.get(self.roll(of.len() as u64) as usize).copied().unwrap_or_default()
    }
}

const AGENTS: [&str; 4] = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
    "curl/8.5.0",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
];
const PATHS: [&str; 5] = ["articles", "api/v2/orders", "static/js", "cart", "search"];
const USERS: [&str; 4] = ["-", "-", "frank", "alice"];
const METHODS: [&str; 4] = ["GET", "GET", "POST", "PUT"];
const LEVELS: [&str; 4] = ["INFO", "WARN", "ERROR", "DEBUG"];
const CLASSES: [&str; 4] = [
    "com.example.shop.OrderService",
    "com.example.shop.CartController",
    "org.acme.db.Pool",
    "org.acme.http.Server",
];

/// A log of at least `megabytes` of this kind; made if it is not there yet.
pub fn log(directory: &Path, kind: Kind, megabytes: usize) -> io::Result<PathBuf> {
    let path = directory.join(format!("{kind:?}-{megabytes}.log").to_lowercase());
    if path.exists() {
        return Ok(path);
    }
    fs::create_dir_all(directory)?;
    let beside = path.with_extension("part");
    let mut out = BufWriter::new(fs::File::create(&beside)?);
    let mut dice = Dice::new(0x10c5);
    let (mut text, mut written, mut number) = (String::new(), 0, 0);
    while written < megabytes * 1_000_000 {
        text.clear();
        add(kind, number, &mut dice, &mut text);
        out.write_all(text.as_bytes())?;
        written += text.len();
        number += 1;
    }
    out.flush()?;
    fs::rename(beside, &path)?;
    Ok(path)
}

/// Adds the `number`th entry with its newline.
fn add(kind: Kind, number: u64, dice: &mut Dice, out: &mut String) {
    let _fine = match kind {
        Kind::Access => access(number, dice, out),
        Kind::Json => json(number, dice, out),
        Kind::Java => java(number, dice, out),
    };
}

fn access(number: u64, dice: &mut Dice, out: &mut String) -> std::fmt::Result {
    let second = number / 50;
    writeln!(
        out,
        "{}.{}.{}.{} - {} [20/Nov/2026:{:02}:{:02}:{:02} +0000] \"{} /{}/{}?session={:016x}&page={} HTTP/1.1\" {} {} \"https://www.example.org/start/{}\" \"{}\"",
        1 + dice.roll(222),
        dice.roll(256),
        dice.roll(256),
        1 + dice.roll(254),
        dice.pick(&USERS),
        second / 3600 % 24,
        second / 60 % 60,
        second % 60,
        dice.pick(&METHODS),
        dice.pick(&PATHS),
        dice.roll(10_000_000),
        dice.roll(u64::MAX),
        dice.roll(50),
        200 + dice.roll(5) * 100 % 400,
        dice.roll(100_000),
        dice.roll(1000),
        dice.pick(&AGENTS)
    )
}

fn json(number: u64, dice: &mut Dice, out: &mut String) -> std::fmt::Result {
    let second = number / 50;
    writeln!(
        out,
        "{{\"@timestamp\":\"2026-11-20T{:02}:{:02}:{:02}.{:03}Z\",\"level\":\"{}\",\"logger\":\"{}\",\"thread\":\"http-{}\",\"message\":\"order {} of customer {} was accepted after {} attempts; the cart said \\\"thank you\\\" and was emptied\",\"duration_ms\":{}.{},\"status\":{},\"user\":{{\"id\":{},\"name\":\"{}\",\"roles\":[\"buyer\",\"tester\"]}},\"trace\":{{\"id\":\"{:016x}{:016x}\",\"span\":\"{:016x}\"}},\"sampled\":{},\"agent\":\"{}\"}}",
        second / 3600 % 24,
        second / 60 % 60,
        second % 60,
        dice.roll(1000),
        dice.pick(&LEVELS),
        dice.pick(&CLASSES),
        dice.roll(32),
        number,
        dice.roll(1_000_000),
        dice.roll(4),
        dice.roll(5000),
        dice.roll(1000),
        200 + dice.roll(300),
        dice.roll(1_000_000),
        dice.pick(&USERS),
        dice.roll(u64::MAX),
        dice.roll(u64::MAX),
        dice.roll(u64::MAX),
        dice.roll(2) == 0,
        dice.pick(&AGENTS)
    )
}

fn java(number: u64, dice: &mut Dice, out: &mut String) -> std::fmt::Result {
    let second = number / 50;
    writeln!(
        out,
        "2026-11-20 {:02}:{:02}:{:02},{:03} {} [http-{}] {} - order {} was looked at by customer {}",
        second / 3600 % 24,
        second / 60 % 60,
        second % 60,
        dice.roll(1000),
        dice.pick(&LEVELS),
        dice.roll(32),
        dice.pick(&CLASSES),
        number,
        dice.roll(1_000_000)
    )?;
    if dice.roll(5) > 0 {
        return Ok(());
    }
    writeln!(out, "java.lang.IllegalStateException: the cart {} is empty", dice.roll(100_000))?;
    for _ in 0..2 + dice.roll(48) {
        writeln!(
            out,
            "\tat {}.handle{}(Source{}.java:{}) ~[shop-{}.jar:?]",
            dice.pick(&CLASSES),
            dice.roll(90),
            dice.roll(40),
            dice.roll(900),
            dice.roll(9)
        )?;
    }
    Ok(())
}
