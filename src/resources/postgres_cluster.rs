//! `postgres_cluster`: a PostgreSQL cluster of a Debian machine: that it is there, runs, starts at boot, and where it listens. It
//! asks the cluster itself and not the umbrella unit, which says *active* while the cluster is down.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::command::{Ask, Question, Row, Text, unflat};
use crate::resource::{Field, Impact, Kind, Removal, Same, Step};
use crate::resources::postgres::{maybe_text, split, text};

/// A cluster of a machine.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PostgresCluster {
    /// Major version, as in `15`.
    pub version: String,
    /// Its name beside its version, as in `main`; both are the key.
    pub name: String,
    /// The port it listens on.
    pub port: u16,
    /// `listen_addresses`, in order.
    pub listen: Vec<String>,
    /// Whether pages of data carry checksums; `None`: not managed.
    pub checksums: Option<bool>,
    /// Of a found one: what the machine says about it.
    pub live: Live,
}

/// What a machine says about a cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Live {
    /// `ready`, `standby`, `starting`, `stopping` or `down`.
    pub state: String,
    /// The port it listens on, if it runs.
    pub port: Option<u16>,
    /// The first of the addresses that it listens on, if it runs; empty where there is none.
    pub first: Option<String>,
    /// Whether it starts with the machine.
    pub at_boot: bool,
    /// Whether its files say something that a restart would bring.
    pub owed: bool,
    /// Whether its files include others, which nobody reads here.
    pub includes: bool,
}

