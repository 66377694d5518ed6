//! `postgres_hba`: who may connect to a PostgreSQL cluster from where, `pg_hba.conf` as a whole. A new one is looked at by the
//! server itself before it is read, and the old one comes back by itself if our own login or an application's no longer fits.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::command::{Ask, Question, Row, Text};
use crate::resource::{Field, Impact, Kind, Removal, Step};
use crate::resources::hba::{Rule, VIEW};
use crate::resources::postgres::text;

pub use crate::resources::hba::names;

/// The rules of a cluster, in order: the first that fits counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PostgresHba {
    /// The cluster, as in `15/main`; the key.
    pub cluster: String,
    /// Its port, by which the server is asked.
    pub port: u16,
    /// The rules; of a found one as they stand there.
    pub rules: Vec<Rule>,
    /// Logins from this machine that a rule has to let try: role and database.
    pub logins: Vec<(String, String)>,
    /// The roles that the rules let in with a password from the server's own machine, also without TLS.
    pub without_tls: Vec<String>,
    /// Logins from this machine that have to be refused.
    pub refused: Vec<(String, String)>,
    /// Of a found one: whether a change was begun and not seen to work.
    pub begun: bool,
}

const BODY: &str = r#"
for item in "$@"; do
    etc=/etc/postgresql/$item
    [ -e "$etc/pg_hba.conf" ] || continue
    begun=no
    [ ! -e "$etc/.provision-hba" ] || begun=yes
    row "$item" "$begun" "$(b64 < "$etc/pg_hba.conf")"
done
"#;

