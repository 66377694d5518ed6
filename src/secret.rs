//! A secret: a value that cannot be shown, and the two one-way forms in which passwords travel to databases.

use std::fmt;
use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha_crypt::ShaCrypt;
use sha_crypt::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A password, key or token. It has no `Display`, its `Debug` says `[secret]`, and it cannot be serialized. What it holds
/// leaves only through [`Secret::expose`], whose callers the rules of the house name.
#[derive(Clone)]
pub struct Secret(Arc<Held>);

struct Held {
    text: Zeroizing<String>,
    /// The verifier made last, and of which seed: a plan wants it three times, and each costs 4,096 rounds.
    verifier: OnceLock<(String, Secret)>,
    /// The same rounds with the first salt that was asked for: a login wants them once more.
    salted: OnceLock<Salted>,
}

struct Salted {
    salt: Vec<u8>,
    iterations: u32,
    key: Zeroizing<[u8; 32]>,
}

impl Secret {
    /// Takes a text as a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(Arc::new(Held {
            text: Zeroizing::new(text.into()),
            verifier: OnceLock::new(),
            salted: OnceLock::new(),
        }))
    }

    /// The text itself, for the one writer that sends it.
    pub fn expose(&self) -> &str {
        &self.0.text
    }

    /// A text in which it may stand, without it; an empty one stands everywhere and says nothing.
    pub fn taken_out_of(&self, text: &str) -> String {
        match self.expose() {
            "" => text.to_owned(),
            secret => text.replace(secret, "[secret]"),
        }
    }

    /// The SCRAM-SHA-256 verifier that PostgreSQL stores verbatim (RFC 5803), with a salt derived from `seed`, so that
    /// rendering twice gives the same bytes. It lets nobody log in, but it can be attacked offline: also a secret.
    pub fn scram_verifier(&self, seed: &str) -> Secret {
        let make = || {
            let digest = Sha256::digest(format!("provision scram salt\0{seed}"));
            Secret::new(self.scram(&digest[..16], 4096))
        };
        let (of, verifier) = self.0.verifier.get_or_init(|| (seed.to_owned(), make()));
        if of == seed { verifier.clone() } else { make() }
    }

    fn scram(&self, salt: &[u8], iterations: u32) -> String {
        let salted = self.salted(salt, iterations);
        let salted = &*salted;
        let stored = Sha256::digest(keyed(salted, b"Client Key"));
        let server = keyed(salted, b"Server Key");
        format!(
            "SCRAM-SHA-256${iterations}:{}${}:{}",
            STANDARD.encode(salt),
            STANDARD.encode(stored),
            STANDARD.encode(server)
        )
    }

    /// The salted password of SCRAM-SHA-256 (RFC 5802): thousands of rounds, kept for the salt that the first one asked for.
    pub fn salted(&self, salt: &[u8], iterations: u32) -> Zeroizing<[u8; 32]> {
        let make = || {
            // PostgreSQL takes the raw bytes where SASLprep prohibits the text.
            let prepared = stringprep::saslprep(self.expose()).unwrap_or(self.expose().into());
            let mut key = Zeroizing::new([0u8; 32]);
            pbkdf2::pbkdf2_hmac::<Sha256>(prepared.as_bytes(), salt, iterations, &mut *key);
            key
        };
        let kept = self.0.salted.get_or_init(|| Salted {
            salt: salt.to_vec(),
            iterations,
            key: make(),
        });
        match kept.salt == salt && kept.iterations == iterations {
            true => kept.key.clone(),
            false => make(),
        }
    }

    /// Whether a stored verifier was made from this password. `None`: it has another form (`md5...`), so nobody can tell.
    pub fn matches_scram(&self, stored: &Secret) -> Option<bool> {
        if let Some((_, own)) = self.0.verifier.get()
            && own == stored
        {
            return Some(true);
        }
        let rest = stored.expose().strip_prefix("SCRAM-SHA-256$")?;
        let (head, _) = rest.split_once('$')?;
        let (iterations, salt) = head.split_once(':')?;
        let salt = STANDARD.decode(salt).ok()?;
        let iterations = iterations
            .parse()
            .ok()
            .filter(|n| (1..=10_000_000).contains(n))?;
        let own = self.scram(&salt, iterations);
        Some(own.as_bytes().ct_eq(stored.expose().as_bytes()).into())
    }

    /// The SHA-512 form of `crypt(3)` that `/etc/shadow` keeps, with a salt derived from `seed`, so that rendering twice gives the
    /// same bytes. It lets nobody log in, but it can be attacked offline: also a secret.
    pub fn crypt_hash(&self, seed: &str) -> Secret {
        let salt = Sha256::digest(format!("provision crypt salt\0{seed}"));
        let hash = ShaCrypt::SHA512.hash_password_with_salt(self.expose().as_bytes(), &salt[..12]);
        // With a salt of that length it cannot fail; `!` would be a password that nobody has.
        Secret::new(hash.map_or_else(|_| "!".to_owned(), |hash| hash.to_string()))
    }

    /// Whether a hash of `/etc/shadow` was made from this password. One of another form than SHA-2 (`$y$`) was not made by us, and
    /// nobody here can tell: it counts as another, since setting the same password again harms nobody.
    pub fn matches_crypt(&self, stored: &str) -> bool {
        let rounds = stored
            .split_once("$rounds=")
            .and_then(|(_, rest)| rest.split('$').next()?.parse().ok());
        // Whoever wrote a hash of a billion rounds does not want it to be compared.
        let endless = rounds.is_some_and(|rounds: u64| rounds > 1_000_000);
        !endless
            && ShaCrypt::SHA512
                .verify_password(self.expose().as_bytes(), stored)
                .is_ok()
    }

    /// A digest that is slow to make and has its own salt, for a file that others may read: it says whether a secret is still
    /// the same, and guessing costs as much as it can.
    pub fn slow_digest(&self, salt: &[u8], iterations: u32) -> String {
        let mut digest = [0u8; 32];
        pbkdf2::pbkdf2_hmac::<Sha256>(self.expose().as_bytes(), salt, iterations, &mut digest);
        hex(&digest)
    }

    /// The form in which MariaDB's `mysql_native_password` keeps a password: `*` and the upper-case hex of SHA-1 twice.
    /// It is unsalted: also a secret.
    pub fn native_hash(&self) -> Secret {
        let twice = Sha1::digest(Sha1::digest(self.expose()));
        Secret::new(format!("*{}", hex(&twice).to_uppercase()))
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose()
            .as_bytes()
            .ct_eq(other.expose().as_bytes())
            .into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// A verifier that no password matches: for a superuser who comes in by the local socket only. Its stored key is an HMAC,
/// whose preimage under SHA-256 nobody has; so nothing needs to be drawn, kept or thrown away, and rendering twice gives
/// the same bytes.
pub fn locked_verifier(seed: &str) -> String {
    let digest = Sha256::digest(format!("provision locked salt\0{seed}"));
    let key = |what: &str| {
        STANDARD.encode(keyed(
            b"provision locked verifier",
            format!("{what}\0{seed}").as_bytes(),
        ))
    };
    format!(
        "SCRAM-SHA-256$4096:{}${}:{}",
        STANDARD.encode(&digest[..16]),
        key("stored"),
        key("server")
    )
}

/// The native hash that no password matches, as [`locked_verifier`].
pub fn locked_native_hash(seed: &str) -> String {
    let key = keyed(b"provision locked native hash", seed.as_bytes());
    format!("*{}", hex(&key[..20]).to_uppercase())
}

/// SHA-256 of a text as lower-case hex.
pub fn sha256(bytes: impl AsRef<[u8]>) -> String {
    hex(&Sha256::digest(bytes.as_ref()))
}

fn keyed(key: &[u8], message: &[u8]) -> [u8; 32] {
    // HMAC takes a key of any length, so this cannot fail; an empty digest would match nothing.
    Hmac::<Sha256>::new_from_slice(key)
        .map(|mac| mac.chain_update(message).finalize().into_bytes().into())
        .unwrap_or_default()
}

fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or_default();
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_secret_hides_nothing() {
        assert_eq!(Secret::new("").taken_out_of("refused"), "refused");
        assert_eq!(Secret::new("abc").taken_out_of("no abc"), "no [secret]");
    }

    #[test]
    fn a_verifier_matches_its_password_only() {
        let password = Secret::new("django_pass");
        let stored = password.scram_verifier("iact/analytics/django_user");
        assert_eq!(password.matches_scram(&stored), Some(true));
        assert_eq!(Secret::new("other").matches_scram(&stored), Some(false));
        assert_eq!(password.matches_scram(&Secret::new("md5abc")), None);
        assert_eq!(
            password.matches_scram(&Secret::new(locked_verifier("x"))),
            Some(false)
        );
    }

    #[test]
    fn the_native_hash_is_the_well_known_one() {
        assert_eq!(
            Secret::new("password").native_hash().expose(),
            "*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19"
        );
    }

    #[test]
    fn a_hash_of_a_login_is_the_one_of_crypt() {
        // `openssl passwd -6 -salt saltstring 'Hello world!'`, as in the specification of SHA-crypt.
        let known = "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1";
        let password = Secret::new("Hello world!");
        assert!(password.matches_crypt(known));
        assert!(!Secret::new("Hello world").matches_crypt(known));
        let own = password.crypt_hash("web1/deploy");
        assert!(password.matches_crypt(own.expose()), "{}", own.expose());
        assert_eq!(own, password.crypt_hash("web1/deploy"));
        assert_ne!(own, password.crypt_hash("web2/deploy"));
        for other in [
            "",
            "!",
            "*",
            "$y$j9T$VEic2cJR.QtB.aFqFHND7.$vbNx",
            "$6$rounds=999999999$a$b",
        ] {
            assert!(!password.matches_crypt(other), "{other}");
        }
    }

    #[test]
    fn a_secret_does_not_show_itself() {
        assert_eq!(
            format!("{:?}", Some(Secret::new("hunter2"))),
            "Some([secret])"
        );
    }
}
