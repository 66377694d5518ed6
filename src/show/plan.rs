//! A plan, as people read it: what is fine is counted, what changes is named with its reason, its cost and where it comes from.

use std::collections::{BTreeMap, HashMap, HashSet};

use similar::{ChangeTag, TextDiff};

use crate::command::Place;
use crate::error;
use crate::plan::{Action, Change, Difference, Moved, Plan, Since};
use crate::resource::{Field, Id, Impact};
use crate::show::{Paint, clean, count, failure, pad, short};

/// What stands around a plan.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// As in `local`.
    pub environment: &'a str,
    /// As in `iact`.
    pub project: &'a str,
    /// As in `Docker engine at /var/run/docker.sock`.
    pub target: &'a str,
    /// What was decided while looking: a port that moved.
    pub notes: &'a [String],
    /// The command that carries it out; none where the plan is about to be carried out.
    pub next: Option<&'a str>,
    /// Everything is listed, nothing folded.
    pub verbose: bool,
    /// Colours.
    pub paint: Paint,
}

/// The whole plan, its refusals left out (see [`refusals`]).
pub fn render(head: &Head<'_>, plan: &Plan) -> String {
    let mut out = format!(
        "{}, {}\n",
        head.paint
            .bold(&clean(&format!("{} {}", head.project, head.environment))),
        clean(head.target)
    );
    let body = body(head, plan);
    if !body.is_empty() {
        out.push('\n');
        out.push_str(&body);
    }
    out.push('\n');
    out.push_str(&summary(head, plan));
    out.push('\n');
    out
}

/// Which machines could not be asked, and why a plan must not be carried out: one error each.
pub fn refusals(plan: &Plan, paint: Paint) -> String {
    let unseen = plan.unseen.iter().map(|unseen| &unseen.failure);
    let unseen = unseen.map(|failure| failure::error(&failure.message, &failure.hints, paint));
    let refused = plan.refusals.iter();
    let refused = refused.map(|refusal| failure::error(&refusal.message, &refusal.hints, paint));
    unseen.chain(refused).collect()
}

fn body(head: &Head<'_>, plan: &Plan) -> String {
    let folds = if head.verbose {
        BTreeMap::new()
    } else {
        folds(plan)
    };
    let folded: HashSet<&Id> = folds
        .values()
        .flat_map(|fold| fold.made.iter().chain(&fold.waits))
        .map(|change| &change.id)
        .collect();
    let refused: HashSet<&Id> = plan.refusals.iter().map(|refusal| &refusal.id).collect();
    let listed: Vec<&Change> = plan
        .changes
        .iter()
        .filter(|change| refused.contains(&change.id) || !folded.contains(&change.id))
        .collect();
    let (files, listed): (Vec<&Change>, Vec<&Change>) = listed
        .into_iter()
        .partition(|change| !head.verbose && is_new_file(change) && !refused.contains(&change.id));
    let width = width(listed.iter().map(|change| change.id.as_str()), 60);
    let mut out = String::new();
    if !files.is_empty() {
        let symbol = head.paint.green("+");
        let what = pad(&count(files.len(), "generated file"), width);
        out.push_str(&format!("  {symbol} {what}  create\n"));
    }
    for change in &listed {
        out.push_str(&line(head, change, width, refused.contains(&change.id)));
        out.push_str(&fields(head, change));
        if let Some(fold) = folds.get(&change.id) {
            out.push_str(&fold.line("made by its first start", &fold.made, head.paint));
            out.push_str(&fold.line("waits for it", &fold.waits, head.paint));
        }
    }
    let changed: HashSet<&Id> = plan.changes.iter().map(|change| &change.id).collect();
    let mut said = HashSet::new();
    for refusal in &plan.refusals {
        if !changed.contains(&refusal.id) && said.insert(&refusal.id) {
            let id = pad(&clean(refusal.id.as_str()), width);
            out.push_str(&format!("  {} {id}  refused\n", head.paint.red("!")));
        }
    }
    for unseen in &plan.unseen {
        let machine = pad(&clean(&unseen.machine), width);
        let things = count(unseen.resources, "resource");
        let symbol = head.paint.cyan("?");
        out.push_str(&format!(
            "  {symbol} {machine}  cannot be asked, so nothing is known of {things}\n"
        ));
    }
    for (id, awaited) in &plan.waiting {
        let id = pad(&clean(id.as_str()), width);
        let why = clean(&awaited.reason());
        out.push_str(&format!("  {} {id}  wait: {why}\n", head.paint.cyan("?")));
    }
    for id in &plan.orphans {
        let id = clean(id.as_str());
        let word = crate::quote::word(&id);
        out.push_str(&format!(
            "  {} {id} holds data and is no longer declared; `--destroy-data={word}` removes it\n",
            head.paint.dim("kept:")
        ));
    }
    for id in &plan.released {
        let id = clean(id.as_str());
        out.push_str(&format!(
            "  {} {id} is no longer declared; it was there before and stays as it is\n",
            head.paint.dim("kept:")
        ));
    }
    for note in head.notes {
        out.push_str(&format!("  {} {}\n", head.paint.dim("note:"), clean(note)));
    }
    out
}

