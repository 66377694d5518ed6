//! What the server is asked about rights, and how rights on single objects are revoked and granted: all the SQL over its catalogs.

use super::PostgresGrant;
use crate::resources::postgres::{block, literal};

/// Every object that rights can be granted on, with its owner and access list, as one `SELECT`.
///
/// Objects of the system, whose numbers are below 16384, are part of it where somebody changed their access list since the server
/// was made; most of what this costs is leaving the others out. Those of the information schema have no initial privileges on
/// record, so they are known by their form.
macro_rules! objects {
    () => {
        "SELECT x.level, coalesce(n.nspname, '')::text AS schema, x.name, x.part, x.owner, x.acl, x.class, x.id, x.sub, x.system FROM \
         (SELECT 'database' AS level, 0::oid AS ns, d.datname::text AS name, NULL::text AS part, d.datdba AS owner, \
         coalesce(d.datacl, acldefault('d'::\"char\", d.datdba)) AS acl, 'pg_database'::regclass::oid AS class, d.oid AS id, 0 AS sub, \
         false AS system FROM pg_database d WHERE d.datname = current_database() \
         UNION ALL SELECT 'schema', s.oid, s.nspname, NULL, s.nspowner, coalesce(s.nspacl, acldefault('n'::\"char\", s.nspowner)), \
         'pg_namespace'::regclass, s.oid, 0, s.nspname IN ('pg_catalog', 'information_schema') FROM pg_namespace s \
         UNION ALL SELECT CASE c.relkind WHEN 'S' THEN 'sequence' ELSE 'table' END, c.relnamespace, c.relname, NULL, c.relowner, \
         coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's'::\"char\" ELSE 'r'::\"char\" END, c.relowner)), \
         'pg_class'::regclass, c.oid, 0, c.oid < 16384 \
         FROM pg_class c WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND (c.oid >= 16384 OR c.relacl IS NOT NULL) \
         UNION ALL SELECT 'column', c.relnamespace, c.relname, t.attname, c.relowner, t.attacl, 'pg_class'::regclass, c.oid, t.attnum, \
         c.oid < 16384 FROM pg_attribute t JOIN pg_class c ON c.oid = t.attrelid WHERE t.attacl IS NOT NULL AND NOT t.attisdropped \
         UNION ALL SELECT 'function', p.pronamespace, p.proname || '(' || oidvectortypes(p.proargtypes) || ')', NULL, p.proowner, \
         coalesce(p.proacl, acldefault('f'::\"char\", p.proowner)), 'pg_proc'::regclass, p.oid, 0, p.oid < 16384 \
         FROM pg_proc p WHERE p.oid >= 16384 OR p.proacl IS NOT NULL \
         UNION ALL SELECT 'type', t.typnamespace, t.typname, NULL, t.typowner, coalesce(t.typacl, acldefault('T'::\"char\", t.typowner)), \
         'pg_type'::regclass, t.oid, 0, t.oid < 16384 FROM pg_type t WHERE t.typacl IS NOT NULL OR (t.oid >= 16384 \
         AND t.typtype IN ('b', 'c', 'd', 'e', 'r') AND t.typsubscript <> 'array_subscript_handler'::regproc \
         AND (t.typrelid = 0 OR EXISTS (SELECT FROM pg_class c WHERE c.oid = t.typrelid AND c.relkind = 'c'))) \
         UNION ALL SELECT 'language', 0, l.lanname, NULL, l.lanowner, coalesce(l.lanacl, acldefault('l'::\"char\", l.lanowner)), \
         'pg_language'::regclass, l.oid, 0, l.oid < 16384 FROM pg_language l WHERE l.lanpltrusted OR l.lanacl IS NOT NULL \
         UNION ALL SELECT 'wrapper', 0, w.fdwname, NULL, w.fdwowner, coalesce(w.fdwacl, acldefault('F'::\"char\", w.fdwowner)), \
         'pg_foreign_data_wrapper'::regclass, w.oid, 0, false FROM pg_foreign_data_wrapper w \
         UNION ALL SELECT 'server', 0, s.srvname, NULL, s.srvowner, coalesce(s.srvacl, acldefault('S'::\"char\", s.srvowner)), \
         'pg_foreign_server'::regclass, s.oid, 0, false FROM pg_foreign_server s \
         UNION ALL SELECT 'large object', 0, m.oid::text, NULL, m.lomowner, coalesce(m.lomacl, acldefault('L'::\"char\", m.lomowner)), \
         'pg_largeobject'::regclass, m.oid, 0, false FROM pg_largeobject_metadata m) x \
         LEFT JOIN pg_namespace n ON n.oid = x.ns \
         WHERE (n.oid IS NULL OR n.nspname !~ '^pg_(toast|temp)') AND (NOT x.system \
         OR ((x.class, x.id, x.sub, x.acl) NOT IN (SELECT classoid, objoid, objsubid, initprivs FROM pg_init_privs) \
         AND (n.nspname <> 'information_schema' OR x.acl::text !~ '^\\{[^,]+=arwdDxt/[^,]+,=r/[^,]+\\}$')))"
    };
}

