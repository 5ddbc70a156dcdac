//! Puts lines together to one event.
use std::sync::Arc;

use crate::codec::{Charset, Codec, Decode, Maker, to_text};
use crate::ecs::Ecs;
use crate::event::Event;
use crate::field::FieldRef;
use crate::filters::grok::read_patterns;
use crate::grok::expand::Style;
use crate::grok::library::Library;
use crate::grok::matcher::Matcher;
use crate::join::{Joined, Joiner, Joining, What, lines_of};
use crate::lang::kinds::{ByteSize, Placed};
use crate::lang::problems::Problems;
use crate::plugins::CodecOptions;
use crate::ruby::Groups;
use crate::spec::plugin;
use bytes::Bytes;

plugin! {
    /// Puts lines that belong together into one event: stack traces, statements, anything that goes on in the next line.
    ///
    /// ```
    /// input {
    ///   file {
    ///     path => "/var/log/app/*.log"
    ///     codec => multiline {
    ///       pattern => "^%{TIMESTAMP_ISO8601} "
    ///       negate => true
    ///       what => previous
    ///       auto_flush_interval => 2
    ///     }
    ///   }
    /// }
    /// ```
    ///
    /// Here each line that does not begin with a date belongs to the line before it. The lines of each file, and of each
    /// connection, are put together by themselves. Lines of a file that wait for more are not acknowledged: after a
    /// restart they are read again. Empty lines of files are left out. What waits is an event when its file is closed or
    /// its connection ends. It cannot write.
    codec "multiline" => pub(crate) struct MultilineOptions {
        /// The regular expression that a line is compared with; `%{NAME}` stands for a pattern of grok.
        pattern: Placed<String>,
        /// Whether a line that matches belongs to the `previous` or the `next` one.
        what: What,
        /// Let lines that do not match belong to others.
        negate: bool = false,
        /// Files, or directories of files, with patterns of your own, one on each line: a name, a blank, the pattern.
        patterns_dir: Vec<String> = [],
        /// The character set of what is read.
        charset: Charset = "UTF-8",
        /// The tag of events of several lines; `""` for none.
        multiline_tag: String = "multiline",
        /// An event of more lines ends, with the tag `multiline_codec_max_lines_reached`.
        max_lines: usize = 500,
        /// An event of so many bytes ends, with the tag `multiline_codec_max_bytes_reached`.
        max_bytes: ByteSize = "10 MiB",
        /// After how many seconds without a new line what waits is an event. When it is left out it waits for the next line.
        auto_flush_interval: Option<f64>,
        /// With `v1` or `v8` the field `[event][original]` holds the message, too.
        ecs_compatibility: Ecs = "disabled",
    }
    validate = check
}

fn check(options: &MultilineOptions, problems: &mut Problems) {
    let mut library = Library::stock(options.ecs_compatibility);
    if !options.patterns_dir.is_empty() {
        library.leave_open();
    }
    if let Err(mistake) = Matcher::compile(&options.pattern, &library, STYLE, &mut |_| {}) {
        mistake.report(&options.pattern, problems);
    }
}

const STYLE: Style<'static> = Style { keep_unnamed: false, target: None, overwrite: &[] };

impl MultilineOptions {
    fn joining(&self) -> Result<Joining, String> {
        let mut library = Library::stock(self.ecs_compatibility);
        for path in &self.patterns_dir {
            read_patterns(path.as_ref(), "*", &mut library)
                .map_err(|error| format!("the patterns in {path} cannot be read: {error}"))?;
        }
        let pattern = Matcher::compile(&self.pattern, &library, STYLE, &mut |_| {})
            .map_err(|mistake| mistake.to_string())?;
        let patience = self.auto_flush_interval.and_then(|s| std::time::Duration::try_from_secs_f64(s).ok());
        Ok(Joining {
            pattern,
            negate: self.negate,
            what: self.what,
            lines_max: self.max_lines,
            bytes_max: usize::try_from(self.max_bytes.0).unwrap_or(usize::MAX),
            patience,
            tag: self.multiline_tag.clone(),
            charset: self.charset,
            original: self.ecs_compatibility.original(),
        })
    }
}

impl CodecOptions for MultilineOptions {
    fn build(&self) -> Result<Codec, String> {
        let multiline = Multiline { joining: Arc::new(self.joining()?) };
        Ok(Codec { decode: Some(Arc::new(multiline)), encode: None })
    }
}

struct Multiline {
    joining: Arc<Joining>,
}

