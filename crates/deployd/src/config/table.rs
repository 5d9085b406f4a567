//! Reads keys from a TOML table, and collects what is wrong instead of stopping at it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Problem;

/// Problems and warnings found so far, with their places.
pub(super) struct Problems<'t> {
    text: &'t str,
    found: RefCell<Vec<(usize, String)>>,
    warnings: RefCell<Vec<(usize, String)>>,
}

impl<'t> Problems<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self {
            text,
            found: RefCell::default(),
            warnings: RefCell::default(),
        }
    }

    pub(super) fn add(&self, span: Range<usize>, message: impl Into<String>) {
        self.found.borrow_mut().push((span.start, message.into()));
    }

    /// Returns what can't be, in the order of the text.
    pub(super) fn found(&self) -> Vec<Problem> {
        self.in_order(&self.found)
    }

    /// Returns what may be intended, in the order of the text.
    pub(super) fn warnings(&self) -> Vec<Problem> {
        self.in_order(&self.warnings)
    }

    fn in_order(&self, list: &RefCell<Vec<(usize, String)>>) -> Vec<Problem> {
        let mut found = list.borrow().clone();
        found.sort();
        found.dedup();
        let place = |offset: usize| {
            let before = self.text.get(..offset).unwrap_or(self.text);
            let start = before.rfind('\n').map_or(0, |newline| newline + 1);
            (
                before.matches('\n').count() + 1,
                before[start..].chars().count() + 1,
            )
        };
        found
            .into_iter()
            .map(|(offset, message)| {
                let (line, column) = place(offset);
                Problem {
                    line,
                    column,
                    message,
                }
            })
            .collect()
    }
}

/// A table that is being read. [`Table::finish`] complains of the keys that nobody asked for.
pub(super) struct Table<'a, 't> {
    name: String,
    span: Range<usize>,
    table: Option<&'a DeTable<'a>>,
    problems: &'a Problems<'t>,
    asked: RefCell<BTreeSet<&'static str>>,
}

/// A value with its place.
pub(super) type Value<'a> = &'a Spanned<DeValue<'a>>;

