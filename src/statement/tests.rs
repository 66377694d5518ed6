#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::secret::Secret;

const PG: Dialect = Dialect::Postgres;
const MY: Dialect = Dialect::MariaDb;

fn pieces(dialect: Dialect, text: &str) -> Vec<(String, usize, usize)> {
    let (statements, _) = split(dialect, text);
    let piece = |one: &Statement<'_>| (one.text.to_owned(), one.first, one.last);
    statements.iter().map(piece).collect()
}

#[test]
fn statements_end_where_the_clients_end_them() {
    let texts = |dialect, text: &str| -> Vec<String> {
        pieces(dialect, text)
            .into_iter()
            .map(|piece| piece.0)
            .collect()
    };
    for (text, expected) in [
        (
            "select 1; select 'a;''b;' ;",
            vec!["select 1", "select 'a;''b;' "],
        ),
        ("-- a;\n/* b; /* c; */ d; */ select 2", vec!["select 2"]),
        (
            "do $x$ begin; $$ end $x$; select $1;",
            vec!["do $x$ begin; $$ end $x$", "select $1"],
        ),
        (
            "create rule r as on insert to t do (a; b); c;",
            vec!["create rule r as on insert to t do (a; b)", "c"],
        ),
        (
            "create function f() begin atomic select case when a then b end; end; x;",
            vec![
                "create function f() begin atomic select case when a then b end; end",
                "x",
            ],
        ),
        ("select E'\\';', 'x\\';", vec!["select E'\\';', 'x\\'"]),
        ("select \"a;b\";", vec!["select \"a;b\""]),
        ("\\connect x\nselect 1;", vec!["select 1"]),
    ] {
        assert_eq!(texts(PG, text), expected, "{text}");
    }
    for (text, expected) in [
        ("a; # b;\nc 'x\\';' ;", vec!["a", "c 'x\\';' "]),
        ("delimiter //\na; b//\ndelimiter ;\nc", vec!["a; b", "c"]),
        ("select 1\\G select `;`;", vec!["select 1", "select `;`"]),
        ("/*!40101 set x */;", vec!["/*!40101 set x */"]),
        ("select 5--3;", vec!["select 5--3"]),
    ] {
        assert_eq!(texts(MY, text), expected, "{text}");
    }
}

#[test]
fn a_statement_knows_its_lines() {
    let text = "\n-- note\nselect 1; select\n 2\n;\nlast";
    let expected = [("select 1", 3, 3), ("select\n 2\n", 3, 5), ("last", 6, 6)];
    let expected = expected.map(|(text, first, last)| (text.to_owned(), first, last));
    assert_eq!(pieces(PG, text), expected);
    assert_eq!(pieces(MY, text), expected);
}

#[test]
fn what_is_left_open_is_told() {
    for (dialect, text, what, line) in [
        (PG, "select 1;\nselect 'x;\n", "a quote", 2),
        (PG, "do $$\nx", "a quote", 1),
        (PG, "\n/* a /* b */", "a comment", 2),
        (PG, "select (1;\n", "a parenthesis", 1),
        (MY, "select `x", "a quote", 1),
    ] {
        assert_eq!(split(dialect, text).1, Some(Open { what, line }), "{text}");
    }
    assert_eq!(split(MY, "select (1;").1, None);
}

/// Some lines of ours, a file of the user, some lines of ours.
fn text(script: &str) -> Text {
    Text::plain("-- ours\n")
        .push_secret(Secret::new("two\nlines"))
        .push("\n")
        .push_file("sql/bad.sql", script)
        .push("\nours();\n")
}

fn found(dialect: Dialect, script: &str, said: &str) -> (usize, String, String) {
    let told = Told::read(dialect, said).unwrap();
    let source = told.source(dialect, &text(script)).unwrap();
    assert_eq!(source.file, "sql/bad.sql");
    (source.line, source.statement, source.message)
}