// One `grep` over a cluster's files; everything else is read by the shell itself. What it listens on now stands in
// `postmaster.pid`; `postmaster.opts` is as old as its last start.
const BODY: &str = r#"
for item in "$@"; do
    version=${item%%/*} rest=${item#*/}
    name=${rest%%/*}
    etc=/etc/postgresql/$version/$name
    [ -e "$etc/postgresql.conf" ] || continue
    words='^[[:space:]]*(data_directory|port|listen_addresses|include[a-z_]*)[[:space:]=]'
    data=/var/lib/postgresql/$version/$name
    lines=$(LC_ALL=C grep -H -i -E "$words" "$etc/postgresql.conf" "$etc"/conf.d/*.conf 2> /dev/null) || :
    # Line by line: a pattern over a long text takes dash long.
    set -f
    IFS='
'
    for line in $lines; do
        case $line in *:data_directory*\'*\'*) data=${line#*:data_directory*\'} data=${data%%\'*} ;; esac
    done
    unset IFS
    set +f
    # Most have nothing but comments in the second file.
    auto= said=
    while IFS= read -r line || [ -n "$line" ]; do
        case $line in '#'* | '') ;; *) said=yes && break ;; esac
    done 2> /dev/null < "$data/postgresql.auto.conf" || :
    if [ -n "$said" ]; then
        auto=$(LC_ALL=C grep -H -i -E "$words" "$data/postgresql.auto.conf" 2> /dev/null) || :
    fi
    # What passes by itself is waited for.
    tries=0
    while :; do
        pid='' port='' first='' state=down comm=''
        if [ -r "$data/postmaster.pid" ]; then
            { IFS= read -r pid; read -r _; read -r _; read -r port; read -r _; IFS= read -r first; read -r _; read -r state; } \
                < "$data/postmaster.pid" || :
            if [ -r "/proc/$pid/comm" ]; then read -r comm < "/proc/$pid/comm" || :; fi
            [ "$comm" = postgres ] || state=down
        fi
        case $state in starting* | stopping*) [ "$tries" -lt 40 ] || break ;; *) break ;; esac
        tries=$((tries + 1))
        sleep 0.5
    done
    newer=''
    for file in "$etc/postgresql.conf" "$etc"/conf.d/*.conf "$data/postgresql.auto.conf"; do
        [ ! "$file" -nt "$data/postmaster.opts" ] || newer="$newer$file
"
    done
    start=auto
    if [ -r "$etc/start.conf" ]; then
        while read -r word _; do
            case $word in '' | '#'*) ;; *) start=$word ;; esac
        done < "$etc/start.conf"
    fi
    if [ -d /run/systemd/system ] && [ ! -e /etc/systemd/system/multi-user.target.wants/postgresql.service ]; then
        start=disabled
    fi
    checksums=''
    case $item in */checksums)
        checksums=$("/usr/lib/postgresql/$version/bin/pg_controldata" "$data")
        checksums=${checksums##*checksum version:}
        checksums=$((${checksums%%[!0-9 ]*}))
        ;;
    esac
    flat "$lines
$auto

$newer"
    row "$version/$name" "$state" "$port" "$first" "$start" "$checksums" "$_flat"
done
"#;

// Everything that a cluster may need, from what is there to what is wanted. A server that does not start with what was written
// starts again with what was there before, and the run fails.
const APPLY: &str = r#"
version=$1 name=$2 port=$3 listen=$4 checksums=$5 owed=$6
etc=/etc/postgresql/$version/$name
bin=/usr/lib/postgresql/$version/bin
[ -x "$bin/postgres" ] || die "PostgreSQL $version is not installed"
if [ ! -e "$etc/postgresql.conf" ]; then
    pg_createcluster --encoding UTF8 --locale C.UTF-8 --port "$port" "$version" "$name" -- \
        --auth-local peer --auth-host scram-sha-256 > /dev/null 9>&- || die "the cluster \`$version/$name\` cannot be made"
fi
data=$("$bin/postgres" -C data_directory -D "$etc")
systemd=''
[ ! -d /run/systemd/system ] || systemd=yes

state() (
    state=down pid='' comm=''
    if [ -r "$data/postmaster.pid" ]; then
        { read -r pid; read -r _; read -r _; read -r port; read -r _; read -r first; read -r _; read -r state; } \
            < "$data/postmaster.pid" || :
        if [ -r "/proc/$pid/comm" ]; then read -r comm < "/proc/$pid/comm" || :; fi
        [ "$comm" = postgres ] || state=down
    fi
    printf '%s' "$state"
)
# A recovery may take its time: as long as there is a process that is starting, it is waited for.
restart() {
    if [ -n "$systemd" ]; then
        systemctl reset-failed "postgresql@$version-$name" 2> /dev/null || :
        systemctl restart "postgresql@$version-$name" 9>&- 2> /dev/null || :
    else
        pg_ctlcluster "$version" "$name" restart > /dev/null 2>&1 9>&- || :
    fi
    tries=0
    while [ "$tries" -lt 600 ]; do
        case $(state) in
            ready* | standby*) return 0 ;;
            down) [ "$tries" -lt 10 ] || return 1 ;;
        esac
        tries=$((tries + 1))
        sleep 0.2
    done
    return 1
}
said() {
    _why=$(tail -n 20 "/var/log/postgresql/postgresql-$version-$name.log" 2> /dev/null | sed -n 's/.*FATAL: *//p' | tail -n 1)
    [ -n "$_why" ] || _why=$(unit_why "postgresql@$version-$name.service" -2min)
    [ -n "$_why" ] || _why="nothing was said; \`pg_lsclusters\` and \`/var/log/postgresql/postgresql-$version-$name.log\` may tell"
    printf '%s' "$_why"
}