/// Generated files are many and alike; one that is made is only counted, one that changes is named.
fn is_new_file(change: &Change) -> bool {
    change.action == Action::Create && change.place == Place::Folder
}

/// What lies inside a container and is not listed for itself.
#[derive(Default)]
struct Fold<'a> {
    made: Vec<&'a Change>,
    waits: Vec<&'a Change>,
}

impl Fold<'_> {
    fn line(&self, words: &str, changes: &[&Change], paint: Paint) -> String {
        if changes.is_empty() {
            return String::new();
        }
        let text = format!("{words}: {}", nouns(changes));
        format!("      {}\n", paint.dim(&text))
    }
}

/// Changes inside a database server that the server's own change brings about or has to come before: its container's, or on a
/// machine that of its cluster or unit, which is the last thing of the machine that they need.
fn folds(plan: &Plan) -> BTreeMap<Id, Fold<'_>> {
    let outside: HashMap<&Id, &Place> = plan
        .changes
        .iter()
        .map(|change| (&change.id, &change.place))
        .collect();
    let is_outside = |id: &&Id| {
        outside
            .get(*id)
            .is_some_and(|place| matches!(place, Place::Machine(_)))
    };
    let mut holders: HashMap<&str, Id> = HashMap::new();
    for change in &plan.changes {
        let Place::Sql(server, _) = &change.place else {
            continue;
        };
        let container = Id::short("container", &server.service);
        if outside.contains_key(&container) {
            holders.insert(&server.service, container);
        } else if let Some(need) = change.needs.iter().rfind(is_outside) {
            holders
                .entry(&server.service)
                .or_insert_with(|| need.clone());
        }
    }
    let mut folds: BTreeMap<Id, Fold<'_>> = BTreeMap::new();
    for change in &plan.changes {
        let Place::Sql(server, _) = &change.place else {
            continue;
        };
        let Some(holder) = holders.get(server.service.as_str()) else {
            continue;
        };
        if change.action == Action::Wait {
            folds.entry(holder.clone()).or_default().waits.push(change);
        } else if change.first_start {
            folds.entry(holder.clone()).or_default().made.push(change);
        }
    }
    folds
}

/// `4 roles, 2 databases`: counted by the last word of the kind.
fn nouns(changes: &[&Change]) -> String {
    let mut order = Vec::new();
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for change in changes {
        let kind = change.id.kind();
        let noun = kind.rsplit('_').next().unwrap_or(kind);
        if !counts.contains_key(noun) {
            order.push(noun);
        }
        *counts.entry(noun).or_default() += 1;
    }
    let texts: Vec<_> = order.iter().map(|noun| count(counts[noun], noun)).collect();
    texts.join(", ")
}

