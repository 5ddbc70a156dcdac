//! Holds the names of months and weekdays in the languages that dates are read in.

/// A language's names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Locale {
    language: &'static str,
    months: [(&'static str, &'static str); 12],
    weekdays: [(&'static str, &'static str); 7],
}

impl PartialEq for Locale {
    fn eq(&self, other: &Self) -> bool {
        self.language == other.language
    }
}

impl Eq for Locale {}

impl Locale {
    /// English, in which dates are written, and read unless another language is asked for.
    pub(crate) const ENGLISH: Self = Self {
        language: "en",
        months: [
            ("Jan", "January"),
            ("Feb", "February"),
            ("Mar", "March"),
            ("Apr", "April"),
            ("May", "May"),
            ("Jun", "June"),
            ("Jul", "July"),
            ("Aug", "August"),
            ("Sep", "September"),
            ("Oct", "October"),
            ("Nov", "November"),
            ("Dec", "December"),
        ],
        weekdays: [
            ("Mon", "Monday"),
            ("Tue", "Tuesday"),
            ("Wed", "Wednesday"),
            ("Thu", "Thursday"),
            ("Fri", "Friday"),
            ("Sat", "Saturday"),
            ("Sun", "Sunday"),
        ],
    };

    /// The locale for a tag such as `en`, `en-US` or `de_AT`: its language counts, its region does not.
    pub(crate) fn named(tag: &str) -> Option<Self> {
        let language = tag.split(['-', '_']).next().unwrap_or(tag);
        Self::all().into_iter().find(|l| l.language.eq_ignore_ascii_case(language))
    }

    /// The languages there are, for a message.
    pub(crate) fn languages() -> String {
        Self::all().map(|l| l.language).join(", ")
    }

    fn all() -> [Self; 7] {
        [Self::ENGLISH, GERMAN, FRENCH, SPANISH, ITALIAN, DUTCH, PORTUGUESE]
    }

    /// The name of month 1 to 12.
    pub(super) fn month(&self, month: i8, long: bool) -> &'static str {
        nth(&self.months, month, long)
    }

    /// The name of weekday 1 (Monday) to 7.
    pub(super) fn weekday(&self, weekday: i8, long: bool) -> &'static str {
        nth(&self.weekdays, weekday, long)
    }

    /// The month whose name `text` starts with, and the bytes of that name.
    pub(super) fn read_month(&self, text: &str) -> Option<(i8, usize)> {
        longest(&self.months, text)
    }

    /// The weekday whose name `text` starts with, and the bytes of that name.
    pub(super) fn read_weekday(&self, text: &str) -> Option<(i8, usize)> {
        longest(&self.weekdays, text)
    }
}

fn nth(names: &[(&'static str, &'static str)], number: i8, long: bool) -> &'static str {
    let index = usize::try_from(number - 1).unwrap_or(usize::MAX);
    names.get(index).map_or("", |(short, full)| if long { full } else { short })
}

/// The number (from 1) and length of the longest of `names` that `text` starts with; short names that end with a full stop
/// are also read without it.
fn longest(names: &[(&'static str, &'static str)], text: &str) -> Option<(i8, usize)> {
    let mut best: Option<(i8, usize)> = None;
    for (number, (short, long)) in (1i8..).zip(names) {
        for name in [short, short.trim_end_matches('.'), long] {
            if let Some(length) = name_at(text, name)
                && best.is_none_or(|(_, longest)| length > longest)
            {
                best = Some((number, length));
            }
        }
    }
    best
}

/// The bytes of `text` that spell `name` as it is, in small letters or in capitals, if it starts so.
pub(super) fn name_at(text: &str, name: &str) -> Option<usize> {
    let length = prefix(text, name)?;
    let written = text.get(..length)?;
    let small = !written.chars().any(char::is_uppercase);
    let capital = !written.chars().any(char::is_lowercase);
    (written == name || small || capital).then_some(length)
}

/// The bytes of `text` that spell `name` in any case, if it starts so.
pub(super) fn prefix(text: &str, name: &str) -> Option<usize> {
    let mut chars = text.char_indices();
    for wanted in name.chars() {
        let (_, found) = chars.next()?;
        if found != wanted && !found.to_lowercase().eq(wanted.to_lowercase()) {
            return None;
        }
    }
    Some(text.len() - chars.as_str().len())
}