# Where it listens: a file of ours, which comes after the others. Who else says something about it is asked only if that is heard.
says() { "$bin/postgres" -C "$1" -D "$etc" 2> /dev/null || :; }
wanted() { [ "$(says port)" = "$port" ] && [ "$(says listen_addresses)" = "$listen" ]; }
changed='' own=$etc/conf.d/provision.conf
if ! wanted; then
    folder=$(mktemp -d /run/provision-XXXXXXXXXX)
    trap 'rm -rf -- "$folder"' EXIT
    keep() { if [ -e "$1" ]; then cp -p -- "$1" "$folder/$2"; fi; }
    back() { if [ -e "$folder/$2" ]; then cp -p -- "$folder/$2" "$1.provision" && mv -f -- "$1.provision" "$1"; else rm -f -- "$1"; fi; }
    keep "$own" own
    keep "$etc/postgresql.conf" main
    keep "$data/postgresql.auto.conf" auto
    changed=yes
    restore() { back "$own" own; back "$etc/postgresql.conf" main; back "$data/postgresql.auto.conf" auto; }
    [ -d "$etc/conf.d" ] || install -d -o postgres -g postgres -m 0755 "$etc/conf.d"
    if ! grep -q -E "^[[:space:]]*include_dir[[:space:]=]+'conf.d'" "$etc/postgresql.conf"; then
        { cat "$etc/postgresql.conf"; printf "include_dir = 'conf.d'\n"; } | put_file "$etc/postgresql.conf" postgres postgres 0644
    fi
    printf '# Written by provision.\nlisten_addresses = %s\nport = %s\n' "'$listen'" "$port" \
        | put_file "$own" postgres postgres 0644
    if ! wanted; then
        words='[[:space:]]*(port|listen_addresses)[[:space:]=]'
        for file in "$etc/postgresql.conf" "$data/postgresql.auto.conf"; do
            [ -e "$file" ] || continue
            mode=$(stat -c %a "$file")
            sed -E "s/^($words)/#\1/I" "$file" | put_file "$file" postgres postgres "$mode"
        done
    fi
    wanted || { restore; die "another file included by $etc/postgresql.conf says where it listens"; }
fi

case $checksums in
    on | off)
        flag=--enable
        [ "$checksums" = on ] || flag=--disable
        found=$("$bin/pg_controldata" "$data")
        found=${found##*checksum version:}
        found=$((${found%%[!0-9 ]*}))
        if { [ "$checksums" = on ] && [ "$found" = 0 ]; } || { [ "$checksums" = off ] && [ "$found" != 0 ]; }; then
            if [ "$(state)" != down ]; then
                if [ -n "$systemd" ]; then systemctl stop "postgresql@$version-$name"; else pg_ctlcluster "$version" "$name" stop -m fast; fi
            fi
            runuser -u postgres -- "$bin/pg_checksums" "$flag" -D "$data" > /dev/null || die "pg_checksums $flag failed"
        fi
        ;;
esac

if [ -n "$systemd" ] && [ ! -e /etc/systemd/system/multi-user.target.wants/postgresql.service ]; then
    systemctl enable postgresql 2> /dev/null 9>&- || die "postgresql cannot be started at boot"
fi
if ! grep -q '^auto' "$etc/start.conf" 2> /dev/null; then
    printf 'auto\n' | put_file "$etc/start.conf" postgres postgres 0644
    [ -z "$systemd" ] || systemctl daemon-reload
fi

# What its package has just made and started may already be all that is wanted.
case $owed$changed:$(state) in :ready*) exit 0 ;; esac
if ! restart; then
    why=$(said)
    if [ -n "$changed" ]; then
        restore
        restart || die "\`$version/$name\` does not start, not even as it was before: $why"
        die "\`$version/$name\` did not start with \`listen_addresses = '$listen'\` and \`port = $port\`; it runs as before again: $why"
    fi
    die "\`$version/$name\` does not start: $why"
fi
"#;

const REMOVE: &str = r#"
pg_dropcluster --stop "$1" "$2" 9>&-
"#;

impl Kind for PostgresCluster {
    const NAME: &'static str = "postgres_cluster";
    const QUESTION: Question = Question {
        name: "postgres_cluster",
        ask: Ask::Machine {
            body: BODY,
            columns: &["key", "state", "port", "first", "start", "checksums", "conf"],
        },
    };

