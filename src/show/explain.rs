//! One resource, field by field: what is wanted, where that comes from, what is live, and what would be done next.

use crate::resource::{Field, Impact, Same};
use crate::show::{Paint, clean, pad, short};

/// How many of the things it needs are named.
const NEEDS: usize = 6;

/// What is known of a resource.
#[derive(Clone, Debug, Default)]
pub struct Explained {
    /// As in `container.iact`.
    pub id: String,
    /// Where it is declared: `environments/local.toml:24:1`.
    pub declared: String,
    /// `there`, `not there`, or why it cannot be told.
    pub live: String,
    /// Every managed field with where its wanted value comes from.
    pub fields: Vec<(Field, String)>,
    /// What it needs, by id.
    pub needs: Vec<String>,
    /// What the next apply would do, step by step.
    pub next: Vec<String>,
}

/// The explanation as text.
pub fn render(explained: &Explained, paint: Paint) -> String {
    let mut out = format!("{}\n", paint.bold(&clean(&explained.id)));
    let mut about = |word: &str, text: &str| {
        if !text.is_empty() {
            out.push_str(&format!("  {} {text}\n", pad(&format!("{word}:"), 9)));
        }
    };
    about("declared", &clean(&explained.declared));
    about("live", &clean(&explained.live));
    about("needs", &clean(&needs(&explained.needs)));
    let rows: Vec<[String; 5]> = explained.fields.iter().map(row).collect();
    if !rows.is_empty() {
        let heading = ["FIELD", "WANTED", "FROM", "LIVE", "SAME"];
        let rows: Vec<Vec<String>> = rows.into_iter().map(Vec::from).collect();
        out.push('\n');
        for line in super::table::render(&heading, &rows, paint).lines() {
            out.push_str(&format!("  {line}\n"));
        }
    }
    out.push('\n');
    match explained.next.as_slice() {
        [] => out.push_str("  Next: nothing, it is as wanted.\n"),
        steps => {
            out.push_str("  Next:\n");
            for step in steps {
                out.push_str(&format!("    - {}\n", clean(step)));
            }
        }
    }
    out
}

/// The first of them, and how many more there are: an application needs all that is in its databases.
fn needs(ids: &[String]) -> String {
    let named = ids.iter().take(NEEDS).map(String::as_str);
    let named = named.collect::<Vec<_>>().join(", ");
    match ids.len().saturating_sub(NEEDS) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

fn row((field, origin): &(Field, String)) -> [String; 5] {
    let same = match (field.same, field.impact) {
        (Same::Yes, _) => "yes".to_owned(),
        (Same::Unknown, _) => "cannot be told".to_owned(),
        (Same::No, Impact::None) => "no".to_owned(),
        (Same::No, impact) => format!("no, changing it costs: {}", impact.word()),
    };
    let shown = |value: &Option<String>| value.as_deref().map_or("-".to_owned(), |v| short(v, 60));
    [
        short(&field.name, 60),
        shown(&field.to),
        clean(origin),
        shown(&field.from),
        same,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_says_where_it_comes_from() {
        let explained = Explained {
            id: "postgres_role.analytics:etl".to_owned(),
            declared: "environments/local.toml:24:1".to_owned(),
            live: "there".to_owned(),
            needs: vec!["container.analytics".to_owned()],
            fields: vec![
                (
                    Field::hidden("password", true, Same::Yes, Impact::None),
                    "local.toml:25".to_owned(),
                ),
                (
                    Field::new("createdb", Some("yes".to_owned()), "no", Impact::None),
                    "default".to_owned(),
                ),
            ],
            next: vec!["alter the role".to_owned()],
        };
        assert_eq!(
            render(&explained, Paint::default()),
            "\
postgres_role.analytics:etl
  declared: environments/local.toml:24:1
  live:     there
  needs:    container.analytics

  FIELD     WANTED       FROM           LIVE         SAME
  password  as declared  local.toml:25  as declared  yes
  createdb  no           default        yes          no

  Next:
    - alter the role
"
        );
    }
}