fn width<'a>(texts: impl Iterator<Item = &'a str>, most: usize) -> usize {
    texts
        .map(|text| clean(text).chars().count())
        .filter(|width| *width <= most)
        .max()
        .unwrap_or_default()
}

fn line(head: &Head<'_>, change: &Change, width: usize, refused: bool) -> String {
    let paint = head.paint;
    let symbol = match change.action {
        _ if refused => paint.red("!"),
        Action::Create => paint.green("+"),
        Action::Update => paint.yellow("~"),
        Action::Recreate => paint.yellow("±"),
        Action::Replace => paint.red("!"),
        Action::Remove => paint.red("-"),
        Action::Wait | Action::Unknown => paint.cyan("?"),
    };
    let mut words = sentence(change);
    if refused {
        words.push_str("; refused");
    }
    let id = pad(&clean(change.id.as_str()), width);
    format!("  {symbol} {id}  {words}\n")
}

/// What a change does and costs, in a few words.
pub(crate) fn sentence(change: &Change) -> String {
    let reason = clean(&change.reason);
    let name = change.id.as_str();
    let name = clean(name.split_once('.').map_or(name, |(_, name)| name));
    let mut words = match (change.action, change.impact) {
        (Action::Create, _) => {
            let highlights = highlights(change);
            match highlights.is_empty() {
                true => "create".to_owned(),
                false => format!("create: {highlights}"),
            }
        }
        // What does not run has nobody to cut off: what is done says more than what it costs.
        (Action::Update, _) if is_down(change) => {
            let says = change.steps.first().map(|step| clean(&step.says));
            format!("update: {}", says.unwrap_or_default())
        }
        (Action::Update, Impact::None) => "update, no downtime".to_owned(),
        (Action::Update, Impact::Reload) => {
            "update, the server reads its settings again".to_owned()
        }
        (Action::Update, _) => {
            "update with a restart, its clients are cut off for a moment".to_owned()
        }
        (Action::Recreate, _) => format!("recreate, some seconds without `{name}`"),
        (Action::Replace, _) => "replace, which only dump and restore can do".to_owned(),
        (Action::Remove, _) => "remove".to_owned(),
        (Action::Wait, _) => return format!("wait: {reason}"),
        (Action::Unknown, _) => return format!("unknown: {reason}"),
    };
    if !matches!(reason.as_str(), "" | "differs" | "not there") {
        words.push_str(&format!(", {reason}"));
    }
    words
}

fn is_down(change: &Change) -> bool {
    !change.steps.is_empty()
        && change
            .fields
            .iter()
            .any(|difference| difference.field.name == "state")
}

/// What is said of something that does not run, where the field is about that.
fn failing(difference: &Difference) -> Option<&str> {
    let field = &difference.field;
    matches!(&*field.name, "state" | "running")
        .then_some(field.from.as_deref())
        .flatten()
}

/// What is worth saying of a thing that is made: how an image is had, which ports are opened.
fn highlights(change: &Change) -> String {
    let said: Vec<_> = change
        .fields
        .iter()
        .map(|difference| &difference.field)
        .filter(|field| field.name.starts_with("port ") || change.id.kind() == "image")
        .filter_map(|field| field.to.as_deref())
        .map(clean)
        .collect();
    said.join(", ")
}

