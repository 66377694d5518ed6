//! `postgres_role`: a role of a PostgreSQL server with all its attributes, memberships, settings and its password.
//!
//! A password is compared with the verifier that the server keeps, and set by sending a verifier of ours: in clear it never
//! leaves this process.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use serde_json::Value;

use crate::command::{Ask, Question, Row, Text};
use crate::resource::{Field, Impact, Kind, Removal, Same, Step, few_bits};
use crate::resources::postgres::{
    array, assigned, block, boolean, forget, ident, integer, is_quoted_list, literal, maybe_text, split,
};
use crate::secret::Secret;
pub(crate) use crate::resources::postgres::server_rights::rights_on_server;
pub use crate::resources::postgres::server_rights::{ServerClass, ServerRights};

/// A role of a PostgreSQL server.
#[derive(Clone, Debug, Default)]
pub struct PostgresRole {
    /// Its name; the key.
    pub name: String,
    /// The name it had.
    pub was: Option<String>,
    /// Whether who comes in is no superuser, but the administrator of a managed server: it says only what it may, and has to be a
    /// member of a role to make things that belong to it.
    pub managed: bool,
    /// Its password in clear as wanted; `None`: not managed.
    pub password: Option<Secret>,
    /// What the salt of its verifier is derived from: `project/service/role`.
    pub seed: String,
    /// Of a found one: the verifier the server keeps, empty if the role has no password; `None` if it is not shown.
    pub stored: Option<Secret>,
    /// LOGIN.
    pub login: bool,
    /// SUPERUSER.
    pub superuser: bool,
    /// CREATEDB.
    pub createdb: bool,
    /// CREATEROLE.
    pub createrole: bool,
    /// INHERIT.
    pub inherit: bool,
    /// REPLICATION.
    pub replication: bool,
    /// BYPASSRLS.
    pub bypassrls: bool,
    /// CONNECTION LIMIT; -1 is none.
    pub connection_limit: i64,
    /// VALID UNTIL, as declared; `infinity` is never, and a time without a zone is in UTC.
    pub valid_until: String,
    /// The roles it is a member of; exact.
    pub member_of: BTreeSet<String>,
    /// `ALTER ROLE ... SET`; exact once named, `None`: not managed.
    pub settings: Option<BTreeMap<String, String>>,
    /// Its rights on parameters and tablespaces; exact.
    pub rights: ServerRights,
    /// Of a found one: what it owns in databases, for people.
    pub owns: Vec<String>,
    /// Of a found one: the roles that it may also give to others.
    pub admin_of: BTreeSet<String>,
    /// Of a found one: whether it is the role we are logged in as.
    pub current: bool,
}

// `:provision_roles` is `pg_authid`, or `pg_roles` where we may not read that.
const QUERY: &str = concat!(
    "SELECT r.rolname::text AS key, r.rolcanlogin AS login, r.rolsuper AS superuser, r.rolcreatedb AS createdb, \
    r.rolcreaterole AS createrole, r.rolinherit AS inherit, r.rolreplication AS replication, r.rolbypassrls AS bypassrls, \
    r.rolconnlimit AS connection_limit, r.rolname = session_user AS current, r.rolpassword AS password, \
    CASE WHEN isfinite(r.rolvaliduntil) THEN to_char(r.rolvaliduntil AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US') END \
     AS until, \
    CASE WHEN r.rolvaliduntil = '-infinity' THEN true ELSE false END AS ended, \
    (SELECT json_agg(json_build_object('role', g.rolname, 'admin', m.admin) ORDER BY g.rolname) FROM \
    (SELECT roleid, bool_or(admin_option) AS admin FROM pg_auth_members WHERE member = r.oid GROUP BY roleid) m \
    JOIN pg_roles g ON g.oid = m.roleid) AS member_of, \
    (SELECT s.setconfig FROM pg_db_role_setting s WHERE s.setrole = r.oid AND s.setdatabase = 0) AS settings, ",
    rights_on_server!(),
    " AS rights FROM :provision_roles r WHERE r.rolname !~ '^pg_'"
);