impl Decode for Multiline {
    fn decode(&self, message: Bytes, events: &mut Maker<'_>) {
        let (mut joiner, mut groups) = (Joiner::default(), Groups::new());
        let now = events.now();
        for line in lines_of(&to_text(message, self.joining.charset)) {
            if let Some(joined) = joiner.push(line, now, &self.joining, &mut groups) {
                events.event(joined.into_event(self.joining.original.as_ref()));
            }
        }
        if let Some(joined) = joiner.flush(&self.joining) {
            events.event(joined.into_event(self.joining.original.as_ref()));
        }
    }

    fn joining(&self) -> Option<Arc<Joining>> {
        Some(self.joining.clone())
    }
}

impl Joined {
    /// The event of these lines.
    pub(crate) fn into_event(self, original: Option<&FieldRef>) -> Event {
        let mut event = Event::with_message(self.at, self.message.clone());
        if let Some(original) = original {
            // A new event has nothing there.
            let _set = event.set(original, self.message);
        }
        for tag in &self.tags {
            event.add_tag(tag);
        }
        event
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::codecs as trial;
    use crate::value::{Timestamp, Value};

    fn messages(codec: &str, text: &str) -> Vec<String> {
        let events = trial::decoded(codec, &[text.as_bytes()]);
        let message = |event: &Event| {
            let tags = match event.fields().get("tags") {
                Some(Value::List(tags)) => tags.iter().map(|tag| format!("|{}", tag.to_text())).collect(),
                _ => String::new(),
            };
            event.fields().get("message").map(|m| format!("{}{tags}", m.to_text())).unwrap_or_default()
        };
        events.iter().map(message).collect()
    }

    #[test]
    fn lines_that_match_belong_to_the_line_before() {
        let codec = "multiline { pattern => '^\\s' what => previous }";
        assert_eq!(
            messages(codec, "hello world\n   second line\nanother first line\n"),
            ["hello world\n   second line|multiline", "another first line"]
        );
        assert_eq!(messages(codec, " alone"), [" alone"]);
    }

    #[test]
    fn lines_that_match_belong_to_the_line_after() {
        let codec = "multiline { pattern => '\\\\$' what => next }";
        assert_eq!(messages(codec, "a\\\nb\\\nc\nd"), ["a\\\nb\\\nc|multiline", "d"]);
    }

    #[test]
    fn patterns_of_grok_are_known_and_matches_can_be_negated() {
        let codec = "multiline { pattern => '^%{NUMBER} %{TIME}' negate => true what => previous }";
        assert_eq!(
            messages(codec, "120913 12:04:33 first line\nsecond line\nthird line\n120913 12:04:34 next"),
            ["120913 12:04:33 first line\nsecond line\nthird line|multiline", "120913 12:04:34 next"]
        );
    }

    #[test]
    fn too_many_lines_or_bytes_end_an_event() {
        let codec = "multiline { pattern => '^-' negate => true what => previous max_lines => 2 }";
        let reached = "multiline|multiline_codec_max_lines_reached";
        assert_eq!(
            messages(codec, "-a\nb\nc\nd\ne"),
            [format!("-a\nb\nc|{reached}"), "d\ne|multiline".into()]
        );
        let codec = "multiline { pattern => '^-' what => next max_bytes => 4 multiline_tag => '' }";
        assert_eq!(messages(codec, "-a\n-b\n-c"), ["-a\n-b|multiline_codec_max_bytes_reached", "-c"]);
    }

    #[test]
    fn lines_are_read_in_their_character_set() {
        let codec = "multiline { pattern => '^\\s' what => previous charset => 'ISO-8859-1' }";
        let events = trial::decoded(codec, &[b"gr\xfcn\n \xe4"]);
        assert_eq!(events[0].fields().get("message"), Some(&Value::from("grün\n ä")));
    }

    #[test]
    fn patterns_of_files_are_known() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("mine"), "FRUIT apple|pear\n").unwrap();
        let codec = format!(
            "multiline {{ pattern => '^%{{FRUIT}}' patterns_dir => ['{}'] what => next }}",
            dir.path().display()
        );
        assert_eq!(messages(&codec, "pear\nx\ny"), ["pear\nx|multiline", "y"]);
    }

    #[test]
    fn the_moment_of_an_event_is_that_of_its_first_line() {
        let options =
            trial::codec_options::<MultilineOptions>("multiline { pattern => '^ ' what => previous }");
        let how = options.joining().unwrap();
        let mut joiner = Joiner::default();
        let second = |s| Timestamp::from_second(s).unwrap();
        for (line, at) in [("a", 1), (" b", 2), ("c", 3)] {
            let joined = joiner.push(line.into(), second(at), &how, &mut Groups::new());
            assert_eq!(joined.map(|joined| joined.at), (at == 3).then(|| second(1)));
        }
        assert_eq!(joiner.flush(&how).map(|joined| joined.at), Some(second(3)));
        assert!(joiner.is_empty());
    }
}
