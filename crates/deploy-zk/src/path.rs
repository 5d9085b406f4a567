//! Paths of znodes.
//!
//! Hazard H13: the client sends any path, and some servers cut the connection over a bad one, which
//! costs every watch and ephemeral. So nothing leaves here that ZooKeeper would not take.

/// Checks that `path` is one that ZooKeeper takes.
///
/// # Errors
/// Says what is wrong, in a way that fits after "failed to read x: ".
pub fn check(path: &str) -> Result<(), &'static str> {
    let Some(rest) = path.strip_prefix('/') else {
        return Err("the path does not begin with a slash");
    };
    if rest.is_empty() {
        return Ok(());
    }
    for name in rest.split('/') {
        match name {
            "" => return Err("the path has an empty name in it, or ends with a slash"),
            "." | ".." => return Err("the path has . or .. in it"),
            _ if name.contains(is_forbidden) => {
                return Err("the path has a character in it that ZooKeeper does not take");
            }
            _ => {}
        }
    }
    Ok(())
}

/// Returns the path of the parent; `None` for the root.
pub fn parent(path: &str) -> Option<&str> {
    match path.rsplit_once('/')? {
        ("", "") => None,
        ("", _) => Some("/"),
        (parent, _) => Some(parent),
    }
}

/// Returns the path of the child `name` of `parent`.
pub fn join(parent: &str, name: &str) -> String {
    format!("{}/{name}", parent.trim_end_matches('/'))
}

fn is_forbidden(c: char) -> bool {
    matches!(c, '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{e000}'..='\u{f8ff}' | '\u{fff0}'..='\u{ffff}')
}