fn fields(head: &Head<'_>, change: &Change) -> String {
    let always = matches!(
        change.action,
        Action::Update | Action::Recreate | Action::Replace
    );
    if !always && !head.verbose {
        return String::new();
    }
    let rows: Vec<[String; 4]> = change
        .fields
        .iter()
        .map(|difference| row(head, change, difference))
        .collect();
    let mut widths = [0; 3];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    for ([name, value, origin, moved], difference) in rows.iter().zip(&change.fields) {
        let text = format!(
            "      {}   {}   {}   {}",
            pad(name, widths[0]),
            pad(value, widths[1]),
            head.paint.dim(&pad(origin, widths[2])),
            moved
        );
        out.push_str(text.trim_end());
        out.push('\n');
        // How something fails to run is the reason for all of it, and is told whole.
        if let Some(whole) = failing(difference).filter(|whole| !value.contains(whole)) {
            out.push_str(&format!("        {}\n", clean(whole)));
        }
        if let Some((found, wanted)) = &difference.texts {
            out.push_str(&lines(head, found, wanted));
        }
    }
    if head.verbose {
        for step in &change.steps {
            let says = format!("      step: {}", clean(&step.says));
            out.push_str(&head.paint.dim(&says));
            out.push('\n');
        }
    }
    out
}

/// Lines of a text's difference that are shown without `--verbose`, and characters of each.
const LINES: usize = 40;
const WIDE: usize = 160;

/// The lines in which a text differs, each with two around it.
fn lines(head: &Head<'_>, found: &str, wanted: &str) -> String {
    let (most, wide) = match head.verbose {
        true => (usize::MAX, usize::MAX),
        false => (LINES, WIDE),
    };
    let paint = head.paint;
    let diff = TextDiff::configure()
        .timeout(std::time::Duration::from_millis(200))
        .diff_lines(found, wanted);
    let mut shown = Vec::new();
    for group in diff.grouped_ops(2) {
        if !shown.is_empty() {
            shown.push(paint.dim("..."));
        }
        for one in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let text = short(one.value().trim_end_matches('\n'), wide);
            let end = match one.missing_newline() {
                true => paint.dim(" (no line end)"),
                false => String::new(),
            };
            shown.push(match one.tag() {
                ChangeTag::Delete => paint.red(&format!("- {text}")) + &end,
                ChangeTag::Insert => paint.green(&format!("+ {text}")) + &end,
                ChangeTag::Equal => paint.dim(&format!("  {text}")),
            });
        }
    }
    let more = shown.len().saturating_sub(most);
    shown.truncate(most);
    let mut out: String = shown
        .iter()
        .map(|line| format!("        {}\n", line.trim_end()))
        .collect();
    if more > 0 {
        let rest = format!("{} more: `--verbose` shows them", count(more, "line"));
        out.push_str(&format!("        {}\n", paint.dim(&rest)));
    }
    out
}

/// Who moved, in words; empty where nobody remembers.
pub(crate) fn moved(change: &Change, difference: &Difference) -> String {
    match (change.action, difference.moved) {
        (Action::Create, _) => String::new(),
        (_, Moved::File) => "changed in the file".to_owned(),
        (_, Moved::Machine) => format!("changed on the machine{}", since(difference.since)),
        (_, Moved::Both) => format!(
            "changed in the file and on the machine{}",
            since(difference.since)
        ),
        (_, Moved::Unknown) => String::new(),
    }
}

fn row(head: &Head<'_>, change: &Change, difference: &Difference) -> [String; 4] {
    let moved = moved(change, difference);
    let most = if head.verbose { 4096 } else { 48 };
    let made = change.action == Action::Create;
    [
        short(&difference.field.name, most),
        value(&difference.field, made, most),
        clean(&difference.origin),
        moved,
    ]
}

/// ` after 2026-11-25 10:42 UTC`.
pub(crate) fn since(since: Option<Since>) -> String {
    let (word, seconds) = match since {
        None => return String::new(),
        Some(Since::At(seconds)) => ("at", seconds),
        Some(Since::After(seconds)) => ("after", seconds),
    };
    match jiff::Timestamp::from_second(seconds) {
        Ok(time) => format!(" {word} {}", time.strftime("%Y-%m-%d %H:%M UTC")),
        Err(_) => String::new(),
    }
}

