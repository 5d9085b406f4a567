//! Where artifacts may come from, whatever a target or a server says.

use url::Url;

use super::error::{DownloadError, shown};

/// Whether `http` will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlainHttp {
    /// Only https.
    Refused,
    /// Both.
    Allowed,
}

/// Where artifacts may come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sources {
    rule: Rule,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    /// Beneath one of these, redirects included.
    Listed {
        prefixes: Vec<Url>,
        plain_http: PlainHttp,
    },
    /// Anywhere; redirects stay at the origin.
    AsTyped,
}

/// Why a prefix is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{prefix}` is not a URL prefix to download from: {why}")]
pub(crate) struct SourceError {
    /// As it was written.
    prefix: String,
    /// What is wrong with it.
    why: String,
}

impl Sources {
    /// Parses the URL prefixes of a configuration. None at all allow nothing.
    ///
    /// # Errors
    /// All that are wrong.
    pub(crate) fn parse(
        prefixes: &[String],
        plain_http: PlainHttp,
    ) -> Result<Self, Vec<SourceError>> {
        let mut parsed = Vec::new();
        let mut errors = Vec::new();
        for prefix in prefixes {
            match parse_prefix(prefix, plain_http) {
                Ok(url) => parsed.push(url),
                Err(why) => errors.push(SourceError {
                    prefix: prefix.escape_debug().to_string(),
                    why,
                }),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self {
            rule: Rule::Listed {
                prefixes: parsed,
                plain_http,
            },
        })
    }

    /// Allows whatever a person typed: for the command line, where there is no configuration.
    pub(crate) fn as_typed() -> Self {
        Self {
            rule: Rule::AsTyped,
        }
    }

    /// Checks the URL of an artifact.
    ///
    /// # Errors
    /// Where nothing may be downloaded from there.
    pub(crate) fn check(&self, url: &Url) -> Result<(), DownloadError> {
        self.allows(url).map_err(|why| DownloadError::Refused {
            url: shown(url),
            why,
        })
    }

    /// Checks where a server redirects to.
    ///
    /// # Errors
    /// Where `to` is not as good as `from`.
    pub(super) fn check_redirect(&self, from: &Url, to: &Url) -> Result<(), DownloadError> {
        let refused = |why| {
            Err(DownloadError::Refused {
                url: shown(to),
                why,
            })
        };
        self.check(to)?;
        if from.scheme() == "https" && to.scheme() != "https" {
            return refused("a redirect from https to http");
        }
        match self.rule {
            Rule::Listed { .. } => Ok(()),
            Rule::AsTyped if same_origin_or_better(from, to) => Ok(()),
            Rule::AsTyped => refused("a redirect to another server"),
        }
    }

    fn allows(&self, url: &Url) -> Result<(), &'static str> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err("neither http nor https");
        }
        let Rule::Listed {
            prefixes,
            plain_http,
        } = &self.rule
        else {
            return Ok(());
        };
        if url.scheme() == "http" && *plain_http == PlainHttp::Refused {
            return Err("http is not allowed here (builds.allow_http)");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("it has a user or password");
        }
        if climbs(url.path()) {
            return Err("its path may lead elsewhere on the server");
        }
        if !prefixes.iter().any(|prefix| is_below(url, prefix)) {
            return Err("it is not beneath any of builds.sources");
        }
        Ok(())
    }
}

fn parse_prefix(text: &str, plain_http: PlainHttp) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    let problem = match url.scheme() {
        "https" => None,
        "http" if plain_http == PlainHttp::Allowed => None,
        "http" => Some("http needs allow_http = true"),
        _ => Some("neither http nor https"),
    };
    let problem = problem.or(match &url {
        url if !url.username().is_empty() || url.password().is_some() => {
            Some("it has a user or password")
        }
        url if url.query().is_some() || url.fragment().is_some() => {
            Some("it has a query or fragment")
        }
        url if climbs(url.path()) => Some("its path may lead elsewhere on the server"),
        _ => None,
    });
    problem.map_or(Ok(url), |why| Err(why.to_owned()))
}

/// Says whether `url` is at or below `prefix`: same scheme, host and port, and whole segments.
fn is_below(url: &Url, prefix: &Url) -> bool {
    if url.origin() != prefix.origin() {
        return false;
    }
    match url.path().strip_prefix(prefix.path()) {
        None => false,
        Some(rest) => rest.is_empty() || prefix.path().ends_with('/') || rest.starts_with('/'),
    }
}

/// Says whether a server that decodes a path once more could leave it: parsing a URL has already
/// resolved `..`, `%2e%2e` and backslashes, but not what is encoded twice or hides a slash.
fn climbs(path: &str) -> bool {
    let mut decoded = path.as_bytes().to_vec();
    for _ in 0..=4 {
        let next = percent_decode(&decoded);
        if next == decoded {
            return segments_climb(&decoded);
        }
        let slashes = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'/').count();
        if slashes(&next) != slashes(&decoded) {
            return true;
        }
        decoded = next;
    }
    true // Encoded five times over: nobody means well with that.
}

fn segments_climb(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'/')
        .any(|segment| matches!(segment, b".." | b"."))
        || path.iter().any(|byte| matches!(byte, b'\\' | 0..=31 | 127))
}

fn percent_decode(bytes: &[u8]) -> Vec<u8> {
    let digit = |at: usize| {
        bytes
            .get(at)
            .and_then(|byte| char::from(*byte).to_digit(16))
    };
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match (bytes[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                // Two hexadecimal digits fit a byte.
                decoded.push(u8::try_from(high << 4 | low).unwrap_or(b'?'));
                at += 3;
            }
            (byte, _, _) => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    decoded
}

fn same_origin_or_better(from: &Url, to: &Url) -> bool {
    let upgrade = (from.scheme(), to.scheme()) == ("http", "https")
        && from.host() == to.host()
        && from.port().is_none()
        && to.port().is_none();
    from.origin() == to.origin() || upgrade
}

#[cfg(test)]
mod tests;