    fn key(&self) -> Cow<'_, str> {
        Cow::Owned(format!("{}/{}", self.version, self.name))
    }

    fn item(&self) -> Cow<'_, str> {
        let checksums = self.checksums.map_or("", |_| "/checksums");
        Cow::Owned(format!("{}/{}{checksums}", self.version, self.name))
    }

    fn read(&self, rows: &[Row]) -> Result<Option<Self>, String> {
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let conf = Conf::read(&unflat(text(row, "conf")?), &self.version, &self.name);
        let runs = text(row, "state")? != "down";
        let live = Live {
            state: text(row, "state")?.trim().to_owned(),
            port: match runs {
                true => Some(
                    text(row, "port")?
                        .trim()
                        .parse()
                        .map_err(|_| "its port could not be read")?,
                ),
                false => None,
            },
            first: runs
                .then(|| maybe_text(row, "first").unwrap_or_default().trim().to_owned()),
            at_boot: text(row, "start")? == "auto",
            owed: runs && conf.owed,
            includes: conf.includes,
        };
        Ok(Some(PostgresCluster {
            port: conf.port,
            listen: conf.listen,
            checksums: match text(row, "checksums")? {
                "" => None,
                version => Some(version != "0"),
            },
            live,
            ..self.clone()
        }))
    }

    fn fields(&self, found: Option<&Self>) -> Vec<Field> {
        let Some(found) = found else {
            let mut fields = vec![
                Field::new("port", None, self.port.to_string(), Impact::None),
                Field::new("listen_addresses", None, self.listen.join(", "), Impact::None),
            ];
            if let Some(on) = self.checksums {
                fields.push(Field::new("data_checksums", None, on.to_string(), Impact::None));
            }
            return fields;
        };
        let live = &found.live;
        let runs = matches!(live.state.as_str(), "ready" | "standby");
        let mut fields = vec![
            Field::new(
                "state",
                Some(if runs { "running".to_owned() } else { live.state.clone() }),
                "running",
                Impact::None,
            ),
            Field::new(
                "start",
                Some(if live.at_boot { "at boot" } else { "by hand" }.to_owned()),
                "at boot",
                Impact::None,
            ),
            self.port_field(found),
            self.listen_field(found),
        ];
        if let Some(on) = self.checksums {
            let from = found.checksums.map(|on| on.to_string());
            fields.push(Field::new("data_checksums", from, on.to_string(), Impact::Restart));
        }
        fields
    }

    fn steps(&self, found: Option<&Self>) -> Vec<Step> {
        let impact = found.map_or(Impact::None, |_| Impact::Restart);
        let differs = |name: &str| match found {
            None => true,
            Some(_) => self
                .fields(found)
                .iter()
                .any(|field| field.name == name && field.differs()),
        };
        let says = match found {
            None => "make the cluster and start it",
            Some(_) if differs("data_checksums") => {
                "stop it, rewrite every page with or without checksums, and start it"
            }
            Some(_) if differs("port") || differs("listen_addresses") => {
                "write where it listens, and restart it"
            }
            Some(_) if differs("state") => "start it",
            Some(_) if differs("start") => {
                let step = Step::script("start it at boot", AT_BOOT, self.words(false));
                return vec![step];
            }
            Some(_) => return Vec::new(),
        };
        let cold = found.is_some_and(|found| found.live.state == "down");
        let step = Step::script(says, APPLY, self.words(found.is_some()));
        vec![
            step.costs(if cold { Impact::None } else { impact })
                .within(if differs("data_checksums") && found.is_some() { 3600 } else { 300 }),
        ]
    }

    fn named(key: &str) -> Option<Self> {
        let (version, name) = key.split_once('/')?;
        Some(PostgresCluster {
            version: version.to_owned(),
            name: name.to_owned(),
            ..PostgresCluster::default()
        })
    }

    fn remove(&self) -> Removal {
        let words = [&self.version, &self.name].map(Text::plain);
        let step = Step::script("drop the cluster and its data", REMOVE, words);
        Removal::HoldsData(vec![step.costs(Impact::DataRisk)])
    }
}

const AT_BOOT: &str = r#"
etc=/etc/postgresql/$1/$2
if [ -d /run/systemd/system ]; then systemctl enable postgresql 2> /dev/null 9>&- || die "postgresql cannot be started at boot"; fi
if ! grep -q '^auto' "$etc/start.conf" 2> /dev/null; then
    printf 'auto\n' | put_file "$etc/start.conf" postgres postgres 0644
    [ ! -d /run/systemd/system ] || systemctl daemon-reload
fi
"#;

