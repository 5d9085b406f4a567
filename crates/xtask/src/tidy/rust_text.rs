//! As much of Rust's grammar as the rules need: what is code, what is a comment, which paths the
//! code names.

/// The text of a Rust file, taken apart. Every part has the lines of the whole.
#[derive(Debug)]
pub(crate) struct RustText {
    /// The code; comments and the insides of literals are blank.
    pub(crate) code: String,
    /// The comments; everything else is blank.
    pub(crate) comments: String,
    /// Every path that the code names, in imports and elsewhere.
    pub(crate) paths: Vec<NamedPath>,
}

/// A path such as `std::fs::read`. An import of several is several paths.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NamedPath {
    pub(crate) line: usize,
    pub(crate) segments: Vec<String>,
    pub(crate) place: Place,
}

/// Where a path is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Import,
    /// `pub use`, of whatever reach.
    ReExport,
    Code,
}

impl NamedPath {
    /// Whether these segments, in this order and side by side, are in the path.
    pub(crate) fn names(&self, part: &[&str]) -> bool {
        self.segments
            .windows(part.len())
            .any(|window| window == part)
    }
}

impl RustText {
    pub(crate) fn of(text: &str) -> RustText {
        let (code, comments) = split(text);
        let paths = Reader {
            tokens: tokens(&code),
            at: 0,
            paths: Vec::new(),
        }
        .read();
        RustText {
            code,
            comments,
            paths,
        }
    }

    /// Returns the numbers of the lines of code that have this in them.
    pub(crate) fn lines_with(&self, part: &str) -> Vec<usize> {
        numbered(&self.code)
            .filter(|(_, line)| line.contains(part))
            .map(|(at, _)| at)
            .collect()
    }
}

/// Returns the lines of a text, counted from 1.
pub(crate) fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line))
}

enum Kind {
    Code,
    Comment,
    Literal,
}

/// Splits a text into code and comments; what is in neither is blank in both.
fn split(text: &str) -> (String, String) {
    let (mut code, mut comments) = (String::new(), String::new());
    let mut rest = text;
    let mut before = ' ';
    while let Some(first) = rest.chars().next() {
        let (kind, length) = piece(rest, before);
        let (taken, left) = rest.split_at(length.clamp(first.len_utf8(), rest.len()));
        let blank: String = taken
            .chars()
            .map(|c| if c == '\n' { '\n' } else { ' ' })
            .collect();
        code.push_str(if matches!(kind, Kind::Code) {
            taken
        } else {
            &blank
        });
        comments.push_str(if matches!(kind, Kind::Comment) {
            taken
        } else {
            &blank
        });
        before = taken.chars().next_back().unwrap_or(' ');
        rest = left;
    }
    (code, comments)
}

/// Returns what the text starts with, and how many bytes that is.
fn piece(text: &str, before: char) -> (Kind, usize) {
    if text.starts_with("//") {
        return (Kind::Comment, text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return (Kind::Comment, block_comment(text));
    }
    if text.starts_with('"') {
        return (Kind::Literal, quoted(text));
    }
    let is_word = before.is_alphanumeric() || before == '_';
    if !is_word && let Some(length) = raw_string(text) {
        return (Kind::Literal, length);
    }
    if text.starts_with('\'')
        && let Some(length) = character(text)
    {
        return (Kind::Literal, length);
    }
    (Kind::Code, text.chars().next().map_or(1, char::len_utf8))
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

fn quoted(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '"' if !escaped => return at + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text.len()
}

/// `r"…"`, `r#"…"#`, and those after `b` or `c`.
fn raw_string(text: &str) -> Option<usize> {
    let after_prefix = text
        .strip_prefix(['b', 'c'])
        .unwrap_or(text)
        .strip_prefix('r')?;
    let hashes = after_prefix.len() - after_prefix.trim_start_matches('#').len();
    let body = after_prefix[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let start = text.len() - body.len();
    Some(
        body.find(&end)
            .map_or(text.len(), |at| start + at + end.len()),
    )
}

/// A character, not a lifetime: `'a'` and `'\n'`, not `'a`.
fn character(text: &str) -> Option<usize> {
    let mut chars = text.char_indices().skip(1);
    let (_, first) = chars.next()?;
    if first == '\\' {
        let (at, _) = chars.skip(1).find(|(_, c)| *c == '\'')?;
        return Some(at + 1);
    }
    let (at, second) = chars.next()?;
    (second == '\'').then_some(at + 1)
}

/// A word, `::`, or one other character that is not white space; and its line.
type Token<'a> = (usize, &'a str);

fn tokens(code: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    for (number, line) in numbered(code) {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let length = if first.is_alphanumeric() || first == '_' {
                rest.find(|c: char| !c.is_alphanumeric() && c != '_')
                    .unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            let (token, left) = rest.split_at(length);
            tokens.push((number, token));
            rest = left.trim_start();
        }
    }
    tokens
}

struct Reader<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
    paths: Vec<NamedPath>,
}

impl Reader<'_> {
    fn read(mut self) -> Vec<NamedPath> {
        let mut place = Place::Import;
        while let Some((_, token)) = self.tokens.get(self.at).copied() {
            self.at += 1;
            match token {
                "pub" => {
                    place = Place::ReExport;
                    self.skip_reach();
                    continue;
                }
                // `use<…>` is a bound.
                "use" if self.peek() != "<" => self.tree(&[], place),
                word if is_word(word) => self.inline(),
                _ => {}
            }
            place = Place::Import;
        }
        self.paths
    }

    fn peek(&self) -> &str {
        self.tokens.get(self.at).map_or("", |(_, token)| token)
    }

    /// Skips the `(crate)` of `pub(crate)`.
    fn skip_reach(&mut self) {
        if self.peek() == "(" {
            while !matches!(self.peek(), ")" | "") {
                self.at += 1;
            }
            self.at += 1;
        }
    }

    /// Reads `a::b`, `a::{b, c}`, `a::*` or `a as b`, up to what ends it.
    fn tree(&mut self, parent: &[String], place: Place) {
        let mut segments = parent.to_vec();
        while let Some((line, token)) = self.tokens.get(self.at).copied() {
            match token {
                "{" => {
                    self.at += 1;
                    while !matches!(self.peek(), "}" | ";" | "") {
                        self.tree(&segments, place);
                        if self.peek() == "," {
                            self.at += 1;
                        }
                    }
                    self.at += 1;
                    return;
                }
                "," | "}" | ";" => return self.push(line, segments, place),
                "::" | "self" => {}
                // The new name is not part of the path.
                "as" => self.at += 1,
                word => segments.push(word.to_owned()),
            }
            self.at += 1;
        }
    }

    /// Reads the rest of `a::b::c`, whose first word was just read.
    fn inline(&mut self) {
        let (line, first) = self.tokens[self.at - 1];
        let mut segments = vec![first.to_owned()];
        while self.peek() == "::" {
            match self.tokens.get(self.at + 1) {
                Some((_, word)) if is_word(word) => segments.push((*word).to_owned()),
                _ => break,
            }
            self.at += 2;
        }
        if segments.len() > 1 {
            self.push(line, segments, Place::Code);
        }
    }

    fn push(&mut self, line: usize, segments: Vec<String>, place: Place) {
        self.paths.push(NamedPath {
            line,
            segments,
            place,
        });
    }
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

#[cfg(test)]
mod tests;
