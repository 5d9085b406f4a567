//! Who may do what with a znode.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha1::{Digest as _, Sha1};

use crate::config::DigestAuth;

/// One entry of a znode's access control list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// How it is known who somebody is: `world`, `digest`, ….
    pub scheme: String,
    /// Who: `anyone`, `user:hash`, ….
    pub id: String,
    /// What they may do.
    pub rights: Rights,
}

/// What somebody may do with a znode: a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights(u32);

impl Rights {
    /// Read its data and list its children.
    pub const READ: Rights = Rights(1);
    /// Change its data.
    pub const WRITE: Rights = Rights(2);
    /// Create children.
    pub const CREATE: Rights = Rights(4);
    /// Delete children.
    pub const DELETE: Rights = Rights(8);
    /// Change its access control list.
    pub const ADMIN: Rights = Rights(16);
    /// Nothing.
    pub const NONE: Rights = Rights(0);
    /// All of these.
    pub const ALL: Rights = Rights(31);

    /// Returns what is in either.
    pub const fn and(self, other: Rights) -> Rights {
        Rights(self.0 | other.0)
    }

    /// Tells whether all of `other` is in it.
    pub const fn has(self, other: Rights) -> bool {
        self.0 & other.0 == other.0
    }
}

impl std::fmt::Display for Rights {
    /// As `zkCli` writes them: `cdrwa`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let letters = [
            (Rights::CREATE, 'c'),
            (Rights::DELETE, 'd'),
            (Rights::READ, 'r'),
            (Rights::WRITE, 'w'),
            (Rights::ADMIN, 'a'),
        ];
        let held = letters.iter().filter(|(right, _)| self.has(*right));
        f.write_str(&held.map(|(_, letter)| letter).collect::<String>())
    }
}

impl Grant {
    /// What anybody may do.
    pub fn anyone(rights: Rights) -> Grant {
        Grant {
            scheme: "world".to_owned(),
            id: "anyone".to_owned(),
            rights,
        }
    }

    /// What the holder of a password may do.
    pub fn digest(auth: &DigestAuth, rights: Rights) -> Grant {
        let hash = Sha1::digest(format!("{}:{}", auth.user, auth.password));
        Grant {
            scheme: "digest".to_owned(),
            id: format!("{}:{}", auth.user, BASE64_STANDARD.encode(hash)),
            rights,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Grant, Rights};
    use crate::config::DigestAuth;

    #[test]
    fn a_digest_is_the_one_that_zookeeper_computes() {
        let auth = DigestAuth {
            user: "super".to_owned(),
            password: "secret".to_owned(),
        };
        let grant = Grant::digest(&auth, Rights::READ.and(Rights::DELETE));
        assert_eq!(grant.id, "super:lK75jTNcA+U9vtVEw5vB51mj/w4=");
        assert_eq!(grant.rights.to_string(), "dr");
    }
}