impl PostgresCluster {
    fn words(&self, restarts: bool) -> Vec<Text> {
        let checksums = match self.checksums {
            Some(true) => "on",
            Some(false) => "off",
            None => "",
        };
        [
            self.version.clone(),
            self.name.clone(),
            self.port.to_string(),
            self.listen.join(", "),
            checksums.to_owned(),
            if restarts { "yes" } else { "" }.to_owned(),
        ]
        .map(Text::plain)
        .to_vec()
    }

    /// What it listens on now, and what its files say.
    fn port_field(&self, found: &Self) -> Field {
        let from = match found.live.port {
            Some(now) if now != found.port => format!("{now} ({} after a restart)", found.port),
            Some(now) => now.to_string(),
            None => found.port.to_string(),
        };
        Field::new("port", Some(from), self.port.to_string(), Impact::Restart)
    }

    fn listen_field(&self, found: &Self) -> Field {
        let to = self.listen.join(", ");
        let filed = found.listen.join(", ");
        let first = |listen: &[String]| listen.first().cloned().unwrap_or_default();
        let from = match &found.live.first {
            Some(now) if *now != first(&found.listen) => {
                format!("{now} first ({filed} after a restart)")
            }
            Some(_) if found.live.owed => format!("unknown ({filed} after a restart)"),
            _ => filed,
        };
        let mut field = Field::new("listen_addresses", Some(from), to, Impact::Restart);
        if field.same == Same::Yes && found.live.includes {
            field.same = Same::Unknown;
        }
        field
    }
}

/// What the files of a cluster say about where it listens.
struct Conf {
    port: u16,
    listen: Vec<String>,
    /// Whether the file that says so was written after the cluster's last start.
    owed: bool,
    includes: bool,
}

impl Conf {
    /// From the lines that name a setting or include a file, as `grep -H` prints them, and behind an empty line the files that are
    /// younger than the last start.
    fn read(answer: &str, version: &str, name: &str) -> Self {
        let etc = format!("/etc/postgresql/{version}/{name}");
        let main = format!("{etc}/postgresql.conf");
        let own = format!("{etc}/conf.d/");
        let (lines, newer) = answer.split_once("\n\n").unwrap_or((answer, ""));
        let mut by_file: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
        for line in lines.lines() {
            let end = line.find(".conf:").map_or(line.len(), |at| at + ".conf".len());
            let (file, line) = line.split_at(end);
            let setting = assignment(line.trim_start_matches(':'));
            by_file.entry(file).or_default().push(setting);
        }
        let mut conf = Conf {
            port: 5432,
            listen: vec!["localhost".to_owned()],
            owed: false,
            includes: false,
        };
        let mut from = BTreeMap::new();
        let mut take = |file: &str, key: &str, value: &str, conf: &mut Conf| {
            match key {
                "port" => conf.port = value.parse().unwrap_or(conf.port),
                "listen_addresses" => conf.listen = split(value),
                _ => return,
            }
            from.insert(key.to_owned(), file.to_owned());
        };
        for (key, value) in by_file.get(main.as_str()).into_iter().flatten() {
            match key.to_ascii_lowercase().as_str() {
                "include_dir" if *value == "conf.d" || *value == own.trim_end_matches('/') => {
                    for (file, lines) in by_file.range(own.as_str()..) {
                        if !file.starts_with(&own) {
                            break;
                        }
                        for (key, value) in lines {
                            let key = key.to_ascii_lowercase();
                            conf.includes |= key.starts_with("include");
                            take(file, &key, value, &mut conf);
                        }
                    }
                }
                key if key.starts_with("include") => conf.includes = true,
                key => take(&main, key, value, &mut conf),
            }
        }
        for (file, lines) in &by_file {
            if file.ends_with("postgresql.auto.conf") {
                for (key, value) in lines {
                    take(file, &key.to_ascii_lowercase(), value, &mut conf);
                }
            }
        }
        conf.owed = from
            .get("listen_addresses")
            .is_some_and(|file| newer.lines().any(|one| one == file));
        conf
    }
}