#[test]
fn an_error_of_psql_leads_to_the_line_of_the_user() {
    let script = "create table t(id int);\n-- x\n/* y\n*/ insert\n into\n tt values ('geheim');";
    let said = "2026 [4] ERROR:  relation\npsql:/d/10-provision.sql:9: ERROR:  42P01: relation \"tt\" does not exist\n\
        LINE 4:  tt values ('geheim');\n         ^\nLOCATION:  x, y.c:1\n";
    let words = (
        "insert\n into\n tt values ('…')".to_owned(),
        "relation \"tt\" does not exist (42P01)".to_owned(),
    );
    assert_eq!(found(PG, script, said), (6, words.0, words.1));
    let said = "psql:f:5: ERROR:  42P01: no\nLINE 1: select 2 from b\nDETAIL:  d\nHINT:  h\n";
    let script = "\nselect 1 from a; select 2 from b; select 3;";
    assert_eq!(
        found(PG, script, said),
        (
            2,
            "select 2 from b".to_owned(),
            "no; d; h (42P01)".to_owned()
        )
    );
    let said = "psql:f:9: ERROR:  42P01: no\nCONTEXT:  PL/pgSQL function inline_code_block line 3 at SQL statement\n";
    let script = "select 1;\nDO\n$$\nbegin\n  x;\nend $$;";
    assert_eq!(
        found(PG, script, said),
        (5, "DO\n$$…$$".to_owned(), "no (42P01)".to_owned())
    );
}

#[test]
fn an_error_of_mariadb_leads_to_the_line_of_the_user() {
    let script = "a;\ndelimiter //\ncreate procedure p()\nbegin\n  selec 1;\nend//";
    let said = "--------------\ncreate procedure p()\nbegin\n  selec 1;\nend\n--------------\n\n\
        ERROR 1064 (42000) at line 6: You have an error near '1;\nend' at line 3\n";
    let (line, statement, message) = found(MY, script, said);
    assert_eq!(
        (line, statement.as_str()),
        (5, "create procedure p()\nbegin\n  selec 1;\nend")
    );
    assert_eq!(message, "You have an error near '1; end' at line 3 (1064)");
    let said = "--------------\nb\n--------------\n\nERROR 1146 (42S02) at line 4: Table 'd.b' doesn't exist\n";
    assert_eq!(
        found(MY, "a; b; c;", said),
        (
            1,
            "b".to_owned(),
            "Table 'd.b' doesn't exist (1146)".to_owned()
        )
    );
    assert_eq!(Told::read(MY, "ERROR 2002 (HY000): Can't connect\n"), None);
}

#[test]
fn a_quote_that_swallows_what_follows_is_named() {
    let said = "psql:f:12: ERROR:  syntax error at or near \"x\"\n";
    assert_eq!(
        found(PG, "select 1;\nselect 'x;\n", said),
        (
            2,
            String::new(),
            "a quote is opened here and never closed".to_owned()
        )
    );
}

#[test]
fn a_statement_of_ours_is_in_no_file() {
    let told = Told::read(PG, "psql:f:1: ERROR:  no\n").unwrap();
    assert_eq!(told.source(PG, &text("select 1;")), None);
    let told = Told::read(PG, "psql:f:9: ERROR:  no\n").unwrap();
    assert_eq!(told.source(PG, &text("select 1;")), None);
}

#[test]
fn no_secret_is_shown() {
    let script = "create user u identified by 'hunter2' x;";
    let said = "ERROR 1064 (42000) at line 4: You have an error near 'by 'hunter2' x' at line 1\n";
    let (_, statement, message) = found(MY, script, said);
    assert_eq!(statement, "create user u identified by '…' x");
    assert!(
        !message.contains("hunter2") && message.contains("[hidden]"),
        "{message}"
    );
    let script = "insert into password values ('hunter2');";
    let said = "psql:f:4: ERROR:  22P02: invalid input syntax for type integer: \"hunter2\"\n";
    let (_, _, message) = found(PG, script, said);
    assert_eq!(
        message,
        "invalid input syntax for type integer: \"[hidden]\" (22P02)"
    );
    assert_eq!(shown(PG, &"é".repeat(500)).chars().count(), 401);
}