/// An object `o` as `GRANT` and `REVOKE` name it.
const TARGET: &str = "CASE o.level WHEN 'database' THEN format('DATABASE %I', o.name) WHEN 'schema' THEN format('SCHEMA %I', o.name) \
    WHEN 'sequence' THEN format('SEQUENCE %I.%I', o.schema, o.name) WHEN 'function' THEN 'ROUTINE ' || o.id::regprocedure \
    WHEN 'type' THEN format('TYPE %I.%I', o.schema, o.name) WHEN 'language' THEN format('LANGUAGE %I', o.name) \
    WHEN 'wrapper' THEN format('FOREIGN DATA WRAPPER %I', o.name) WHEN 'server' THEN format('FOREIGN SERVER %I', o.name) \
    WHEN 'large object' THEN 'LARGE OBJECT ' || o.name ELSE format('TABLE %I.%I', o.schema, o.name) END";

/// What objects had from the extension that made them, and those of the system from the start, as one `SELECT`.
macro_rules! initial {
    () => {
        "SELECT i.classoid AS class, i.objoid AS id, i.objsubid AS sub, i.privtype = 'i' AS system, b.grantee, \
         b.privilege_type AS privilege FROM pg_init_privs i CROSS JOIN LATERAL aclexplode(i.initprivs) b"
    };
}

/// Of an object `o` and an entry `a` of its access list: whether everybody has it since the information schema was made. That
/// comes too late in the making of a server to be among the initial privileges.
macro_rules! of_everybody {
    () => {
        "o.schema = 'information_schema' AND a.grantee = 0 AND a.privilege_type IN ('SELECT', 'USAGE') AND o.id < 16384"
    };
}