// The mark stays until a fresh login was seen to work. Where this dies half way, the machine puts the old rules back by itself; where
// that dies, too, the next run sees the mark and does all of it again.
const APPLY: &str = r##"
cluster=$1 port=$2 content=$3 view=$4 wanted=$5
shift 5
etc=/etc/postgresql/$cluster
bin=/usr/lib/postgresql/${cluster%%/*}/bin
ask() {
    runuser -u postgres -- env PGCONNECT_TIMEOUT=10 "$bin/psql" -X -A -t -q -w -h /var/run/postgresql -p "$port" -d postgres -c "$1" 2>&1
}
# A name with \`=\` in it would be read as more than a name.
conninfo() { printf "dbname='%s'" "$(printf '%s' "$1" | sed "s/[\\\\']/\\\\&/g")"; }
flat() { printf '%s' "$1" | tr '\n' ' '; }
reload() {
    before=$(ask 'SELECT pg_conf_load_time()')
    ask 'SELECT pg_reload_conf()' > /dev/null
    tries=0
    while [ "$tries" -lt 50 ] && [ "$(ask 'SELECT pg_conf_load_time()')" = "$before" ]; do
        tries=$((tries + 1))
        sleep 0.1
    done
}
back() {
    trap - EXIT HUP INT TERM
    guard_revert postgres_hba
}

said=$(ask "SELECT current_setting('data_directory')") || die "\`$cluster\` does not let us in: $(flat "$said")"
# Whatever becomes of this script, the old rules come back; by signal, since nobody may get in.
guard_free postgres_hba "$etc/pg_hba.conf"
cp -a -T -- "$etc/pg_hba.conf" "$_g.old"
{
    put_back "$etc/pg_hba.conf" "$_g.old"
    printf 'read -r pid < %s && kill -HUP "$pid"\nrm -f -- %s\n' "$(quoted "$said/postmaster.pid")" "$(quoted "$etc/.provision-hba")"
} | guard postgres_hba
trap back EXIT
trap 'exit 1' HUP INT TERM
: > "$etc/.provision-hba"
printf '%s' "$content" | put_file "$etc/pg_hba.conf" postgres postgres 0640
said=$(ask "SELECT format('line %s: %s', line_number, error) FROM pg_hba_file_rules WHERE error IS NOT NULL LIMIT 1") \
    || die "\`$cluster\` cannot be asked about its rules: $(flat "$said")"
[ -z "$said" ] || die "\`$cluster\` does not accept these rules, the old ones stay: $said"
said=$(ask 'SHOW hba_file')
[ "$said" = "$etc/pg_hba.conf" ] || die "\`$cluster\` reads its rules from \`$(flat "$said")\` and not from \`$etc/pg_hba.conf\`: reset its setting \`hba_file\` and restart it"
said=$(ask "$view")
[ "$said" = "$wanted" ] || die "\`$cluster\` reads these rules otherwise than they are meant, the old ones stay; it reads: $(flat "$said")"
reload
said=$(ask 'SELECT 1') || die "our own login no longer fits, the old rules are back: $(flat "$said")"
while [ "$#" -gt 2 ]; do
    # No password is offered: a rule that lets somebody try asks for one. A client that is refused over TLS tries without.
    said=$(PGCONNECT_TIMEOUT=10 LC_ALL=C "$bin/psql" -X -w -h 127.0.0.1 -p "$port" -U "$2" -d "$(conninfo "$3")" -c 'SELECT 1' 2>&1 < /dev/null) && said=in
    case $said in
        in | *'no password supplied'*) came=in ;;
        *'no pg_hba.conf entry'* | *'pg_hba.conf rejects'*) came=refused ;;
        *) came=unknown ;;
    esac
    case $1-$came in
        in-refused) die "the login of \`$2\` to \`$3\` from this machine no longer fits any rule, so the old ones are back" ;;
        refused-in) die "the login of \`$2\` to \`$3\` from this machine has to be refused and is not, so the old rules are back" ;;
    esac
    shift 3
done
trap - EXIT HUP INT TERM
guard_confirm postgres_hba
rm -f -- "$etc/.provision-hba"
"##;

impl Kind for PostgresHba {
    const NAME: &'static str = "postgres_hba";
    const QUESTION: Question = Question {
        name: "postgres_hba",
        ask: Ask::Machine {
            body: BODY,
            columns: &["key", "begun", "content"],
        },
    };

    fn key(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.cluster)
    }

    fn read(&self, rows: &[Row]) -> Result<Option<Self>, String> {
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let content = STANDARD
            .decode(text(row, "content")?)
            .map_err(|_| "the answer about its rules is no base64")?;
        Ok(Some(PostgresHba {
            rules: parse(&String::from_utf8_lossy(&content)),
            begun: text(row, "begun")? == "yes",
            ..self.clone()
        }))
    }

    fn fields(&self, found: Option<&Self>) -> Vec<Field> {
        let had = found
            .map(|found| found.rules.as_slice())
            .unwrap_or_default();
        // The first that fits counts: of two about the same the first is compared.
        let of = |rules: &'_ [Rule], rule: &Rule| {
            let same = rules.iter().find(|one| one.whom() == rule.whom());
            same.map(|same| same.method.clone())
        };
        let mut fields: Vec<Field> = self
            .rules
            .iter()
            .map(|rule| Field::new(rule.whom(), of(had, rule), &rule.method, Impact::Reload))
            .collect();
        let mut extra: Vec<&Rule> = Vec::new();
        for rule in had.iter().filter(|rule| of(&self.rules, rule).is_none()) {
            if !extra.iter().any(|other| other.whom() == rule.whom()) {
                extra.push(rule);
                fields.push(Field::extra(rule.whom(), &rule.method, Impact::Reload));
            }
        }
        let Some(found) = found else { return fields };
        if fields.iter().all(|field| !field.differs()) {
            let order = if found.rules == self.rules { "as declared" } else { "another" };
            fields.push(Field::new("order", Some(order.to_owned()), "as declared", Impact::Reload));
            let read = if found.begun { "perhaps not" } else { "yes" };
            fields.push(Field::new("read", Some(read.to_owned()), "yes", Impact::Reload));
        }
        fields
    }

    fn steps(&self, found: Option<&Self>) -> Vec<Step> {
        if found.is_some() && !self.fields(found).iter().any(Field::differs) {
            return Vec::new();
        }
        let viewed: Vec<String> = self.rules.iter().map(Rule::viewed).collect();
        let words = [
            self.cluster.clone(),
            self.port.to_string(),
            self.content(),
            VIEW.to_owned(),
            viewed.join("\n"),
        ];
        let tried = [("in", &self.logins), ("refused", &self.refused)];
        let tried = tried.into_iter().flat_map(|(wanted, logins)| {
            let words = |(role, database): &(String, String)| [wanted.to_owned(), role.clone(), database.clone()];
            logins.iter().flat_map(words)
        });
        let words = words.into_iter().chain(tried).map(Text::plain);
        let step = Step::script("write the rules, and keep them if everybody still fits", APPLY, words);
        vec![step.costs(Impact::Reload)]
    }

    fn named(key: &str) -> Option<Self> {
        Some(PostgresHba {
            cluster: key.to_owned(),
            ..PostgresHba::default()
        })
    }

    fn remove(&self) -> Removal {
        Removal::Forget
    }
}

impl PostgresHba {
    /// The whole file.
    fn content(&self) -> String {
        let mut content = "# Written by provision; what is changed here is put back.\n\
                           # type  database  role  address  method\n"
            .to_owned();
        for rule in &self.rules {
            content.push_str(&rule.to_string());
            content.push('\n');
        }
        content
    }
}

/// The rules of a file, with single blanks between their words. Comments are not kept.
fn parse(content: &str) -> Vec<Rule> {
    let joined = content.replace("\\\n", " ");
    joined.lines().filter_map(rule).collect()
}

fn rule(line: &str) -> Option<Rule> {
    let mut words = words(line);
    if words.is_empty() {
        return None;
    }
    let mut next = || match words.is_empty() {
        true => String::new(),
        false => words.remove(0),
    };
    let kind = next();
    let (database, role) = (next(), next());
    let mut address = (kind != "local").then(&mut next);
    let mut rest: Vec<String> = Vec::new();
    loop {
        let word = next();
        if word.is_empty() {
            break;
        }
        rest.push(word);
    }
    // An address may be followed by its mask.
    if let (Some(address), Some(mask)) = (&mut address, rest.first())
        && mask.contains(['.', ':'])
        && mask.chars().all(|c| c.is_ascii_hexdigit() || matches!(c, '.' | ':'))
    {
        address.push(' ');
        address.push_str(mask);
        rest.remove(0);
    }
    Some(Rule {
        kind,
        database,
        role,
        address,
        method: rest.join(" "),
    })
}

/// The words of a line: blanks separate them, quotes keep them together, `#` ends it, and a comma joins what stands on both sides.
fn words(line: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '#' if !quoted => break,
            '"' => {
                quoted = !quoted;
                word.push(c);
            }
            c if c.is_whitespace() && !quoted => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            c => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    let mut joined: Vec<String> = Vec::new();
    for word in words {
        match joined.last_mut() {
            Some(last) if last.ends_with(',') || word.starts_with(',') => last.push_str(&word),
            _ => joined.push(word),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBIAN: &str = "# comment\nlocal   all             postgres                                peer\n\n\
        local all all peer # more\nhost all all 127.0.0.1/32 scram-sha-256\nhost  all  \"Odd #name\", b 10.0.0.0 255.0.0.0 ldap ldapserver=x\n\
        host all all 0.0.0.0/0 trust\n";

    fn wanted(rules: &[&str]) -> PostgresHba {
        PostgresHba {
            cluster: "15/main".to_owned(),
            port: 5432,
            rules: rules.iter().filter_map(|line| rule(line)).collect(),
            ..PostgresHba::default()
        }
    }

    fn found(content: &str, begun: &str) -> PostgresHba {
        let row = serde_json::json!({"key": "15/main", "begun": begun, "content": STANDARD.encode(content)});
        let row = row.as_object().expect("a row").clone();
        let found = wanted(&[]).read(&[row]).expect("it can be read");
        found.expect("it is there")
    }

    #[test]
    fn a_file_is_read_as_the_server_reads_it() {
        let lines: Vec<String> = found(DEBIAN, "no").rules.iter().map(Rule::to_string).collect();
        assert_eq!(
            lines,
            [
                "local all postgres peer",
                "local all all peer",
                "host all all 127.0.0.1/32 scram-sha-256",
                "host all \"Odd #name\",b 10.0.0.0 255.0.0.0 ldap ldapserver=x",
                "host all all 0.0.0.0/0 trust",
            ]
        );
    }

    #[test]
    fn a_line_too_many_is_named() {
        let wanted = wanted(&["local all postgres peer", "local all all peer"]);
        let found = found("local all postgres peer\nlocal all all peer\nhost all all 0.0.0.0/0 trust\n", "no");
        let differing: Vec<String> = wanted
            .fields(Some(&found))
            .into_iter()
            .filter(Field::differs)
            .map(|field| field.name.into_owned())
            .collect();
        assert_eq!(differing, ["host all all 0.0.0.0/0"]);
        assert_eq!(wanted.steps(Some(&found)).len(), 1);
    }

    #[test]
    fn order_counts_and_so_does_what_was_begun() {
        let rules = ["local all postgres peer", "local all all peer"];
        let wanted = wanted(&rules);
        let same = found("local all postgres peer\nlocal all  all peer\n", "no");
        assert!(wanted.steps(Some(&same)).is_empty());
        for (content, begun, field) in [
            ("local all all peer\nlocal all postgres peer\n", "no", "order"),
            ("local all postgres peer\nlocal all all peer\n", "yes", "read"),
        ] {
            let found = found(content, begun);
            let fields = wanted.fields(Some(&found));
            let differing: Vec<_> = fields.iter().filter(|field| field.differs()).collect();
            assert_eq!(differing.len(), 1);
            assert_eq!(differing[0].name, field);
        }
    }
}