/// `7 -> 50`; what is hidden says only that it differs.
fn value(field: &Field, made: bool, most: usize) -> String {
    let said = |text: &str| short(text, most);
    match (field.from.as_deref(), field.to.as_deref()) {
        (Some("differs"), Some("as declared")) => "differs".to_owned(),
        (None, Some(to)) if made => said(to),
        (None, Some(to)) => format!("none -> {}", said(to)),
        (Some(from), Some(to)) => format!("{} -> {}", said(from), said(to)),
        (Some(from), None) => format!("{} -> none", said(from)),
        (None, None) => String::new(),
    }
}

fn summary(head: &Head<'_>, plan: &Plan) -> String {
    if plan.changes.is_empty() && plan.refusals.is_empty() && plan.unseen.is_empty() {
        let (things, are) = match plan.as_wanted {
            1 => ("1 resource".to_owned(), "is"),
            number => (count(number, "resource"), "are"),
        };
        return format!("Nothing to do: {things} {are} as wanted.");
    }
    if plan.changes.is_empty() && plan.refusals.is_empty() {
        let unseen = count(plan.unseen.len(), "machine");
        return format!(
            "Nothing is known of {unseen}; {} as wanted.",
            plan.as_wanted
        );
    }
    let mut out = format!("{}.", tally(plan));
    if plan.as_wanted > 0 {
        out.push_str(&format!(" {} as wanted.", plan.as_wanted));
    }
    if !plan.refusals.is_empty() {
        let reasons = count(plan.refusals.len(), "reason");
        out.push_str(&format!(" Refused for {reasons}."));
    } else if let (true, Some(next)) = (acts(plan), head.next) {
        out.push_str(&format!(" Apply with `{next}`."));
    }
    out
}

/// Whether anything would be done: not all of it waits or cannot be seen.
pub fn acts(plan: &Plan) -> bool {
    plan.changes
        .iter()
        .any(|change| !matches!(change.action, Action::Wait | Action::Unknown))
}

/// `4 changes: 1 create, 1 update, 1 recreate, 1 waits`.
pub fn tally(plan: &Plan) -> String {
    const ORDER: [(Action, &str); 7] = [
        (Action::Create, "create"),
        (Action::Update, "update"),
        (Action::Recreate, "recreate"),
        (Action::Replace, "replace"),
        (Action::Remove, "remove"),
        (Action::Wait, "waits"),
        (Action::Unknown, "unknown"),
    ];
    let parts: Vec<_> = ORDER
        .iter()
        .filter_map(|(action, word)| {
            let number = plan.changes.iter().filter(|c| c.action == *action).count();
            let word = if number > 1 {
                word.trim_end_matches('s')
            } else {
                word
            };
            (number > 0).then(|| format!("{number} {word}"))
        })
        .collect();
    let changes = count(plan.changes.len(), "change");
    match parts.is_empty() {
        true => changes,
        false => format!("{changes}: {}", parts.join(", ")),
    }
}

