//! Logging in to a database server over its port, and nothing more: to see that a declared user really can log in. The password
//! never travels, only the proof of it that PostgreSQL's SCRAM-SHA-256 and MariaDB's `mysql_native_password` want.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::command::Dialect;
use crate::quote::identifier;
use crate::secret::Secret;

/// The longest message that is read; those of a login are far shorter.
const LONGEST: usize = 64 * 1024;
const NATIVE: &str = "mysql_native_password";

/// What a login is over: a connection of ours, or one that a machine makes for us.
pub(super) trait Line: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + ?Sized> Line for T {}

/// Who logs in, and where to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Who<'a> {
    /// The user.
    pub user: &'a str,
    /// The database; none is PostgreSQL's `postgres`, and no database of MariaDB.
    pub database: Option<&'a str>,
    /// A table of the database that is read before it leaves; only of MariaDB, where a right on a table may be all that there is.
    pub table: Option<&'a str>,
    /// The user's password.
    pub password: &'a Secret,
}

/// Logs in over a connection that is there already, and leaves again.
///
/// # Errors
/// As of [`postgres`].
pub(super) async fn over(
    line: &mut impl Line,
    dialect: Dialect,
    who: Who<'_>,
    deadline: Duration,
) -> Result<(), String> {
    let login = async {
        match dialect {
            Dialect::Postgres => postgres_login(line, who).await,
            Dialect::MariaDb => mariadb_login(line, who).await,
        }
    };
    match tokio::time::timeout(deadline, login).await {
        Ok(result) => result,
        Err(_) => Err(format!("no answer within {} s", deadline.as_secs_f32())),
    }
}

/// Sees whether a server of a dialect is at the other end, without logging in.
///
/// # Errors
/// What is there instead.
pub(super) async fn identify(
    line: &mut impl Line,
    dialect: Dialect,
    deadline: Duration,
) -> Result<(), String> {
    let identify = async {
        match dialect {
            Dialect::Postgres => {
                // Whether it would speak TLS: only PostgreSQL says this in one byte.
                write(line, &framed(None, &80_877_103_u32.to_be_bytes())).await?;
                match read(line, 1, true).await?.first() {
                    Some(b'S' | b'N') => Ok(()),
                    _ => Err(other("PostgreSQL")),
                }
            }
            Dialect::MariaDb => {
                let (_, greeting) = mariadb_packet(line, true).await?;
                if greeting.first() == Some(&0xff) {
                    return Err(refused(&mariadb_error(&greeting)));
                }
                greeted(&greeting).map(|_| ())
            }
        }
    };
    match tokio::time::timeout(deadline, identify).await {
        Ok(result) => result,
        Err(_) => Err(format!("no answer within {} s", deadline.as_secs_f32())),
    }
}

/// Whether a login failed because the server refused it, and not because nobody could be asked.
pub(super) fn is_refusal(why: &str) -> bool {
    why.starts_with(REFUSED)
}

/// The server's code in the words of a refusal, as in `28P01`.
pub(super) fn code(why: &str) -> Option<&str> {
    let (_, code) = why
        .strip_prefix(REFUSED)?
        .strip_suffix(')')?
        .rsplit_once('(')?;
    code.chars()
        .all(|c| c.is_ascii_alphanumeric())
        .then_some(code)
}

/// Logs in to a PostgreSQL server and leaves again.
///
/// # Errors
/// One sentence: refused and why, no answer, or not PostgreSQL. Never holds the password.
pub async fn postgres(
    address: &str,
    port: u16,
    user: &str,
    database: &str,
    password: &Secret,
    deadline: Duration,
) -> Result<(), String> {
    let who = Who {
        user,
        database: Some(database),
        table: None,
        password,
    };
    at(Dialect::Postgres, address, port, who, deadline).await
}

/// Logs in to a MariaDB server and leaves again; an empty `database` is none.
///
/// # Errors
/// As of [`postgres`].
pub async fn mariadb(
    address: &str,
    port: u16,
    user: &str,
    database: &str,
    password: &Secret,
    deadline: Duration,
) -> Result<(), String> {
    let who = Who {
        user,
        database: Some(database),
        table: None,
        password,
    };
    at(Dialect::MariaDb, address, port, who, deadline).await
}

