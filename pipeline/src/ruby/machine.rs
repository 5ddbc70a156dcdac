//! Runs a compiled expression over a text, going back to earlier choices where a way leads nowhere.
use super::program::{First, Program, Step};
use super::set::{Run, is_word};

/// How many characters one search may look at, again and again; then Oniguruma does it, which looks at the clock.
const PATIENCE: i64 = 20_000_000;
/// What going back to a choice counts as, in characters.
const WAY_BACK: i64 = 8;
/// The place of a group that took no part.
const NOWHERE: u32 = u32::MAX;

/// What a search needs to remember; reused from search to search.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Where to go on when a way leads nowhere, the last first.
    choices: Vec<Choice>,
    /// The starts and ends of the groups.
    notes: Vec<u32>,
}

/// A search looked at too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exhausted;

#[derive(Clone, Copy, Debug)]
enum Choice {
    /// Go on from this step and place.
    Way { step: u32, at: u32 },
    /// The greedy step took characters up to `at`; it may take fewer, up to `least`.
    Fewer { step: u32, least: u32, at: u32 },
    /// The lazy step took characters up to `at`; it may take as many more.
    More { step: u32, at: u32, left: u32 },
    /// No choice: a note to restore on the way back.
    Restore { note: u32, value: u32 },
}

/// What came of a step.
enum Next {
    Step(usize, usize),
    Accept(usize),
    Back,
}

impl Memory {
    /// The start and end of a group, after a search that found something.
    pub(crate) fn place(&self, group: usize) -> Option<(usize, usize)> {
        let (start, end) = (*self.notes.get(2 * group)?, *self.notes.get(2 * group + 1)?);
        (end != NOWHERE).then_some((start as usize, end as usize))
    }
}

impl Program {
    /// Looks for the first match that starts at or after `from` in a text of ASCII characters without newlines.
    pub(crate) fn search(&self, text: &str, from: usize, memory: &mut Memory) -> Result<bool, Exhausted> {
        let text = text.as_bytes();
        let Memory { choices, notes } = memory;
        let mut machine = Machine { program: self, text, choices, notes, left: PATIENCE };
        let last = if self.anchored { 0 } else { text.len() };
        let mut start = from;
        while start <= last {
            if self.first.allows(text.get(start)) {
                machine.choices.clear();
                machine.notes.clear();
                machine.notes.resize(2 * self.groups(), NOWHERE);
                if let Some(end) = machine.run(0, start)? {
                    machine.note(0, start);
                    machine.note(1, end);
                    return Ok(true);
                }
            }
            start += 1;
        }
        Ok(false)
    }
}

struct Machine<'a> {
    program: &'a Program,
    text: &'a [u8],
    choices: &'a mut Vec<Choice>,
    notes: &'a mut Vec<u32>,
    /// How many characters it may still look at.
    left: i64,
}

impl<'p> Machine<'p> {
    /// Runs from a step and place up to `Accept`; returns the place there. The choices it leaves stay.
    fn run(&mut self, step: usize, at: usize) -> Result<Option<usize>, Exhausted> {
        let floor = self.choices.len();
        let (mut step, mut at) = (step, at);
        if self.left < 0 {
            return Err(Exhausted);
        }
        loop {
            let next = match self.take(step, at)? {
                Next::Back => self.back(floor)?,
                next => next,
            };
            match next {
                Next::Step(to, place) => (step, at) = (to, place),
                Next::Accept(end) => return Ok(Some(end)),
                Next::Back => return Ok(None),
            }
        }
    }