/// The kinds of bad end that a plan has by itself: why it is refused, and what of it cannot be seen.
pub fn verdicts(plan: &Plan) -> Vec<error::Kind> {
    let refused: HashSet<&Id> = plan.refusals.iter().map(|refusal| &refusal.id).collect();
    let mut kinds: Vec<_> = plan.refusals.iter().map(|refusal| refusal.kind).collect();
    kinds.extend(plan.unseen.iter().map(|unseen| unseen.failure.kind));
    let unseen =
        |change: &&Change| change.action == Action::Unknown && !refused.contains(&change.id);
    if plan.changes.iter().any(|change| unseen(&change)) {
        kinds.push(error::Kind::Unreachable);
    }
    kinds
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::command::{Dialect, Seat, Server};
    use crate::plan::Refusal;
    use crate::resource::Same;

    fn server(service: &str) -> Arc<Server> {
        Arc::new(Server {
            service: service.to_owned(),
            dialect: Dialect::Postgres,
            superuser: "postgres".to_owned(),
            seat: Seat::Container,
        })
    }

    pub(crate) fn change(id: &str, action: Action) -> Change {
        Change {
            id: Id::parse(id),
            place: Place::Engine,
            action,
            fields: Vec::new(),
            reason: "differs".to_owned(),
            impact: Impact::None,
            needs: Vec::new(),
            steps: Vec::new(),
            first_start: false,
            ledger: None,
        }
    }

    fn differs(field: Field, origin: &str, moved: Moved) -> Difference {
        Difference {
            field,
            origin: origin.to_owned(),
            since: (moved == Moved::Machine).then_some(Since::After(1_764_067_320)),
            moved,
            texts: None,
        }
    }

    /// A plan with something of everything.
    pub(crate) fn sample() -> Plan {
        let mut role = change("postgres_role.analytics:django_user", Action::Update);
        role.place = Place::Sql(server("analytics"), None);
        role.fields = vec![
            differs(
                Field::hidden("password", true, Same::No, Impact::None),
                "local.toml:24",
                Moved::Machine,
            ),
            differs(
                Field::new(
                    "connection_limit",
                    Some("7".to_owned()),
                    "no limit",
                    Impact::None,
                ),
                "default",
                Moved::Machine,
            ),
        ];
        let mut web = change("container.iact", Action::Recreate);
        web.impact = Impact::Recreate;
        web.fields = vec![differs(
            Field::new(
                "env DJANGO_DEBUG",
                Some("true\x1b[2J".to_owned()),
                "false",
                Impact::Recreate,
            ),
            "local.toml:51",
            Moved::File,
        )];
        let mut ivr = change("container.ivr", Action::Create);
        ivr.reason = "not there".to_owned();
        ivr.fields = vec![differs(
            Field::new("port 3306", None, "127.0.0.1:13306", Impact::Recreate),
            "local.toml:60",
            Moved::Unknown,
        )];
        let inside = |id: &str, action, first_start| Change {
            place: Place::Sql(server("ivr"), None),
            first_start,
            reason: "`ivr` is down".to_owned(),
            ..change(id, action)
        };
        let mut file = change("generated_file.docker-compose.yml", Action::Create);
        file.place = Place::Folder;
        let mut gone = change("postgres_role.analytics:old", Action::Remove);
        gone.reason = "no longer declared".to_owned();
        let mut lost = change("postgres_role.analytics:odd", Action::Unknown);
        lost.reason = "permission denied".to_owned();
        Plan {
            changes: vec![
                role,
                web,
                ivr,
                inside("mariadb_user.ivr:a@%", Action::Create, true),
                inside("mariadb_user.ivr:b@%", Action::Create, true),
                inside("mariadb_database.ivr:iact_ivr", Action::Create, true),
                inside("mariadb_grant.ivr:a@%", Action::Wait, false),
                file,
                gone,
                lost,
            ],
            as_wanted: 17,
            orphans: vec![Id::short("volume", "iact_old_data")],
            ..Plan::default()
        }
    }

    fn head() -> Head<'static> {
        Head {
            environment: "local",
            project: "iact",
            target: "Docker engine at /var/run/docker.sock",
            notes: &[],
            next: Some("provision apply local"),
            verbose: false,
            paint: Paint::default(),
        }
    }

    #[test]
    fn a_plan_reads_like_a_letter() {
        assert_eq!(
            render(&head(), &sample()),
            "\
iact local, Docker engine at /var/run/docker.sock

  + 1 generated file                     create
  ~ postgres_role.analytics:django_user  update, no downtime
      password           differs         local.toml:24   changed on the machine after 2025-11-25 10:42 UTC
      connection_limit   7 -> no limit   default         changed on the machine after 2025-11-25 10:42 UTC
  ± container.iact                       recreate, some seconds without `iact`
      env DJANGO_DEBUG   true\\x1b[2J -> false   local.toml:51   changed in the file
  + container.ivr                        create: 127.0.0.1:13306
      made by its first start: 2 users, 1 database
      waits for it: 1 grant
  - postgres_role.analytics:old          remove, no longer declared
  ? postgres_role.analytics:odd          unknown: permission denied
  kept: volume.iact_old_data holds data and is no longer declared; `--destroy-data=volume.iact_old_data` removes it

10 changes: 5 create, 1 update, 1 recreate, 1 remove, 1 waits, 1 unknown. 17 as wanted. Apply with `provision apply local`.
"
        );
    }

    #[test]
    fn the_lines_of_a_text_that_differ_are_shown_and_nothing_obeys_them() {
        let mut motd = change("file.web1:/etc/motd", Action::Update);
        let shown = |digest: &str| format!("sha256 {digest}");
        let field = Field::new("content", Some(shown("1a")), shown("2b"), Impact::None);
        let found = "one\ntwo\nthree\nfour\nfive \x1b[2J\n";
        let wanted = "one\ntwo\nthree\nfour\n5\nsix";
        motd.fields = vec![Difference {
            texts: Some((found.to_owned(), wanted.to_owned())),
            ..differs(field, "prod.toml:30", Moved::Machine)
        }];
        let plan = Plan {
            changes: vec![motd],
            ..Plan::default()
        };
        let text = render(&head(), &plan);
        let body = "\
      content   sha256 1a -> sha256 2b   prod.toml:30   changed on the machine after 2025-11-25 10:42 UTC
          three
          four
        - five \\x1b[2J
        + 5
        + six (no line end)
";
        assert!(text.contains(body), "{text}");
    }

    #[test]
    fn nothing_to_do_is_said_in_a_line() {
        let plan = Plan {
            as_wanted: 33,
            ..Plan::default()
        };
        assert_eq!(
            render(&head(), &plan),
            "iact local, Docker engine at /var/run/docker.sock\n\nNothing to do: 33 resources are as wanted.\n"
        );
    }

    #[test]
    fn a_refused_plan_offers_nothing_to_apply() {
        let mut plan = Plan::default();
        let mut database = change("postgres_database.analytics:iact", Action::Replace);
        database.fields = vec![differs(
            Field::new(
                "encoding",
                Some("LATIN1".to_owned()),
                "UTF8",
                Impact::DataRisk,
            ),
            "local.toml:9",
            Moved::File,
        )];
        let refusal = |id: &Id| Refusal {
            kind: error::Kind::Data,
            id: id.clone(),
            message: format!("`{id}` cannot be altered"),
            hints: vec!["dump it first".to_owned()],
        };
        plan.refusals = vec![refusal(&database.id), refusal(&Id::short("image", "x"))];
        plan.changes = vec![database];
        assert_eq!(
            render(&head(), &plan),
            "\
iact local, Docker engine at /var/run/docker.sock

  ! postgres_database.analytics:iact  replace, which only dump and restore can do; refused
      encoding   LATIN1 -> UTF8   local.toml:9   changed in the file
  ! image.x                           refused

1 change: 1 replace. Refused for 2 reasons.
"
        );
        assert_eq!(
            refusals(&plan, Paint::default()),
            "\
error: `postgres_database.analytics:iact` cannot be altered
  help: dump it first
error: `image.x` cannot be altered
  help: dump it first
"
        );
        assert_eq!(verdicts(&plan), [error::Kind::Data, error::Kind::Data]);
    }

    #[test]
    fn what_cannot_be_seen_is_no_success() {
        assert_eq!(verdicts(&sample()), [error::Kind::Unreachable]);
    }

    #[test]
    fn verbose_lists_what_is_folded() {
        let head = Head {
            verbose: true,
            ..head()
        };
        let text = render(&head, &sample());
        assert!(
            text.contains("  + mariadb_database.ivr:iact_ivr "),
            "{text}"
        );
        assert!(
            text.contains("      port 3306   127.0.0.1:13306   local.toml:60\n"),
            "{text}"
        );
    }
}