impl<'a, 't> Table<'a, 't> {
    pub(super) fn new(
        name: &str,
        span: Range<usize>,
        table: Option<&'a DeTable<'a>>,
        problems: &'a Problems<'t>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            span,
            table,
            problems,
            asked: RefCell::default(),
        }
    }

    /// Returns the value of a key, which from now on is a known one.
    pub(super) fn value(&self, key: &'static str) -> Option<Value<'a>> {
        self.asked.borrow_mut().insert(key);
        self.table?.get(key)
    }

    /// Returns a table below; without one, an empty one, so that defaults apply.
    pub(super) fn table(&self, key: &'static str) -> Table<'a, 't> {
        let name = if self.name.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.name)
        };
        let value = self.value(key);
        let table = value.and_then(|value| {
            let table = value.get_ref().as_table();
            if table.is_none() {
                self.wrong(key, value, "a table");
            }
            table
        });
        let span = value.map_or(self.span.clone(), Spanned::span);
        Table::new(&name, span, table, self.problems)
    }

    /// Returns the tables of a `[[list]]`.
    pub(super) fn tables(&self, key: &'static str) -> Vec<Table<'a, 't>> {
        let Some(value) = self.value(key) else {
            return Vec::new();
        };
        let Some(list) = value.get_ref().as_array() else {
            self.wrong(key, value, "a list of tables");
            return Vec::new();
        };
        let mut tables = Vec::new();
        for item in list {
            match item.get_ref().as_table() {
                Some(table) => {
                    tables.push(Table::new(key, item.span(), Some(table), self.problems))
                }
                None => self.wrong(key, item, "a table"),
            }
        }
        tables
    }

    /// Returns a text.
    pub(super) fn text(&self, key: &'static str) -> Option<(Range<usize>, &'a str)> {
        let value = self.value(key)?;
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.wrong(key, value, "a text");
        }
        Some((value.span(), text?))
    }

    /// Returns a list of texts.
    pub(super) fn texts(&self, key: &'static str) -> Option<Vec<(Range<usize>, &'a str)>> {
        let value = self.value(key)?;
        let Some(list) = value.get_ref().as_array() else {
            self.wrong(key, value, "a list of texts");
            return None;
        };
        let mut texts = Vec::new();
        for item in list {
            match item.get_ref().as_str() {
                Some(text) => texts.push((item.span(), text)),
                None => self.wrong(key, item, "a text"),
            }
        }
        Some(texts)
    }

    /// Returns an argument list: empty, or a program and its arguments, without NUL.
    pub(super) fn arguments(&self, key: &'static str) -> Vec<String> {
        let texts = self.texts(key).unwrap_or_default();
        for (span, text) in &texts {
            if text.contains('\0') {
                self.problems
                    .add(span.clone(), format!("`{key}` has a NUL in an argument"));
            }
        }
        if let Some((span, "")) = texts.first() {
            self.problems
                .add(span.clone(), format!("`{key}` names no program"));
        }
        texts.into_iter().map(|(_, text)| text.to_owned()).collect()
    }

    /// Returns a whole number within bounds.
    pub(super) fn number(&self, key: &'static str, bounds: (u64, u64), default: u64) -> u64 {
        let Some(value) = self.value(key) else {
            return default;
        };
        let (min, max) = bounds;
        let number = value
            .get_ref()
            .as_integer()
            .and_then(|integer| u64::from_str_radix(integer.as_str(), integer.radix()).ok());
        match number {
            Some(number) if (min..=max).contains(&number) => number,
            _ => {
                self.wrong(key, value, &format!("a whole number from {min} to {max}"));
                default
            }
        }
    }

    /// Returns a number of seconds within bounds; fractions are allowed.
    pub(super) fn seconds(&self, key: &'static str, bounds: (f64, f64), default: f64) -> f64 {
        let Some(value) = self.value(key) else {
            return default;
        };
        let (min, max) = bounds;
        let number: Option<f64> = match value.get_ref() {
            DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str().parse().ok(),
            DeValue::Float(float) => float.as_str().parse().ok(),
            _ => None,
        };
        match number {
            Some(number) if (min..=max).contains(&number) => number,
            _ => {
                self.wrong(
                    key,
                    value,
                    &format!("a number of seconds from {min} to {max}"),
                );
                default
            }
        }
    }

    /// Returns a yes or no.
    pub(super) fn flag(&self, key: &'static str, default: Flag) -> Flag {
        let Some(value) = self.value(key) else {
            return default;
        };
        match value.get_ref().as_bool() {
            Some(true) => Flag::Yes,
            Some(false) => Flag::No,
            None => {
                self.wrong(key, value, "true or false");
                default
            }
        }
    }

    /// Returns one of a few words; the first is the default.
    pub(super) fn word<T: Copy>(&self, key: &'static str, words: &[(&'static str, T)]) -> T {
        let default = words[0].1;
        let Some((span, text)) = self.text(key) else {
            return default;
        };
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return *value;
        }
        let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        let known = known.join(", ");
        self.problems.add(
            span,
            format!("`{key}` is \"{text}\"; expected one of {known}"),
        );
        default
    }

    /// Says that a value can't be.
    pub(super) fn wrong(&self, key: &str, value: Value<'a>, expected: &str) {
        let found = match value.get_ref() {
            DeValue::String(text) => format!("\"{text}\""),
            DeValue::Integer(integer) => integer.to_string(),
            DeValue::Float(float) => float.to_string(),
            other => format!("a {}", other.type_str()),
        };
        self.problems.add(
            value.span(),
            format!("`{key}` is {found}; expected {expected}"),
        );
    }

    /// Says something of a place.
    pub(super) fn problem(&self, span: Range<usize>, message: impl Into<String>) {
        self.problems.add(span, message);
    }

    /// Says that something is likely not what is meant: it does nothing, or harms.
    pub(super) fn warning(&self, span: Range<usize>, message: impl Into<String>) {
        let warning = (span.start, message.into());
        self.problems.warnings.borrow_mut().push(warning);
    }

    /// Where a key is; where it is not there, where the table is.
    pub(super) fn place(&self, key: &'static str) -> Range<usize> {
        self.value(key).map_or(self.span(), Spanned::span)
    }

    /// Where the table is.
    pub(super) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Complains of the keys that nobody asked for.
    pub(super) fn finish(&self) {
        let asked = self.asked.borrow();
        for (key, _) in self.table.into_iter().flatten() {
            let name: &str = key.get_ref();
            if asked.contains(name) {
                continue;
            }
            let nearest = asked
                .iter()
                .map(|known| (strsim::jaro_winkler(known, name), known))
                .filter(|(likeness, _)| *likeness > 0.75)
                .max_by(|(a, _), (b, _)| a.total_cmp(b));
            let place = if self.name.is_empty() {
                String::new()
            } else {
                format!(" in `{}`", self.name)
            };
            let hint = match nearest {
                Some((_, known)) => format!("; did you mean `{known}`?"),
                None => {
                    let known: Vec<_> = asked.iter().copied().collect();
                    format!("; known are {}", known.join(", "))
                }
            };
            self.problems
                .add(key.span(), format!("unknown key `{name}`{place}{hint}"));
        }
    }
}

/// Yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flag {
    Yes,
    No,
}
