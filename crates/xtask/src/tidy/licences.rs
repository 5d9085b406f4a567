//! The licences of the dependencies, against the list in `deny.toml`.

use super::tree::{Tree, Violation};

const LIST: &str = "deny.toml";

pub(crate) fn licences(tree: &Tree) -> Vec<Violation> {
    let allowed = allowed(tree.text(LIST).unwrap_or_default());
    tree.dependencies
        .iter()
        .filter_map(|dependency| {
            let name = &dependency.name;
            let problem = match &dependency.licence {
                None => format!("{name} has no licence"),
                Some(licence) if !permits(licence, &allowed) => {
                    format!("{name} is under {licence}, which the list does not allow")
                }
                Some(_) => return None,
            };
            Some(Violation::new(LIST, 1, problem))
        })
        .collect()
}

/// Returns the words in quotes between `allow = [` and `]`.
fn allowed(list: &str) -> Vec<String> {
    let after = list
        .split_once("\nallow = [")
        .map_or("", |(_, after)| after);
    let inside = after.split(']').next().unwrap_or_default();
    inside
        .split('"')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// Whether the list allows to use something under this SPDX expression.
fn permits(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    any(&mut rest, allowed) && rest.is_empty()
}

/// `a OR b`. Every part is read, whether or not the first decides.
fn any(words: &mut &[&str], allowed: &[String]) -> bool {
    let mut is_fine = all(words, allowed);
    while let ["OR", rest @ ..] = *words {
        *words = rest;
        is_fine |= all(words, allowed);
    }
    is_fine
}

/// `a AND b`, which binds closer than `OR`.
fn all(words: &mut &[&str], allowed: &[String]) -> bool {
    let mut is_fine = one(words, allowed);
    while let ["AND", rest @ ..] = *words {
        *words = rest;
        is_fine &= one(words, allowed);
    }
    is_fine
}

/// A name, a name with an exception, or something in brackets.
fn one(words: &mut &[&str], allowed: &[String]) -> bool {
    match *words {
        ["(", rest @ ..] => {
            *words = rest;
            let is_fine = any(words, allowed);
            *words = words.strip_prefix(&[")"]).unwrap_or(&[]);
            is_fine
        }
        // An exception permits more, never less.
        [name, "WITH", _, rest @ ..] | [name, rest @ ..] => {
            *words = rest;
            allowed.iter().any(|known| known == name)
        }
        [] => false,
    }
}

#[cfg(test)]
mod tests;