/// What stands in the place of a password in the view of roles that everybody may read.
const NOT_SHOWN: &str = "********";

/// Never.
const NEVER: &str = "infinity";

/// What keeps a verifier out of the server's log, and out of the statements that an extension remembers.
const QUIETLY: &str = "SET LOCAL log_statement = 'none';\nSET LOCAL log_min_error_statement = 'panic';\n\
    SET LOCAL log_min_duration_statement = -1;\nSET LOCAL log_min_duration_sample = -1;\n\
    SET LOCAL pg_stat_statements.track_utility = off;\n";

impl Kind for PostgresRole {
    const NAME: &'static str = "postgres_role";
    const QUESTION: Question = Question {
        name: "postgres_role",
        ask: Ask::PostgresServer(QUERY),
    };

    fn key(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.name)
    }

    fn was(&self) -> Option<Cow<'_, str>> {
        self.was.as_deref().map(Cow::Borrowed)
    }

    fn read(&self, rows: &[Row]) -> Result<Option<Self>, String> {
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let (member_of, admin_of) = memberships(row)?;
        let until = match maybe_text(row, "until") {
            Some(until) => shown_moment(until),
            None if boolean(row, "ended")? => "-infinity".to_owned(),
            None => NEVER.to_owned(),
        };
        Ok(Some(PostgresRole {
            name: self.name.clone(),
            was: None,
            managed: self.managed,
            password: None,
            seed: self.seed.clone(),
            // Not shown is no column at all, or stars; shown as null is no password.
            stored: row
                .get("password")
                .map(|stored| stored.as_str().unwrap_or_default())
                .filter(|stored| *stored != NOT_SHOWN)
                .map(Secret::new),
            login: boolean(row, "login")?,
            superuser: boolean(row, "superuser")?,
            createdb: boolean(row, "createdb")?,
            createrole: boolean(row, "createrole")?,
            inherit: boolean(row, "inherit")?,
            replication: boolean(row, "replication")?,
            bypassrls: boolean(row, "bypassrls")?,
            connection_limit: integer(row, "connection_limit")?,
            valid_until: until,
            member_of,
            settings: Some(
                array(row, "settings")
                    .iter()
                    .filter_map(|setting| setting.as_str()?.split_once('='))
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .collect(),
            ),
            rights: ServerRights::read(row, "rights")?,
            owns: Vec::new(),
            admin_of,
            current: boolean(row, "current")?,
        }))
    }

    fn fields(&self, found: Option<&Self>) -> Vec<Field> {
        let mut fields = Vec::new();
        if let Some(found) = found.filter(|found| found.name != self.name) {
            fields.push(Field::new("name", Some(found.name.clone()), &self.name, Impact::None));
        }
        if let Some(password) = &self.password {
            let same = found.map_or(Same::No, |found| compare(password, found.stored.as_ref()));
            let mut field = Field::hidden("password", found.is_some(), same, Impact::None);
            if self.managed {
                // Nobody shows what the server keeps: what was declared last says whether to send it again.
                field.to = Some(format!("as declared, {}", self.fingerprint(password)));
            }
            fields.push(field);
        }
        let had = found.map(PostgresRole::attributes);
        let born = PostgresRole::born().attributes();
        for (at, (name, wanted, _)) in self.attributes().into_iter().enumerate() {
            // A new role is shown by what sets it apart from every other.
            let plain = born[at].1 == wanted && name != "login";
            if had.is_some() || !plain {
                let from = had.as_ref().map(|had| had[at].1.clone());
                fields.push(Field::new(name, from, wanted, Impact::None));
            }
        }
        if found.is_some() || !is_never(&self.valid_until) {
            fields.push(self.end(found));
        }
        fields.extend(self.memberships(found));
        fields.extend(self.session_settings(found));
        fields.extend(self.rights.fields(found.map(|found| &found.rights)));
        fields
    }

    fn steps(&self, found: Option<&Self>) -> Vec<Step> {
        let differing: Vec<Field> = match found {
            Some(_) => self.fields(found).into_iter().filter(Field::differs).collect(),
            None => Vec::new(),
        };
        if found.is_some() && differing.is_empty() {
            return Vec::new();
        }
        let differs = |name: &str| found.is_none() || differing.iter().any(|field| field.name == name);
        let mut sql = Text::default();
        // A renamed role loses a password of the old form, and keeps one that is known to match.
        let stored = found.and_then(|found| found.stored.as_ref());
        let set_password = self.password.as_ref().filter(|password| {
            differs("password") || (differs("name") && compare(password, stored) != Same::Yes)
        });
        if set_password.is_some() && !self.managed {
            sql.push_str(QUIETLY);
        }
        if let Some(found) = found.filter(|found| found.name != self.name) {
            let (old, new) = (ident(&found.name), ident(&self.name));
            sql.push_str(&format!("ALTER ROLE {old} RENAME TO {new};\n"));
            sql.push_str(&forget(Self::NAME, &found.name));
        }
        if found.is_none() {
            // The superuser is there before the first start's SQL, and may be declared like any other.
            sql.push_str(&block(&format!(
                "BEGIN CREATE ROLE {}; EXCEPTION WHEN duplicate_object THEN NULL; END",
                ident(&self.name)
            )));
        }
        let born = PostgresRole::born().attributes();
        let mut options: Vec<String> = self
            .attributes()
            .into_iter()
            .enumerate()
            .filter(|(_, (name, ..))| differs(name))
            // Who is no superuser may not even say that a role is none.
            .filter(|(at, (_, shown, _))| !self.managed || found.is_some() || *shown != born[*at].1)
            .map(|(_, (_, _, sql))| sql)
            .collect();
        if differs("valid_until") && !(self.managed && found.is_none() && is_never(&self.valid_until)) {
            options.push(format!("VALID UNTIL {}", literal(&self.until())));
        }
        if !options.is_empty() {
            sql.push_str(&format!("ALTER ROLE {} WITH {};\n", ident(&self.name), options.join(" ")));
        }
        if let Some(password) = set_password {
            // A verifier is base64, `$` and `:` only, so a plain literal holds it.
            sql.push_str(&format!("ALTER ROLE {} PASSWORD '", ident(&self.name)));
            sql = sql.push_secret(password.scram_verifier(&self.seed)).push("';\n");
        }
        self.change_memberships(found, &mut sql);
        self.change_settings(found, &mut sql);
        sql.push_str(&self.rights.change(&ident(&self.name), found.map(|found| &found.rights)));
        if self.managed && found.is_none() {
            sql.push_str(&block(&format!(
                "BEGIN IF NOT pg_catalog.pg_has_role({}, 'MEMBER') THEN GRANT {} TO CURRENT_USER; END IF; END",
                literal(&self.name),
                ident(&self.name)
            )));
        }
        let says = match found {
            None => "create the role".to_owned(),
            Some(_) => format!("alter {}", names(&differing)),
        };
        vec![Step::sql(says, sql)]
    }

    fn named(key: &str) -> Option<Self> {
        Some(PostgresRole {
            name: key.to_owned(),
            ..PostgresRole::default()
        })
    }

    fn mark(&self, field: &str) -> Option<String> {
        let password = self.password.as_ref().filter(|_| field == "password")?;
        Some(few_bits(password.expose()))
    }

    fn remove(&self) -> Removal {
        // Without REASSIGN or DROP OWNED: what it owns or may do elsewhere is named, and stays until somebody decides.
        let revoke = ServerRights::default().change(&ident(&self.name), Some(&self.rights));
        let says = match revoke.is_empty() {
            true => "drop the role".to_owned(),
            false => "revoke its rights on parameters and tablespaces; drop the role".to_owned(),
        };
        let drop = Text::plain(format!("{revoke}{}", self.drop()));
        Removal::Steps(vec![Step::sql(says, drop)])
    }
}

