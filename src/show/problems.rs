//! Mistakes in environment files, as people read them: the line and a caret, unless the line may hold a secret.

use annotate_snippets::{
    Annotation, AnnotationKind, Group, Level as Weight, Origin as Spot, Renderer, Snippet,
};

use crate::error::{Level, Problem};

/// The longest line that is shown.
const LINE: usize = 200;

/// Problems, one after the other, each ending with an empty line.
pub fn render(problems: &[Problem], colour: bool) -> String {
    let renderer = if colour {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    let renderer = renderer.term_width(LINE + 20);
    let mut out = String::new();
    for problem in problems {
        out.push_str(&renderer.render(&[group(problem)]));
        out.push_str("\n\n");
    }
    out
}

fn group(problem: &Problem) -> Group<'static> {
    let weight = match problem.level {
        Level::Error => Weight::ERROR,
        Level::Warning => Weight::WARNING,
    };
    let title = weight.primary_title(visible(&problem.message));
    let mut group = match excerpt(problem) {
        Some(snippet) => title.element(snippet),
        None => match spot(problem) {
            Some(spot) => title.element(spot),
            None => Group::with_title(title),
        },
    };
    if let Some(help) = &problem.help {
        group = group.element(Weight::HELP.message(visible(help)));
    }
    group
}

/// File, line and column only.
fn spot(problem: &Problem) -> Option<Spot<'static>> {
    let origin = &problem.origin;
    let path = visible(&origin.source()?.path);
    Some(
        Spot::path(path)
            .line(origin.line()?)
            .char_column(origin.column()?),
    )
}

/// The one line on which the mistake begins, with a caret.
fn excerpt(problem: &Problem) -> Option<Snippet<'static, Annotation<'static>>> {
    if problem.secret {
        return None;
    }
    let source = problem.origin.source()?;
    let span = problem.origin.span();
    let before = source.text.get(..span.start)?;
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    let rest = source.text.get(span.start..)?;
    let end = rest
        .find('\n')
        .map_or(source.text.len(), |at| span.start + at);
    let line = source.text.get(start..end)?;
    if line.chars().nth(LINE).is_some() {
        return None;
    }
    // Escaping moves the caret, so the three parts are escaped one by one.
    let last = span.end.clamp(span.start, end);
    let head = visible(source.text.get(start..span.start)?);
    let marked = visible(source.text.get(span.start..last)?);
    let tail = visible(source.text.get(last..end)?.trim_end_matches('\r'));
    let caret = head.len()..head.len() + marked.len();
    let mut annotation = AnnotationKind::Primary.span(caret);
    if !problem.label.is_empty() {
        annotation = annotation.label(visible(&problem.label));
    }
    Some(
        Snippet::source(format!("{head}{marked}{tail}"))
            .path(visible(&source.path))
            .line_start(problem.origin.line()?)
            .annotation(annotation),
    )
}

/// A text in which nothing acts on a terminal or hides: control and invisible characters are escaped.
fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        let hidden = matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
        if c == '\t' || !(c.is_control() || hidden) {
            shown.push(c);
        } else {
            shown.extend(c.escape_unicode());
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::declaration::{Lines, Origin, Source};

    fn origin(text: &str, span: std::ops::Range<usize>) -> Origin {
        let source = Arc::new(Source {
            path: "environments/local.toml".to_owned(),
            text: text.to_owned(),
        });
        let lines = Lines::new(text);
        Origin::at(&source, span, &lines)
    }

    #[test]
    fn a_caret_stands_below_the_mistake_and_only_its_line_is_shown() {
        let text = "password = 'hunter2'\nżółw = 1 # ok\r\nsecret = 'hunter3'\n";
        let at = text.find("żółw").unwrap();
        let problem = Problem::error("unknown key `żółw`", &origin(text, at..at + 7))
            .help("did you mean `x`?");
        assert_eq!(
            render(&[problem], false),
            "error: unknown key `żółw`\n --> environments/local.toml:2:1\n  |\n2 | żółw = 1 # ok\n  | ^^^^\n  |\n  = help: did you mean `x`?\n\n"
        );
    }

    #[test]
    fn a_span_over_many_lines_shows_the_first() {
        let text = "a = [\n 'hunter2',\n]\n";
        let shown = render(&[Problem::error("no", &origin(text, 4..17))], false);
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("1 | a = [\n"), "{shown}");
    }

    #[test]
    fn secret_and_long_lines_are_not_shown() {
        let text = "password = 'hunter2'";
        let shown = render(
            &[Problem::error("no", &origin(text, 11..20)).secret()],
            true,
        );
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("local.toml:1:12"), "{shown}");
        let text = format!("x = '{}'", "y".repeat(300));
        let shown = render(&[Problem::error("no", &origin(&text, 4..8))], false);
        assert_eq!(shown, "error: no\n--> environments/local.toml:1:5\n\n");
    }

    #[test]
    fn nothing_acts_on_the_terminal() {
        let text = "x = '\u{1b}[31m\u{202e}'";
        let problem = Problem::error("no \u{7}", &origin(text, 4..5)).label("\u{1b}");
        let shown = render(&[problem], false);
        assert!(
            shown.chars().all(|c| c == '\n' || !c.is_control()),
            "{shown}"
        );
        assert!(!shown.contains('\u{202e}'), "{shown}");
    }
}