/// Name and value of a line of `postgresql.conf`.
fn assignment(line: &str) -> (&str, &str) {
    let line = line.trim_start();
    let end = line
        .find(|c: char| c.is_whitespace() || c == '=')
        .unwrap_or(line.len());
    let (key, rest) = line.split_at(end);
    let rest = rest.trim_start().trim_start_matches('=').trim_start();
    let value = match rest.strip_prefix('\'') {
        Some(quoted) => quoted.split('\'').next().unwrap_or_default(),
        None => rest
            .split(|c: char| c.is_whitespace() || c == '#')
            .next()
            .unwrap_or_default(),
    };
    (key, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> PostgresCluster {
        PostgresCluster {
            version: "15".to_owned(),
            name: "main".to_owned(),
            port: 5432,
            listen: vec!["localhost".to_owned()],
            ..PostgresCluster::default()
        }
    }

    fn found(state: &str, port: &str, first: &str, conf: &str) -> PostgresCluster {
        let row = serde_json::json!({
            "key": "15/main", "state": state, "port": port, "first": first, "start": "auto", "checksums": "",
            "conf": conf.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n"),
        });
        let row = row.as_object().expect("a row").clone();
        let found = wanted().read(&[row]).expect("it can be read");
        found.expect("it is there")
    }

    fn differing(wanted: &PostgresCluster, found: &PostgresCluster) -> Vec<String> {
        let fields = wanted.fields(Some(found)).into_iter();
        let told = |value: Option<String>| value.unwrap_or_default();
        fields
            .filter(Field::differs)
            .map(|field| format!("{} {} -> {}", field.name, told(field.from), told(field.to)))
            .collect()
    }

    const MAIN: &str = "/etc/postgresql/15/main/postgresql.conf";
    const OWN: &str = "/etc/postgresql/15/main/conf.d/provision.conf";
    const AUTO: &str = "/var/lib/postgresql/15/main/postgresql.auto.conf";

    #[test]
    fn what_debian_made_is_adopted_as_it_is() {
        let conf = format!("{MAIN}:port = 5432\t# (change)\n{MAIN}:include_dir = 'conf.d'\t# more\n\n\n");
        let found = found("ready   ", "5432", "localhost", &conf);
        assert_eq!(differing(&wanted(), &found), [""; 0]);
        assert!(wanted().steps(Some(&found)).is_empty());
    }

    #[test]
    fn the_last_word_counts() {
        for (line, port, listen) in [
            (format!("{MAIN}:listen_addresses = '*'"), 5432, "*"),
            (format!("{MAIN}:include_dir 'conf.d'\n{OWN}:Port=5433 # x"), 5433, "localhost"),
            (format!("{MAIN}:include_dir 'conf.d'\n{MAIN}:port 5434\n{OWN}:port=5433"), 5434, "localhost"),
            (format!("{OWN}:port=5433"), 5432, "localhost"),
            (format!("{MAIN}:port = 1\n{AUTO}:port = '5435'\n{AUTO}:listen_addresses = 'a, b'"), 5435, "a, b"),
        ] {
            let conf = Conf::read(&line, "15", "main");
            assert_eq!((conf.port, conf.listen.join(", ").as_str()), (port, listen), "{line}");
        }
    }

    #[test]
    fn what_runs_and_what_the_files_say_are_two_things() {
        let conf = format!("{MAIN}:include_dir = 'conf.d'\n{OWN}:port = 5433\n\n\n");
        let filed = found("ready", "5432", "localhost", &conf);
        assert_eq!(differing(&wanted(), &filed), ["port 5432 (5433 after a restart) -> 5432"]);
        let conf = format!("{MAIN}:include_dir = 'conf.d'\n{OWN}:listen_addresses = 'localhost'\n\n\n{OWN}\n");
        let owed = found("ready", "5432", "localhost", &conf);
        assert_eq!(
            differing(&wanted(), &owed),
            ["listen_addresses unknown (localhost after a restart) -> localhost"]
        );
        let other = found("ready", "5432", "*", "\n\n");
        assert_eq!(
            differing(&wanted(), &other),
            ["listen_addresses * first (localhost after a restart) -> localhost"]
        );
        let down = found("down", "", "", "\n\n");
        assert_eq!(differing(&wanted(), &down), ["state down -> running"]);
        assert_eq!(wanted().steps(Some(&down))[0].says, "start it");
    }
}