impl PostgresRole {
    /// What `CREATE ROLE` makes.
    fn born() -> Self {
        PostgresRole {
            inherit: true,
            connection_limit: -1,
            valid_until: NEVER.to_owned(),
            ..PostgresRole::default()
        }
    }

    /// Drops the role, or says what keeps it: in other databases as many objects of each kind as the catalog that all databases
    /// share knows of, and what was seen when the plan was made.
    fn drop(&self) -> String {
        let role = ident(&self.name);
        let seen = match self.owns.is_empty() {
            true => String::new(),
            false => format!(" ({})", self.owns.join("; ")),
        };
        let hint = format!(
            "In each of these databases, as a superuser: REASSIGN OWNED BY {role} TO another role, which keeps the objects; then DROP OWNED BY {role}, \
             which revokes the rights. Then apply again."
        );
        block(&format!(
            "DECLARE held text; BEGIN DROP ROLE {role}; EXCEPTION WHEN dependent_objects_still_exist THEN \
             SELECT string_agg(CASE deptype WHEN 'o' THEN 'it owns ' WHEN 'a' THEN 'it has rights on ' WHEN 'r' THEN 'policies name it on ' \
             ELSE 'it is used by ' END || coalesce(named, count || ' ' || kind || CASE WHEN count > 1 THEN 's' ELSE '' END) || \
             CASE WHEN dbid <> 0 THEN ' in the database \"' || datname || '\"' ELSE '' END, '; ' ORDER BY dbid, deptype, kind) INTO held \
             FROM (SELECT d.dbid, d.deptype, b.datname, count(*) AS count, CASE d.classid::regclass::text WHEN 'pg_class' THEN 'relation' \
             WHEN 'pg_proc' THEN 'function' WHEN 'pg_default_acl' THEN 'default privilege' WHEN 'pg_namespace' THEN 'schema' \
             WHEN 'pg_largeobject' THEN 'large object' ELSE replace(substr(d.classid::regclass::text, 4), '_', ' ') END AS kind, \
             CASE WHEN min(d.dbid) = 0 OR b.datname = current_database() THEN \
             string_agg(pg_describe_object(d.classid, d.objid, d.objsubid), ', ') END AS named \
             FROM pg_shdepend d LEFT JOIN pg_database b ON b.oid = d.dbid WHERE d.refclassid = 'pg_authid'::regclass \
             AND d.refobjid = (SELECT oid FROM pg_roles WHERE rolname = {}) GROUP BY d.dbid, d.deptype, d.classid, b.datname) x; \
             RAISE EXCEPTION USING ERRCODE = 'dependent_objects_still_exist', MESSAGE = {} || held || {}, HINT = {}; END",
            literal(&self.name),
            literal(&format!("the role `{}` cannot be dropped: ", self.name)),
            literal(&seen),
            literal(&hint)
        ))
    }

