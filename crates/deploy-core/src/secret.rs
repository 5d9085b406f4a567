//! Keeps what may be secret in URLs out of messages.

/// Returns a text in which the URLs have lost what may be secret: user, password, query and
/// fragment. A URL ends where a space, a quote or a bracket is.
pub fn hidden(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, url) = rest.split_at(at + "://".len());
        shown.push_str(before);
        let end = url.find(ends_url).unwrap_or(url.len());
        let (url, after) = url.split_at(end);
        shown.push_str(&plain(url));
        rest = after;
    }
    shown.push_str(rest);
    shown
}

fn ends_url(c: char) -> bool {
    c.is_whitespace() || c.is_control() || "\"'`<>()[]{}\\".contains(c)
}

fn plain(url: &str) -> String {
    let host_end = url.find(['/', '?', '#']).unwrap_or(url.len());
    let user = url[..host_end].rfind('@').map(|at| at + 1);
    let rest = &url[user.unwrap_or(0)..];
    let query = rest.find(['?', '#']).unwrap_or(rest.len());
    let user = if user.is_some() { "…@" } else { "" };
    let hidden = if query < rest.len() { "?…" } else { "" };
    format!("{user}{}{hidden}", &rest[..query])
}

#[cfg(test)]
mod tests;