/// Logs in to a server at an address and leaves again.
///
/// # Errors
/// As of [`postgres`].
pub(super) async fn at(
    dialect: Dialect,
    address: &str,
    port: u16,
    who: Who<'_>,
    deadline: Duration,
) -> Result<(), String> {
    let login = async {
        let mut stream = connect(address, port).await?;
        match dialect {
            Dialect::Postgres => postgres_login(&mut stream, who).await,
            Dialect::MariaDb => mariadb_login(&mut stream, who).await,
        }
    };
    in_time(login, address, port, deadline).await
}

async fn in_time(
    login: impl Future<Output = Result<(), String>>,
    address: &str,
    port: u16,
    deadline: Duration,
) -> Result<(), String> {
    match tokio::time::timeout(deadline, login).await {
        Ok(result) => result,
        Err(_) => Err(format!(
            "no answer from {address}:{port} within {} s",
            deadline.as_secs_f32()
        )),
    }
}

pub(super) async fn connect(address: &str, port: u16) -> Result<TcpStream, String> {
    let stream = TcpStream::connect((address, port)).await.map_err(|error| {
        let why = match error.raw_os_error() {
            Some(_) => error.kind().to_string(), // without the number
            None => words(error.to_string().as_bytes()),
        };
        format!("{address}:{port} cannot be connected to: {why}")
    })?;
    // Small messages that wait for each other: without it each would be held back.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

fn other(wanted: &str) -> String {
    format!("something else answers there, not {wanted}")
}

/// Reads exactly this many bytes. `first`: nothing was heard of the server yet.
async fn read(stream: &mut impl Line, length: usize, first: bool) -> Result<Vec<u8>, String> {
    let mut bytes = vec![0; length];
    match stream.read_exact(&mut bytes).await {
        Ok(_) => Ok(bytes),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            Err("the connection is refused: nobody listens there".to_owned())
        }
        Err(_) if first => {
            Err("the connection is closed without an answer: no server is behind the port".into())
        }
        Err(_) => Err("the server closed the connection in the middle of the login".into()),
    }
}

async fn write(stream: &mut impl Line, bytes: &[u8]) -> Result<(), String> {
    stream
        .write_all(bytes)
        .await
        .map_err(|_| "the server closed the connection in the middle of the login".to_owned())
}