    /// Name of the field, shown form, SQL.
    fn attributes(&self) -> Vec<(&'static str, String, String)> {
        let flag = |name: &'static str, on: bool| {
            let no = if on { "" } else { "NO" };
            (name, on.to_string(), format!("{no}{}", name.to_ascii_uppercase()))
        };
        vec![
            flag("login", self.login),
            flag("superuser", self.superuser),
            flag("createdb", self.createdb),
            flag("createrole", self.createrole),
            flag("inherit", self.inherit),
            flag("replication", self.replication),
            flag("bypassrls", self.bypassrls),
            (
                "connection_limit",
                self.connection_limit.to_string(),
                format!("CONNECTION LIMIT {}", self.connection_limit),
            ),
        ]
    }

    /// Says whether a password is still the one of the last time, without saying anything else: slow, salted, and short enough to
    /// fit many others.
    fn fingerprint(&self, password: &Secret) -> String {
        let salt = format!("provision fingerprint\0{}", self.seed);
        let mut digest = password.slow_digest(salt.as_bytes(), 100_000);
        digest.truncate(8);
        digest
    }

    /// When its password stops being valid.
    pub fn ends(&self) -> Ends {
        if is_never(&self.valid_until) {
            return Ends::Never;
        }
        if self.valid_until.trim().eq_ignore_ascii_case("-infinity") {
            return Ends::Always;
        }
        let Some(at) = moment(&self.valid_until) else {
            return Ends::Unknown;
        };
        match u64::try_from(at.as_second()) {
            Ok(seconds) => Ends::At(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)),
            // Long ago.
            Err(_) => Ends::Always,
        }
    }

    fn until(&self) -> String {
        if is_never(&self.valid_until) {
            return NEVER.to_owned();
        }
        moment(&self.valid_until).map_or_else(|| self.valid_until.clone(), |at| at.to_string())
    }

    fn end(&self, found: Option<&Self>) -> Field {
        let to = if is_never(&self.valid_until) { NEVER } else { &self.valid_until };
        let same = found.is_some_and(|found| match moment(to) {
            Some(at) => found.valid_until.parse::<Timestamp>().is_ok_and(|had| had == at),
            None => found.valid_until == to,
        });
        let from = found.map(|found| match same {
            true => to.to_owned(),
            false => found.valid_until.clone(),
        });
        Field {
            name: "valid_until".into(),
            from,
            to: Some(to.to_owned()),
            same: if same { Same::Yes } else { Same::No },
            impact: Impact::None,
        }
    }

    fn memberships(&self, found: Option<&Self>) -> Vec<Field> {
        let none = BTreeSet::new();
        let (had, admin) = found.map_or((&none, &none), |found| (&found.member_of, &found.admin_of));
        let shown = |role: &String| match (had.contains(role), admin.contains(role)) {
            (false, _) => None,
            (true, false) => Some("member".to_owned()),
            (true, true) => Some("member with admin option".to_owned()),
        };
        self.member_of
            .union(had)
            .map(|role| Field {
                to: self.member_of.contains(role).then(|| "member".to_owned()),
                ..Field::new(format!("member_of {role}"), shown(role), "member", Impact::None)
            })
            .map(|field| match field.to {
                None => Field { same: Same::No, ..field },
                Some(_) => field,
            })
            .collect()
    }

    fn change_memberships(&self, found: Option<&Self>, sql: &mut Text) {
        let none = BTreeSet::new();
        let (had, admin) = found.map_or((&none, &none), |found| (&found.member_of, &found.admin_of));
        let own = ident(&self.name);
        for role in self.member_of.difference(had) {
            sql.push_str(&format!("GRANT {} TO {own};\n", ident(role)));
        }
        for role in had.difference(&self.member_of) {
            sql.push_str(&format!("REVOKE {} FROM {own};\n", ident(role)));
        }
        for role in self.member_of.intersection(admin) {
            sql.push_str(&format!("REVOKE ADMIN OPTION FOR {} FROM {own};\n", ident(role)));
        }
    }

    fn session_settings(&self, found: Option<&Self>) -> Vec<Field> {
        let Some(wanted) = &self.settings else {
            return Vec::new();
        };
        let had = found.and_then(|found| found.settings.as_ref());
        let mut fields = Vec::new();
        for (name, value) in wanted {
            let from = had.and_then(|had| lookup(had, name)).cloned();
            let same = match &from {
                Some(from) if same_setting(name, from, value) => Same::Yes,
                _ => Same::No,
            };
            fields.push(Field {
                same,
                ..Field::new(format!("settings {name}"), from, value, Impact::None)
            });
        }
        for (name, value) in had.into_iter().flatten() {
            if lookup(wanted, name).is_none() {
                fields.push(Field::extra(format!("settings {name}"), value, Impact::None));
            }
        }
        fields
    }

    fn change_settings(&self, found: Option<&Self>, sql: &mut Text) {
        for field in self.session_settings(found).iter().filter(|field| field.differs()) {
            let name = field.name.strip_prefix("settings ").unwrap_or(&field.name);
            let change = match &field.to {
                Some(value) => {
                    let value = assigned(name, std::slice::from_ref(value), false);
                    format!("SET {} = {value}", ident(name))
                }
                None => format!("RESET {}", ident(name)),
            };
            sql.push_str(&format!("ALTER ROLE {} {change};\n", ident(&self.name)));
        }
    }
}