    /// Takes one step.
    #[inline]
    fn take(&mut self, step: usize, at: usize) -> Result<Next, Exhausted> {
        let program: &'p Program = self.program;
        let Some(taken) = program.steps.get(step) else { return Ok(Next::Back) };
        let on_if = |yes: bool, at: usize| if yes { Next::Step(step + 1, at) } else { Next::Back };
        Ok(match taken {
            Step::Accept => Next::Accept(at),
            Step::Byte(byte) => on_if(self.text.get(at) == Some(byte), at + 1),
            Step::Bytes(bytes) => {
                on_if(self.text.get(at..).is_some_and(|rest| rest.starts_with(bytes)), at + bytes.len())
            }
            Step::One(set) => on_if(self.text.get(at).is_some_and(|byte| set.has(*byte)), at + 1),
            Step::Span { run, min, max } => {
                let end = self.span(run, at, *max);
                on_if(end - at >= *min as usize, end)
            }
            Step::Greedy { run, min, max, follow } => {
                let (end, least) = (self.span(run, at, *max), at + *min as usize);
                if end < least { Next::Back } else { self.fewer(step, least, end, *follow) }
            }
            Step::Lazy { set, min, max, .. } => {
                let rest = self.text.get(at..).unwrap_or_default();
                let all =
                    rest.get(..*min as usize).is_some_and(|first| first.iter().all(|byte| set.has(*byte)));
                if all { self.more(step, at + *min as usize, max - min) } else { Next::Back }
            }
            Step::Branch { here, there, other } => {
                let next = self.text.get(at);
                match (here.allows(next), there.allows(next)) {
                    (true, true) => {
                        self.choices.push(Choice::Way { step: small(*other), at: small(at) });
                        Next::Step(step + 1, at)
                    }
                    (true, false) => Next::Step(step + 1, at),
                    (false, true) => Next::Step(*other, at),
                    (false, false) => Next::Back,
                }
            }
            Step::Jump(to) => Next::Step(*to, at),
            Step::Note(note) => {
                self.note(*note, at);
                Next::Step(step + 1, at)
            }
            Step::Begin => on_if(at == 0, at),
            Step::End => on_if(at == self.text.len(), at),
            Step::WordEdge { negative } => on_if(self.at_word_edge(at) != *negative, at),
            Step::Ahead { set, negative } => {
                on_if(self.text.get(at).is_some_and(|byte| set.has(*byte)) != *negative, at)
            }
            Step::Behind { set, negative } => {
                let before = at.checked_sub(1).and_then(|before| self.text.get(before));
                on_if(before.is_some_and(|byte| set.has(*byte)) != *negative, at)
            }
            Step::Look { back, negative, after } => {
                let found = match at.checked_sub(*back) {
                    Some(place) => self.apart(step + 1, place, *negative)?.is_some(),
                    None => false,
                };
                if found == *negative { Next::Back } else { Next::Step(*after, at) }
            }
            Step::Shortcut { shortcut, last, after } => match shortcut(self.text, at) {
                Some(end) => self.cut_short(step, at, end, (*last, *after)),
                None => Next::Step(step + 1, at),
            },
            Step::Atomic { after } => match self.apart(step + 1, at, false)? {
                Some(end) => Next::Step(*after, end),
                None => Next::Back,
            },
        })
    }

    /// Goes on behind the steps that lead to `end`; they are tried themselves if that leads nowhere.
    #[inline]
    fn cut_short(&mut self, step: usize, at: usize, end: usize, (last, after): (bool, usize)) -> Next {
        self.looked_at(end - at);
        if !last {
            self.choices.push(Choice::Way { step: small(step + 1), at: small(at) });
        }
        Next::Step(after, end)
    }

    /// Runs steps whose choices are forgotten once they are through; with `undo` their notes, too.
    fn apart(&mut self, step: usize, at: usize, undo: bool) -> Result<Option<usize>, Exhausted> {
        let floor = self.choices.len();
        // A choice that leads nowhere: with it in place the notes made from here on are restored on the way back.
        self.choices.push(Choice::Way { step: u32::MAX, at: 0 });
        let end = self.run(step, at)?;
        if end.is_some() && undo {
            while self.choices.len() > floor {
                if let Some(Choice::Restore { note, value }) = self.choices.pop() {
                    self.restore(note, value);
                }
            }
        }
        if end.is_some() {
            let mut kept = floor;
            for place in floor..self.choices.len() {
                if matches!(self.choices.get(place), Some(Choice::Restore { .. })) {
                    self.choices.swap(kept, place);
                    kept += 1;
                }
            }
            self.choices.truncate(kept);
        } else {
            self.choices.truncate(floor);
        }
        Ok(end)
    }