/// Rows by role: what it owns (`role`); how many objects there are at each level of each schema and what it may do with them; the
/// default privileges that are for it.
///
/// Privileges held on the same objects share one entry. It names these objects, or the others where they are fewer (`off`): so a
/// right on all tables costs no names at all. Two sorted arrays show the first object that a right lacks without comparing each
/// with each. `pg_database_owner` stands for the owner of the database, who has its rights as an owner.
pub(super) const QUERY: &str = concat!(
    "SELECT * FROM (WITH objects AS MATERIALIZED (",
    objects!(),
    "), initial AS MATERIALIZED (",
    initial!(),
    " WHERE i.privtype = 'e' OR i.objoid IN (SELECT id FROM objects WHERE system)), entries AS MATERIALIZED (SELECT o.level, o.schema, o.id, o.sub, e.grantee, a.privilege_type AS privilege, \
     min(CASE WHEN o.part IS NULL THEN o.name ELSE o.name || E'\\x1f' || o.part END) AS name, \
     bool_or(NOT e.own AND NOT e.born) AS given, bool_or(a.is_grantable AND NOT e.own) AS option, bool_and(o.system AND e.born) AS born \
     FROM objects o CROSS JOIN LATERAL aclexplode(o.acl) a \
     LEFT JOIN initial i ON i.class = o.class AND i.id = o.id AND i.sub = o.sub AND i.grantee = a.grantee \
     AND i.privilege = a.privilege_type AND i.system <= o.system \
     CROSS JOIN LATERAL (SELECT CASE WHEN a.grantee = 'pg_database_owner'::regrole THEN (SELECT datdba FROM pg_database \
     WHERE datname = current_database()) ELSE a.grantee END AS grantee, \
     a.grantee IN (o.owner, 'pg_database_owner'::regrole) AS own, i.id IS NOT NULL OR (",
    of_everybody!(),
    ") AS born) e GROUP BY 1, 2, 3, 4, 5, 6), \
     roles AS (SELECT oid, rolname::text AS name FROM pg_roles UNION ALL SELECT 0, 'PUBLIC'), \
     totals AS (SELECT level, schema, count(*) AS total, array_agg(name ORDER BY name COLLATE \"C\") AS names \
     FROM objects WHERE level <> 'column' GROUP BY 1, 2), \
     owned AS (SELECT owner, json_agg(json_build_object('level', level, 'schema', schema, 'count', count, 'example', example) \
     ORDER BY level, schema) AS objects FROM (SELECT owner, level, schema, count(*) AS count, min(name COLLATE \"C\") AS example \
     FROM objects WHERE level <> 'column' AND NOT system GROUP BY 1, 2, 3) each_level GROUP BY 1), \
     counts AS (SELECT grantee, level, schema, privilege, count(*) AS held, \
     array_agg(name ORDER BY name COLLATE \"C\") AS names, \
     coalesce(array_agg(name ORDER BY name COLLATE \"C\") FILTER (WHERE given), '{}') AS given, \
     coalesce(array_agg(name ORDER BY name COLLATE \"C\") FILTER (WHERE option), '{}') AS option FROM entries GROUP BY 1, 2, 3, 4), \
     shared AS (SELECT grantee, level, schema, held, names, given, option, array_agg(privilege) AS privileges \
     FROM counts GROUP BY 1, 2, 3, 4, 5, 6, 7), \
     rights AS (SELECT c.grantee, c.level, c.schema, json_agg(json_build_object('privileges', c.privileges, 'held', c.held, \
     'off', coalesce(c.held * 2 > t.total, false), 'names', CASE WHEN c.held = t.total THEN '[]'::json \
     WHEN c.held * 2 > t.total THEN (SELECT json_agg(u.one) FROM (SELECT unnest(t.names) EXCEPT SELECT unnest(c.names)) u(one)) \
     ELSE to_json(c.names) END, 'given', CASE WHEN c.given <> c.names THEN to_json(c.given) END, 'example', c.given[1], \
     'option', to_json(c.option), 'missing', CASE WHEN c.held < t.total THEN \
     (SELECT u.one FROM unnest(t.names, c.names) WITH ORDINALITY u(one, other, at) WHERE u.one IS DISTINCT FROM u.other \
     ORDER BY u.at LIMIT 1) END)) AS rights \
     FROM shared c LEFT JOIN totals t USING (level, schema) GROUP BY 1, 2, 3) \
     SELECT r.name AS key, 'role' AS level, current_database()::text AS schema, NULL::text AS creator, 0::bigint AS total, \
     o.objects AS rights FROM roles r LEFT JOIN owned o ON o.owner = r.oid \
     UNION ALL SELECT r.name, t.level, t.schema, NULL, t.total, g.rights FROM roles r \
     JOIN (SELECT DISTINCT grantee FROM entries WHERE NOT born) has ON has.grantee = r.oid CROSS JOIN totals t \
     LEFT JOIN rights g ON g.grantee = r.oid AND g.level = t.level AND g.schema = t.schema \
     UNION ALL SELECT r.name, g.level, g.schema, NULL, 0, g.rights FROM rights g JOIN roles r ON r.oid = g.grantee \
     WHERE g.level = 'column' \
     UNION ALL SELECT r.name, CASE d.defaclobjtype WHEN 'r' THEN 'future tables' WHEN 'S' THEN 'future sequences' \
     WHEN 'f' THEN 'future functions' WHEN 'T' THEN 'future types' ELSE 'future schemas' END, coalesce(n.nspname, '')::text, \
     pg_get_userbyid(d.defaclrole)::text, 1, json_agg(json_build_object('privileges', ARRAY[a.privilege_type], 'held', 1, \
     'off', true, 'names', '[]'::json, 'option', CASE WHEN a.is_grantable THEN '[\"\"]'::json END)) FILTER (WHERE a.privilege_type IS NOT NULL) \
     FROM pg_default_acl d CROSS JOIN LATERAL (SELECT grantee, privilege_type, is_grantable FROM aclexplode(d.defaclacl) \
     UNION ALL SELECT 0, NULL, false WHERE d.defaclnamespace = 0 AND d.defaclobjtype IN ('f', 'T')) a \
     JOIN roles r ON r.oid = a.grantee LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace \
     WHERE a.grantee <> d.defaclrole \
     GROUP BY 1, 2, 3, 4) answer"
);