/// One check against the stored verifier: 4096 rounds of HMAC, so only once a role.
fn compare(password: &Secret, stored: Option<&Secret>) -> Same {
    match stored {
        None => Same::Unknown,
        // No password, `md5...` and whatever else is not a verifier of ours differ from a SCRAM one.
        Some(stored) if password.matches_scram(stored) == Some(true) => Same::Yes,
        Some(_) => Same::No,
    }
}

fn memberships(row: &Row) -> Result<(BTreeSet<String>, BTreeSet<String>), String> {
    let (mut member, mut admin) = (BTreeSet::new(), BTreeSet::new());
    for entry in array(row, "member_of") {
        let role = entry["role"]
            .as_str()
            .ok_or("the server did not say which roles it is a member of")?;
        member.insert(role.to_owned());
        if entry["admin"] == Value::Bool(true) {
            admin.insert(role.to_owned());
        }
    }
    Ok((member, admin))
}

/// When a password ends, as far as it can be understood without the server. Without a zone it is in UTC: it must not mean
/// another moment because somebody changes the server's zone.
fn moment(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(at) = text.parse() {
        return Some(at);
    }
    let local = text.strip_suffix("UTC").or_else(|| text.strip_suffix('Z'));
    let local = local.unwrap_or(text).trim_end();
    // `12:00+02` is not read as a time without a zone.
    if local.get(10..).is_some_and(|time| time.contains(['+', '-'])) {
        return None;
    }
    let date = || Some(local.parse::<Date>().ok()?.at(0, 0, 0, 0));
    let at = local.parse::<DateTime>().ok().or_else(date)?;
    TimeZone::UTC.to_timestamp(at).ok()
}