    /// Goes back to the last choice above `floor`.
    fn back(&mut self, floor: usize) -> Result<Next, Exhausted> {
        while self.choices.len() > floor {
            let Some(choice) = self.choices.pop() else { break };
            self.left -= WAY_BACK;
            if self.left < 0 {
                return Err(Exhausted);
            }
            let next = match choice {
                Choice::Restore { note, value } => {
                    self.restore(note, value);
                    continue;
                }
                Choice::Way { step, at } => Next::Step(step as usize, at as usize),
                Choice::Fewer { step, least, at } => {
                    let (step, least, at) = (step as usize, least as usize, at as usize);
                    match self.program.steps.get(step) {
                        Some(Step::Greedy { follow, .. }) => self.fewer(step, least, at - 1, *follow),
                        _ => Next::Back,
                    }
                }
                Choice::More { step, at, left } => self.more(step as usize, at as usize + 1, left - 1),
            };
            if !matches!(next, Next::Back) {
                return Ok(next);
            }
        }
        Ok(Next::Back)
    }

    /// Goes on from the largest place from `end` down to `least` where `follow` comes next.
    #[inline]
    fn fewer(&mut self, step: usize, least: usize, end: usize, follow: First) -> Next {
        let mut at = end;
        while !follow.allows(self.text.get(at)) {
            if at <= least {
                self.looked_at(end - at);
                return Next::Back;
            }
            at -= 1;
        }
        self.looked_at(end - at);
        if at > least {
            self.choices.push(Choice::Fewer { step: small(step), least: small(least), at: small(at) });
        }
        Next::Step(step + 1, at)
    }

    /// Goes on from the next place from `at` on where the lazy step's `follow` comes next.
    #[inline]
    fn more(&mut self, step: usize, mut at: usize, mut left: u32) -> Next {
        let Some(Step::Lazy { set, follow, .. }) = self.program.steps.get(step) else { return Next::Back };
        let from = at;
        loop {
            let next = self.text.get(at);
            let extends = left > 0 && next.is_some_and(|byte| set.has(*byte));
            if follow.allows(next) {
                self.looked_at(at - from);
                if extends {
                    self.choices.push(Choice::More { step: small(step), at: small(at), left });
                }
                return Next::Step(step + 1, at);
            }
            if !extends {
                self.looked_at(at - from);
                return Next::Back;
            }
            at += 1;
            left -= 1;
        }
    }

    /// The place behind the characters of a set from `at` on, at most `max`.
    #[inline]
    fn span(&mut self, run: &Run, at: usize, max: u32) -> usize {
        let rest = self.text.get(at..).unwrap_or_default();
        let length = run.length(rest.get(..max as usize).unwrap_or(rest));
        self.looked_at(length);
        at + length
    }

    #[inline]
    fn looked_at(&mut self, characters: usize) {
        self.left -= characters as i64;
    }

    fn at_word_edge(&self, at: usize) -> bool {
        let word = |byte: Option<&u8>| byte.is_some_and(|byte| is_word(*byte));
        word(at.checked_sub(1).and_then(|before| self.text.get(before))) != word(self.text.get(at))
    }

    fn note(&mut self, note: usize, at: usize) {
        let Some(place) = self.notes.get_mut(note) else { return };
        let value = std::mem::replace(place, small(at));
        // Without a choice there is no way back, and nothing to restore.
        if !self.choices.is_empty() {
            self.choices.push(Choice::Restore { note: small(note), value });
        }
    }

    fn restore(&mut self, note: u32, value: u32) {
        if let Some(place) = self.notes.get_mut(note as usize) {
            *place = value;
        }
    }
}

/// Places and steps fit 32 bits: texts that are longer are not searched here.
#[inline]
fn small(number: usize) -> u32 {
    number as u32
}