const GERMAN: Locale = Locale {
    language: "de",
    months: [
        ("Jan", "Januar"),
        ("Feb", "Februar"),
        ("Mär", "März"),
        ("Apr", "April"),
        ("Mai", "Mai"),
        ("Jun", "Juni"),
        ("Jul", "Juli"),
        ("Aug", "August"),
        ("Sep", "September"),
        ("Okt", "Oktober"),
        ("Nov", "November"),
        ("Dez", "Dezember"),
    ],
    weekdays: [
        ("Mo", "Montag"),
        ("Di", "Dienstag"),
        ("Mi", "Mittwoch"),
        ("Do", "Donnerstag"),
        ("Fr", "Freitag"),
        ("Sa", "Samstag"),
        ("So", "Sonntag"),
    ],
};

const FRENCH: Locale = Locale {
    language: "fr",
    months: [
        ("janv.", "janvier"),
        ("févr.", "février"),
        ("mars", "mars"),
        ("avr.", "avril"),
        ("mai", "mai"),
        ("juin", "juin"),
        ("juil.", "juillet"),
        ("août", "août"),
        ("sept.", "septembre"),
        ("oct.", "octobre"),
        ("nov.", "novembre"),
        ("déc.", "décembre"),
    ],
    weekdays: [
        ("lun.", "lundi"),
        ("mar.", "mardi"),
        ("mer.", "mercredi"),
        ("jeu.", "jeudi"),
        ("ven.", "vendredi"),
        ("sam.", "samedi"),
        ("dim.", "dimanche"),
    ],
};

const SPANISH: Locale = Locale {
    language: "es",
    months: [
        ("ene", "enero"),
        ("feb", "febrero"),
        ("mar", "marzo"),
        ("abr", "abril"),
        ("may", "mayo"),
        ("jun", "junio"),
        ("jul", "julio"),
        ("ago", "agosto"),
        ("sep", "septiembre"),
        ("oct", "octubre"),
        ("nov", "noviembre"),
        ("dic", "diciembre"),
    ],
    weekdays: [
        ("lun", "lunes"),
        ("mar", "martes"),
        ("mié", "miércoles"),
        ("jue", "jueves"),
        ("vie", "viernes"),
        ("sáb", "sábado"),
        ("dom", "domingo"),
    ],
};

const ITALIAN: Locale = Locale {
    language: "it",
    months: [
        ("gen", "gennaio"),
        ("feb", "febbraio"),
        ("mar", "marzo"),
        ("apr", "aprile"),
        ("mag", "maggio"),
        ("giu", "giugno"),
        ("lug", "luglio"),
        ("ago", "agosto"),
        ("set", "settembre"),
        ("ott", "ottobre"),
        ("nov", "novembre"),
        ("dic", "dicembre"),
    ],
    weekdays: [
        ("lun", "lunedì"),
        ("mar", "martedì"),
        ("mer", "mercoledì"),
        ("gio", "giovedì"),
        ("ven", "venerdì"),
        ("sab", "sabato"),
        ("dom", "domenica"),
    ],
};

const DUTCH: Locale = Locale {
    language: "nl",
    months: [
        ("jan", "januari"),
        ("feb", "februari"),
        ("mrt", "maart"),
        ("apr", "april"),
        ("mei", "mei"),
        ("jun", "juni"),
        ("jul", "juli"),
        ("aug", "augustus"),
        ("sep", "september"),
        ("okt", "oktober"),
        ("nov", "november"),
        ("dec", "december"),
    ],
    weekdays: [
        ("ma", "maandag"),
        ("di", "dinsdag"),
        ("wo", "woensdag"),
        ("do", "donderdag"),
        ("vr", "vrijdag"),
        ("za", "zaterdag"),
        ("zo", "zondag"),
    ],
};

const PORTUGUESE: Locale = Locale {
    language: "pt",
    months: [
        ("jan", "janeiro"),
        ("fev", "fevereiro"),
        ("mar", "março"),
        ("abr", "abril"),
        ("mai", "maio"),
        ("jun", "junho"),
        ("jul", "julho"),
        ("ago", "agosto"),
        ("set", "setembro"),
        ("out", "outubro"),
        ("nov", "novembro"),
        ("dez", "dezembro"),
    ],
    weekdays: [
        ("seg", "segunda-feira"),
        ("ter", "terça-feira"),
        ("qua", "quarta-feira"),
        ("qui", "quinta-feira"),
        ("sex", "sexta-feira"),
        ("sáb", "sábado"),
        ("dom", "domingo"),
    ],
};