/// When a password stops being valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// It does not.
    Never,
    /// It never was.
    Always,
    /// At this moment.
    At(SystemTime),
    /// In words that only the server understands.
    Unknown,
}

fn is_never(until: &str) -> bool {
    let until = until.trim();
    until.is_empty() || until.eq_ignore_ascii_case(NEVER) || until.eq_ignore_ascii_case("+infinity")
}

fn shown_moment(utc: &str) -> String {
    moment(utc).map_or_else(|| utc.to_owned(), |at| at.to_string())
}

fn lookup<'a>(settings: &'a BTreeMap<String, String>, name: &str) -> Option<&'a String> {
    settings
        .iter()
        .find(|(other, _)| other.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

fn same_setting(name: &str, a: &str, b: &str) -> bool {
    a == b || (is_quoted_list(name) && split(a) == split(b))
}

fn names(fields: &[Field]) -> String {
    let names: Vec<&str> = fields.iter().map(|field| &*field.name).collect();
    names.join(", ")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::command::{Do, Part};

    const ROW: &str = r#"{"key":"django_user","login":true,"superuser":false,"createdb":false,"createrole":false,"inherit":true,
        "replication":false,"bypassrls":false,"connection_limit":-1,"current":false,"password":null,
        "until":"2031-05-01T10:00:00.000000","ended":false,"member_of":[{"role":"readers","admin":false}],
        "settings":["search_path=\"$user\", public","TimeZone=utc"]}"#;

    fn wanted() -> PostgresRole {
        let settings = [("search_path", "$user,public"), ("timezone", "utc")];
        PostgresRole {
            name: "django_user".to_owned(),
            password: Some(Secret::new("django_pass")),
            seed: "iact/analytics/django_user".to_owned(),
            login: true,
            valid_until: "2031-05-01 12:00+02".to_owned(),
            member_of: ["readers".to_owned()].into(),
            settings: Some(settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into()),
            ..PostgresRole::born()
        }
    }

    fn found(change: impl FnOnce(&mut Row)) -> PostgresRole {
        let mut row: Row = serde_json::from_str(ROW).unwrap();
        let verifier = wanted().password.unwrap().scram_verifier("another salt");
        row.insert("password".to_owned(), verifier.expose().into());
        change(&mut row);
        wanted().read(&[row]).unwrap().unwrap()
    }

    fn differing(found: &PostgresRole) -> Vec<String> {
        let fields = wanted().fields(Some(found));
        fields.iter().filter(|field| field.differs()).map(|field| field.name.to_string()).collect()
    }

    fn sql(found: Option<&PostgresRole>) -> Text {
        match &wanted().steps(found)[0].does {
            Do::Sql { text, transaction: true } => text.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_role_as_wanted_has_nothing_to_do() {
        let found = found(|_| ());
        assert!(differing(&found).is_empty());
        assert!(wanted().steps(Some(&found)).is_empty());
    }

    #[test]
    fn each_drift_is_one_field() {
        let drifts: [(&str, Value, &str); 8] = [
            ("password", Value::Null, "password"),
            ("password", "md5abc".into(), "password"),
            ("login", false.into(), "login"),
            ("superuser", true.into(), "superuser"),
            ("connection_limit", 3.into(), "connection_limit"),
            ("until", Value::Null, "valid_until"),
            ("member_of", Value::Null, "member_of readers"),
            ("settings", serde_json::json!(["TimeZone=utc"]), "settings search_path"),
        ];
        for (column, value, field) in drifts {
            let found = found(|row| {
                row.insert(column.to_owned(), value);
            });
            assert_eq!(differing(&found), [field]);
            assert_eq!(wanted().steps(Some(&found)).len(), 1);
        }
    }

    #[test]
    fn a_hidden_verifier_is_unknown_and_no_password_differs() {
        let hidden = found(|row| {
            row.remove("password");
        });
        assert_eq!(wanted().fields(Some(&hidden))[0].same, Same::Unknown);
        assert!(wanted().steps(Some(&hidden)).is_empty());
    }

    #[test]
    fn a_password_travels_as_a_secret_verifier_and_quietly() {
        let text = sql(None);
        let secrets: Vec<&Secret> = text
            .0
            .iter()
            .filter_map(|part| match part {
                Part::Secret(secret) => Some(secret),
                Part::Text(_) | Part::File { .. } => None,
            })
            .collect();
        assert_eq!(secrets.len(), 1);
        assert_eq!(wanted().password.unwrap().matches_scram(secrets[0]), Some(true));
        let shown = text.shown();
        assert!(shown.starts_with("SET LOCAL log_statement = 'none';"), "{shown}");
        assert!(shown.contains("ALTER ROLE \"django_user\" PASSWORD '[secret]';"), "{shown}");
        assert!(shown.contains("SET \"search_path\" = E'$user', E'public';"), "{shown}");
        assert!(!text.expose().expose().contains("django_pass"));
    }

    #[test]
    fn an_extra_membership_and_an_admin_option_are_taken_away() {
        let found = found(|row| {
            let members = serde_json::json!([{"role": "readers", "admin": true}, {"role": "pg_monitor", "admin": false}]);
            row.insert("member_of".to_owned(), members);
        });
        assert_eq!(differing(&found), ["member_of pg_monitor", "member_of readers"]);
        assert_eq!(
            sql(Some(&found)).shown(),
            "REVOKE \"pg_monitor\" FROM \"django_user\";\nREVOKE ADMIN OPTION FOR \"readers\" FROM \"django_user\";\n"
        );
    }

    #[test]
    fn moments_are_compared_and_not_their_writing() {
        for text in ["2031-05-01 12:00+02", "2031-05-01T10:00:00Z", "2031-05-01 10:00", "2031-05-01 10:00 UTC"] {
            assert_eq!(moment(text), Some("2031-05-01T10:00:00Z".parse().unwrap()), "{text}");
        }
        assert_eq!(moment("2031-05-01"), Some("2031-05-01T00:00:00Z".parse().unwrap()));
        assert_eq!(moment("tomorrow"), None);
        assert!(is_never("") && is_never("Infinity"));
    }
}