/// A server's own words as part of a sentence: short, and nothing in them that a terminal would obey.
fn words(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut shown = String::new();
    for c in text.trim().chars().take(300) {
        let turns_text = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || turns_text {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// A refusal in words that came another way.
pub(super) fn refusal(message: &str) -> String {
    refused(message.as_bytes())
}

const REFUSED: &str = "refused by the server: ";

fn refused(message: &[u8]) -> String {
    format!("{REFUSED}{}", words(message))
}

/// A name as both protocols send it: ended by a zero byte, so it cannot hold one.
fn name(text: &str) -> Result<&str, String> {
    if text.contains('\0') {
        return Err("a name with a zero byte cannot log in".to_owned());
    }
    Ok(text)
}

/// The text before the next zero byte, and what follows it.
fn until_zero(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|byte| *byte == 0)?;
    Some((bytes.get(..at)?, bytes.get(at + 1..)?))
}

// PostgreSQL, protocol 3.0.

async fn postgres_login(stream: &mut impl Line, who: Who<'_>) -> Result<(), String> {
    let mut body = 196_608_u32.to_be_bytes().to_vec();
    let database = name(who.database.unwrap_or("postgres"))?;
    let pairs = ["user", name(who.user)?, "database", database];
    for text in pairs {
        body.extend(text.as_bytes());
        body.push(0);
    }
    body.push(0);
    write(stream, &framed(None, &body)).await?;

    let mut scram: Option<Scram> = None;
    let mut first = true;
    loop {
        let (kind, body) = postgres_message(stream, first).await?;
        first = false;
        match kind {
            b'R' => {
                if let Some(answer) = authenticate(&body, &mut scram, who.password)? {
                    write(stream, &framed(Some(b'p'), &answer)).await?;
                }
            }
            b'E' => return Err(refused(&postgres_error(&body))),
            // Ready: whether the user may use the database is said between the password and this.
            b'Z' => {
                let _ = stream.write_all(&framed(Some(b'X'), &[])).await;
                return Ok(());
            }
            // Notices, parameters, the key for cancelling, an older protocol offered.
            b'N' | b'S' | b'K' | b'v' => {}
            _ => return Err(other("PostgreSQL")),
        }
    }
}

fn framed(kind: Option<u8>, body: &[u8]) -> Vec<u8> {
    let mut message: Vec<u8> = kind.into_iter().collect();
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    message.extend(length.to_be_bytes());
    message.extend(body);
    message
}

async fn postgres_message(stream: &mut impl Line, first: bool) -> Result<(u8, Vec<u8>), String> {
    // One byte at first: what is not PostgreSQL may say less than a whole head.
    let kind = read(stream, 1, first).await?.first().copied().unwrap_or(0);
    if first && !matches!(kind, b'R' | b'E' | b'N' | b'v') {
        return Err(other("PostgreSQL"));
    }
    let head = read(stream, 4, false).await?;
    let length = head
        .try_into()
        .map(u32::from_be_bytes)
        .ok()
        .and_then(|length| usize::try_from(length).ok()?.checked_sub(4))
        .filter(|length| *length <= LONGEST)
        .ok_or_else(|| other("PostgreSQL"))?;
    Ok((kind, read(stream, length, false).await?))
}

/// What is answered to a request for authentication; nothing where there is nothing to answer.
fn authenticate(
    body: &[u8],
    scram: &mut Option<Scram>,
    password: &Secret,
) -> Result<Option<Vec<u8>>, String> {
    let (code, rest) = body
        .split_first_chunk::<4>()
        .ok_or_else(|| other("PostgreSQL"))?;
    match (u32::from_be_bytes(*code), scram.as_mut()) {
        (0, None) => Ok(None),
        (0, Some(scram)) if scram.proven => Ok(None),
        (0 | 12, Some(scram)) => {
            scram.prove(rest)?;
            Ok(None)
        }
        (10, None) => {
            let mut mechanisms = rest.split(|byte| *byte == 0);
            if !mechanisms.any(|mechanism| mechanism == b"SCRAM-SHA-256") {
                return Err("the server offers no SCRAM-SHA-256".to_owned());
            }
            let begun = Scram::begin()?;
            let text = begun.client_first();
            *scram = Some(begun);
            let mut answer = b"SCRAM-SHA-256\0".to_vec();
            answer.extend(u32::try_from(text.len()).unwrap_or(0).to_be_bytes());
            answer.extend(text.as_bytes());
            Ok(Some(answer))
        }
        (11, Some(scram)) => scram
            .answer(rest, password)
            .map(|text| Some(text.into_bytes())),
        (3, _) => Err("the server asks for the password in clear text; it was not sent".to_owned()),
        (5, _) => {
            Err("the server keeps an MD5 password for the user, not SCRAM-SHA-256".to_owned())
        }
        (code, _) => Err(format!(
            "the server asks for a way to log in (number {code}) that has no password"
        )),
    }
}

/// The message of an error, with its code.
fn postgres_error(body: &[u8]) -> Vec<u8> {
    let (mut message, mut code) = (&b"no reason given"[..], &b""[..]);
    let mut rest = body;
    while let Some((field, after)) = until_zero(rest) {
        match field.split_first() {
            Some((b'M', text)) => message = text,
            Some((b'C', text)) => code = text,
            _ => {}
        }
        rest = after;
    }
    let mut words = message.to_vec();
    if !code.is_empty() {
        words.extend(b" (");
        words.extend(code);
        words.push(b')');
    }
    words
}

/// One SCRAM-SHA-256 exchange (RFC 5802, RFC 7677), without channel binding.
struct Scram {
    nonce: String,
    /// What the server's last message must be, once it is known.
    signature: Option<[u8; 32]>,
    proven: bool,
}

impl Scram {
    fn begin() -> Result<Self, String> {
        let mut bytes = [0; 18];
        getrandom::fill(&mut bytes).map_err(|error| format!("no random number: {error}"))?;
        Ok(Scram {
            nonce: STANDARD.encode(bytes),
            signature: None,
            proven: false,
        })
    }

    // PostgreSQL takes the name from the start of the connection and ignores the one here.
    fn client_first(&self) -> String {
        format!("n,,n=,r={}", self.nonce)
    }

    fn answer(&mut self, server_first: &[u8], password: &Secret) -> Result<String, String> {
        let strange = || other("PostgreSQL");
        let server_first = std::str::from_utf8(server_first).map_err(|_| strange())?;
        let mut parts = server_first.split(',');
        let mut part = |prefix| parts.next().and_then(|part| part.strip_prefix(prefix));
        let (nonce, salt, iterations) = part("r=")
            .zip(part("s="))
            .zip(part("i="))
            .map(|((nonce, salt), iterations)| (nonce, salt, iterations))
            .ok_or_else(strange)?;
        let fresh = nonce.len() > self.nonce.len() && nonce.starts_with(&self.nonce);
        let salt = STANDARD.decode(salt).map_err(|_| strange())?;
        let iterations: u32 = iterations.parse().map_err(|_| strange())?;
        // As many as nobody uses would only keep us busy.
        if !fresh || salt.is_empty() || !(1..=1_000_000).contains(&iterations) {
            return Err(strange());
        }
        let without_proof = format!("c=biws,r={nonce}");
        let said = format!("n=,r={},{server_first},{without_proof}", self.nonce);
        let salted = password.salted(&salt, iterations);
        let salted = &*salted;
        let client_key = keyed(salted, b"Client Key");
        let stored_key: [u8; 32] = Sha256::digest(client_key).into();
        let proof = xor(&client_key, &keyed(&stored_key, said.as_bytes()));
        self.signature = Some(keyed(&keyed(salted, b"Server Key"), said.as_bytes()));
        Ok(format!("{without_proof},p={}", STANDARD.encode(proof)))
    }

    /// The server proves that it knows the password too.
    fn prove(&mut self, server_final: &[u8]) -> Result<(), String> {
        let signature = server_final
            .strip_prefix(b"v=")
            .and_then(|text| STANDARD.decode(text).ok());
        self.proven = match (&self.signature, signature) {
            (Some(wanted), Some(given)) => wanted.ct_eq(given.as_slice()).into(),
            _ => false,
        };
        if self.proven {
            Ok(())
        } else {
            Err("the server does not prove that it knows the password".to_owned())
        }
    }
}

fn keyed(key: &[u8], message: &[u8]) -> [u8; 32] {
    // HMAC takes a key of any length, so this cannot fail.
    Hmac::<Sha256>::new_from_slice(key)
        .map(|mac| mac.chain_update(message).finalize().into_bytes().into())
        .unwrap_or_default()
}

fn xor(left: &[u8], right: &[u8]) -> Vec<u8> {
    left.iter().zip(right).map(|(l, r)| l ^ r).collect()
}

// MariaDB, handshake 10.

async fn mariadb_login(stream: &mut impl Line, who: Who<'_>) -> Result<(), String> {
    let (user, password) = (name(who.user)?, who.password);
    let database = name(who.database.unwrap_or_default())?;
    let (mut number, greeting) = mariadb_packet(stream, true).await?;
    if greeting.first() == Some(&0xff) {
        return Err(refused(&mariadb_error(&greeting)));
    }
    let mut scramble = greeted(&greeting)?;
    let mut answer = response(user, database, password, &scramble)?;
    // A user with several ways in is asked for one after the other.
    for _ in 0..8 {
        number = number.wrapping_add(1);
        write(stream, &packet(number, &answer)).await?;
        let (next, reply) = mariadb_packet(stream, false).await?;
        number = next;
        match reply.split_first() {
            Some((0x00, _)) => {
                let read = match who.table {
                    Some(table) => mariadb_table(stream, table).await,
                    None => Ok(()),
                };
                let _ = stream.write_all(&packet(0, &[1])).await;
                return read;
            }
            Some((0xff, _)) => return Err(refused(&mariadb_error(&reply))),
            Some((0xfe, rest)) => {
                let (plugin, data) = until_zero(rest).unwrap_or((b"mysql_old_password", &[]));
                if plugin != NATIVE.as_bytes() {
                    return Err(format!(
                        "the server asks for `{}`, not for a password that `{NATIVE}` keeps",
                        words(plugin)
                    ));
                }
                scramble = data.strip_suffix(&[0]).unwrap_or(data).to_vec();
                answer = native(password, &scramble);
            }
            _ => return Err(other("MariaDB")),
        }
    }
    Err("the server keeps asking for another way to log in".to_owned())
}

/// Sees whether a table of the session's database may be read, without reading any of it.
async fn mariadb_table(stream: &mut impl Line, table: &str) -> Result<(), String> {
    const QUERY: u8 = 3;
    let table = identifier(Dialect::MariaDb, table);
    let mut body = vec![QUERY];
    body.extend(format!("SELECT 1 FROM {table} LIMIT 0").as_bytes());
    write(stream, &packet(0, &body)).await?;
    let (_, reply) = mariadb_packet(stream, false).await?;
    match reply.first() {
        Some(0xff) => Err(refused(&mariadb_error(&reply))),
        _ => Ok(()),
    }
}

fn packet(number: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes();
    let mut packet = vec![length[0], length[1], length[2], number];
    packet.extend(body);
    packet
}

async fn mariadb_packet(stream: &mut impl Line, first: bool) -> Result<(u8, Vec<u8>), String> {
    let head = read(stream, 4, first).await?;
    let [low, middle, high, number] = head.try_into().map_err(|_| other("MariaDB"))?;
    let length = usize::from(low) | usize::from(middle) << 8 | usize::from(high) << 16;
    // The first packet has the number 0, and no greeting is as long as the text of another protocol would say.
    if length == 0 || length > LONGEST || (first && (number != 0 || length > 1024)) {
        return Err(other("MariaDB"));
    }
    Ok((number, read(stream, length, false).await?))
}

/// The random bytes of a greeting.
fn greeted(greeting: &[u8]) -> Result<Vec<u8>, String> {
    let parts = || {
        let rest = greeting.strip_prefix(&[10])?;
        let (version, rest) = until_zero(rest)?;
        let scramble = rest.get(4..12)?;
        let capabilities = rest.get(13..15)?;
        // 16: character set and status, upper capabilities, length, ten reserved.
        let more = rest.get(31..)?;
        let end = more.iter().position(|byte| *byte == 0)?;
        let scramble = [scramble, more.get(..end)?].concat();
        // MariaDB says `MariaDB` in its version, or, where a setting hides that, leaves out the flag of MySQL.
        let text = String::from_utf8_lossy(version).to_lowercase();
        let is_mariadb = text.contains("mariadb") || capabilities.first()? & 1 == 0;
        Some((is_mariadb, scramble))
    };
    match parts() {
        Some((true, scramble)) if scramble.len() == 20 => Ok(scramble),
        Some((false, _)) => Err("MySQL answers there, not MariaDB".to_owned()),
        _ => Err(other("MariaDB")),
    }
}

/// The answer to a greeting: who, with what proof, into which database.
fn response(
    user: &str,
    database: &str,
    password: &Secret,
    scramble: &[u8],
) -> Result<Vec<u8>, String> {
    const LONG_PASSWORD: u32 = 1;
    const WITH_DATABASE: u32 = 8;
    const PROTOCOL_41: u32 = 0x200;
    const SECURE: u32 = 0x8000;
    const PLUGIN: u32 = 0x8_0000;
    const UTF8MB4: u8 = 45;
    let mut flags = LONG_PASSWORD | PROTOCOL_41 | SECURE | PLUGIN;
    if !database.is_empty() {
        flags |= WITH_DATABASE;
    }
    let proof = native(password, scramble);
    let mut body = flags.to_le_bytes().to_vec();
    body.extend(0x0100_0000_u32.to_le_bytes());
    body.push(UTF8MB4);
    body.extend([0; 23]);
    body.extend(user.as_bytes());
    body.push(0);
    body.push(u8::try_from(proof.len()).map_err(|_| other("MariaDB"))?);
    body.extend(proof);
    if !database.is_empty() {
        body.extend(database.as_bytes());
        body.push(0);
    }
    body.extend(NATIVE.as_bytes());
    body.push(0);
    Ok(body)
}

/// SHA1(password) XOR SHA1(scramble, SHA1(SHA1(password))); nothing for no password.
fn native(password: &Secret, scramble: &[u8]) -> Vec<u8> {
    if password.expose().is_empty() {
        return Vec::new();
    }
    let once = Sha1::digest(password.expose());
    let twice = Sha1::digest(once);
    let mask = Sha1::new()
        .chain_update(scramble)
        .chain_update(twice)
        .finalize();
    xor(&once, &mask)
}

/// The message of an error, with its number.
fn mariadb_error(packet: &[u8]) -> Vec<u8> {
    let number = packet
        .get(1..3)
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(0, u16::from_le_bytes);
    let message = match packet.get(3..) {
        Some([b'#', _, _, _, _, _, message @ ..]) => message,
        Some(message) => message,
        None => b"no reason given",
    };
    let mut words = message.to_vec();
    words.extend(format!(" ({number})").as_bytes());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";

    /// A server that keeps the verifier: its first message, and its last one to a right proof.
    fn server(password: &Secret, wrong: bool) -> (Scram, Result<Option<Vec<u8>>, String>) {
        let verifier = password.scram_verifier("test");
        let parts: Vec<&str> = verifier.expose().split(['$', ':']).collect();
        let [_, iterations, salt, stored, served] = parts[..] else {
            panic!("a verifier has five parts");
        };
        let first = format!("r={NONCE}more,s={salt},i={iterations}");
        let mut scram = Some(Scram {
            nonce: NONCE.to_owned(),
            signature: None,
            proven: false,
        });
        let mut body = 11_u32.to_be_bytes().to_vec();
        body.extend(first.as_bytes());
        let given = Secret::new(if wrong { "wrong" } else { password.expose() });
        let answer = authenticate(&body, &mut scram, &given)
            .expect("it is answered")
            .expect("with a proof");
        let answer = String::from_utf8(answer).expect("it is text");
        let (without_proof, proof) = answer.split_once(",p=").expect("it has a proof");
        let said = format!("n=,r={NONCE},{first},{without_proof}");
        let stored = STANDARD.decode(stored).expect("base64");
        let proof = STANDARD.decode(proof).expect("base64");
        let client_key = xor(&proof, &keyed(&stored, said.as_bytes()));
        assert_eq!(Sha256::digest(client_key).to_vec() == stored, !wrong);
        let served = STANDARD.decode(served).expect("base64");
        let mut last = 12_u32.to_be_bytes().to_vec();
        last.extend(b"v=");
        last.extend(STANDARD.encode(keyed(&served, said.as_bytes())).as_bytes());
        let result = authenticate(&last, &mut scram, &given);
        (scram.expect("it is still there"), result)
    }

    #[test]
    fn both_sides_prove_that_they_know_the_password() {
        let password = Secret::new("p\u{e4}'ss \u{aa}");
        let (scram, result) = server(&password, false);
        assert_eq!((result, scram.proven), (Ok(None), true));
        let (scram, result) = server(&password, true);
        assert!(result.is_err() && !scram.proven);
    }

    #[test]
    fn a_server_that_proves_nothing_is_refused() {
        let mut scram = Some(Scram {
            nonce: NONCE.to_owned(),
            signature: None,
            proven: false,
        });
        let password = Secret::new("p");
        assert!(authenticate(&[0; 4], &mut scram, &password).is_err());
        for first in [
            "r=another,s=AAAA,i=1",
            "r=rOprNGfwEbeRWgbNEkqO,s=AAAA,i=1",
            "r=rOprNGfwEbeRWgbNEkqOx,s=AAAA,i=999999999",
            "",
            "e=x",
        ] {
            let mut body = 11_u32.to_be_bytes().to_vec();
            body.extend(first.as_bytes());
            assert!(
                authenticate(&body, &mut scram, &password).is_err(),
                "{first}"
            );
        }
        for code in [3_u32, 5, 7, 99] {
            assert!(authenticate(&code.to_be_bytes(), &mut None, &password).is_err());
        }
    }

    #[test]
    fn the_native_proof_is_checked_with_the_hash() {
        let password = Secret::new("password");
        let scramble = [7; 20];
        let hash = Sha1::digest(Sha1::digest("password"));
        let mask = Sha1::new()
            .chain_update(scramble)
            .chain_update(hash)
            .finalize();
        assert_eq!(
            Sha1::digest(xor(&native(&password, &scramble), &mask)),
            hash
        );
        assert!(native(&Secret::new(""), &scramble).is_empty());
    }

    fn greeting(version: &str, capabilities: u8) -> Vec<u8> {
        let mut bytes = vec![10];
        bytes.extend(version.as_bytes());
        bytes.extend(b"\0\x01\0\0\0abcdefgh\0");
        bytes.extend([capabilities, 0xf7, 45, 2, 0, 0xff, 0x81, 21]);
        bytes.extend([0; 10]);
        bytes.extend(b"ijklmnopqrst\0mysql_native_password\0");
        bytes
    }

    #[test]
    fn only_mariadb_is_mariadb() {
        let scramble = Ok(b"abcdefghijklmnopqrst".to_vec());
        let version = "5.5.5-10.11.19-MariaDB-0+deb12u1";
        assert_eq!(greeted(&greeting(version, 0xff)), scramble);
        assert_eq!(greeted(&greeting("hidden", 0xfe)), scramble);
        assert!(greeted(&greeting("8.0.36", 0xff)).is_err_and(|why| why.contains("MySQL")));
        let whole = greeting(version, 0xff);
        for length in 0..whole.len() - 23 {
            assert!(greeted(&whole[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn a_server_s_words_are_escaped() {
        assert_eq!(
            refused(&mariadb_error(
                b"\xff\x15\x04#28000No \x1b[31m\n\xff\xe2\x80\xae"
            )),
            "refused by the server: No \\u{1b}[31m\\n\u{fffd}\\u{202e} (1045)"
        );
        assert_eq!(
            words(&postgres_error(b"SFATAL\0C28P01\0Mno\r\0\0")),
            "no\\r (28P01)"
        );
        assert_eq!(words(&mariadb_error(b"\xff")), "no reason given (0)");
    }

    #[tokio::test]
    async fn what_answers_otherwise_is_named() {
        let second = Duration::from_secs(1);
        let password = Secret::new("canary");
        for hello in [&b"SSH-2.0-x\r\n"[..], b"R\xff\xff\xff\xff", &[0; 64]] {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
                .await
                .expect("a port");
            let port = listener.local_addr().expect("an address").port();
            let answers = async {
                for _ in 0..2 {
                    let (mut stream, _) = listener.accept().await.expect("a client");
                    stream.write_all(hello).await.expect("it is heard");
                    let _ = stream.read(&mut [0; 64]).await;
                }
            };
            let asks = async {
                let one = postgres("127.0.0.1", port, "u", "d", &password, second).await;
                let two = mariadb("127.0.0.1", port, "u", "d", &password, second).await;
                (one, two)
            };
            let ((one, two), ()) = tokio::join!(asks, answers);
            assert_eq!(one, Err(other("PostgreSQL")));
            assert_eq!(two, Err(other("MariaDB")));
        }
    }
}