/// A right to revoke.
pub(super) struct Revoke<'a> {
    /// The level, as the question calls it.
    pub level: &'static str,
    /// The schema; empty where the level has none.
    pub schema: &'a str,
    /// The only object; `None`: all but `besides`.
    pub object: Option<&'a str>,
    /// The column, of a right on one.
    pub part: Option<&'a str>,
    /// Objects on which it stays.
    pub besides: Vec<&'a str>,
    /// The privilege.
    pub privilege: &'a str,
    /// Only its grant option.
    pub option: bool,
}

impl Revoke<'_> {
    fn row(&self) -> String {
        let maybe = |word: Option<&str>| word.map_or_else(|| "NULL".to_owned(), literal);
        let besides: Vec<String> = self.besides.iter().map(|name| literal(name)).collect();
        format!(
            "({}, {}, {}, {}::text, {}::text, ARRAY[{}]::text[], {})",
            literal(self.level),
            literal(self.schema),
            literal(self.privilege),
            maybe(self.object),
            maybe(self.part),
            besides.join(", "),
            self.option
        )
    }
}

impl PostgresGrant {
    /// Revokes rights from the objects that have them and no others: `REVOKE ... ON ALL TABLES` would take from an owner what is
    /// its own, and misses what somebody else than the owner granted.
    pub(super) fn revoke(&self, rights: &[Revoke<'_>]) -> String {
        let who = match self.is_public() {
            true => "0".to_owned(),
            false => format!("(SELECT oid FROM pg_roles WHERE rolname = {})", literal(&self.role)),
        };
        let from = literal(&self.grantee());
        let list: Vec<String> = rights.iter().map(Revoke::row).collect();
        let list = list.join(", ");
        let objects = objects!();
        let (initial, of_everybody) = (initial!(), of_everybody!());
        block(&format!(
            "DECLARE todo record; BEGIN PERFORM pg_catalog.set_config('search_path', 'pg_catalog', true); FOR todo IN \
             SELECT format('REVOKE %s%s%s ON %s FROM %s CASCADE', CASE WHEN v.option THEN 'GRANT OPTION FOR ' END, a.privilege_type, \
             ' (' || quote_ident(o.part) || ')', {TARGET}, {from}) AS statement, \
             CASE WHEN a.grantor <> o.owner THEN a.grantor::regrole::text END AS grantor \
             FROM ({objects}) o CROSS JOIN LATERAL aclexplode(o.acl) a \
             JOIN (VALUES {list}) v(level, schema, privilege, object, part, besides, option) \
             ON v.level = o.level AND v.schema = o.schema AND v.privilege = a.privilege_type \
             AND coalesce(v.object = o.name, o.name <> ALL (v.besides)) AND coalesce(v.part = o.part, true) \
             WHERE a.grantee = {who} AND a.grantee <> o.owner AND NOT ({of_everybody}) \
             AND NOT EXISTS (SELECT FROM ({initial}) i WHERE i.class = o.class AND i.id = o.id AND i.sub = o.sub \
             AND i.grantee = a.grantee AND i.privilege = a.privilege_type AND i.system <= o.system) AND (a.is_grantable OR NOT v.option) \
             LOOP IF todo.grantor IS NOT NULL THEN EXECUTE 'SET LOCAL ROLE ' || todo.grantor; END IF; EXECUTE todo.statement; \
             SET LOCAL ROLE NONE; END LOOP; END"
        ))
    }

    /// Grants privileges on objects that no plain `GRANT` names: all types of a schema (`object` is `None`), or a function by its
    /// signature as the server writes it.
    pub(super) fn grant_each(&self, level: &str, schema: &str, object: Option<&str>, privileges: &str) -> String {
        let to = literal(&self.grantee());
        let objects = objects!();
        let (level_word, schema_word) = (literal(level), literal(schema));
        let (only, otherwise) = match object {
            None => (String::new(), String::new()),
            Some(name) => (
                format!(" AND o.name = {}", literal(name)),
                format!(
                    "IF NOT FOUND THEN RAISE EXCEPTION USING ERRCODE = 'undefined_object', MESSAGE = {}; END IF; ",
                    literal(&format!("the {level} `{schema}.{name}` does not exist"))
                ),
            ),
        };
        block(&format!(
            "DECLARE todo record; BEGIN PERFORM pg_catalog.set_config('search_path', 'pg_catalog', true); \
             FOR todo IN SELECT {TARGET} AS target FROM ({objects}) o WHERE o.level = {level_word} AND o.schema = {schema_word}{only} \
             LOOP EXECUTE format('GRANT %s ON %s TO %s', {}, todo.target, {to}); END LOOP; {otherwise}END",
            literal(privileges)
        ))
    }
}
