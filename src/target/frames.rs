//! Frames in a client's output: a line that begins with the nonce is a mark, what stands between two marks is what was said.
//! Nobody but us knows the nonce, so nothing that is said can be a mark.

use serde_json::Value;

use crate::command::{Answer, Row, Rows};

/// A mark and what was said after it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    /// The mark's words.
    pub words: Vec<&'a str>,
    /// What was said until the next mark.
    pub body: &'a [u8],
}

/// All frames of an output, in order. What stands before the first mark is noise.
pub(super) fn frames<'a>(output: &'a [u8], nonce: &str) -> Vec<Frame<'a>> {
    let mut frames: Vec<Frame<'a>> = Vec::new();
    let mut body_from = 0;
    let mut at = 0;
    for line in output.split_inclusive(|byte| *byte == b'\n') {
        let end = at + line.len();
        if let Some(words) = mark(line, nonce) {
            close(&mut frames, output, body_from, at);
            frames.push(Frame { words, body: &[] });
            body_from = end;
        }
        at = end;
    }
    close(&mut frames, output, body_from, at);
    frames
}

fn close<'a>(frames: &mut [Frame<'a>], output: &'a [u8], from: usize, to: usize) {
    if let Some(last) = frames.last_mut() {
        last.body = output.get(from..to).unwrap_or_default();
    }
}

/// The words of a mark; `None` for any other line, and for one that was cut off.
pub(super) fn mark<'a>(line: &'a [u8], nonce: &str) -> Option<Vec<&'a str>> {
    let rest = line
        .strip_prefix(nonce.as_bytes())?
        .strip_prefix(b" ")?
        .strip_suffix(b"\n")?;
    Some(std::str::from_utf8(rest).ok()?.split(' ').collect())
}

/// The rows of an answer: JSON objects one after another.
pub(super) fn rows(body: &[u8]) -> Answer {
    let Ok(text) = std::str::from_utf8(body) else {
        return Answer::Unreadable("its answer is no UTF-8".to_owned());
    };
    let mut rows: Vec<Row> = Vec::new();
    for value in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
        match value {
            Ok(Value::Object(row)) => rows.push(row),
            Ok(_) => {
                return Answer::Unreadable("its answer has a row that is no object".to_owned());
            }
            Err(error) => {
                return Answer::Unreadable(format!(
                    "its answer is no JSON (line {})",
                    error.line()
                ));
            }
        }
    }
    Answer::Rows(Rows::new(rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_lines_with_the_nonce_are_marks() {
        let output = b"noise\nN begin 0\n{\"key\":\"N end 0\"}\n N end 0\nxN end 0\nN2 end 0\nNend 0\nn end 0\nN end 0 f 00000\nN cut";
        let found = frames(output, "N");
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].words, ["begin", "0"]);
        assert!(found[0].body.ends_with(b"n end 0\n"));
        assert_eq!(found[1].words, ["end", "0", "f", "00000"]);
        assert_eq!(found[1].body, b"N cut");
        assert!(frames(b"", "N").is_empty());
    }

    #[test]
    fn rows_are_objects_over_any_number_of_lines() {
        let Answer::Rows(found) = rows(b"{\"key\":\"a\",\n \"x\":[1,\n2]}\n{\"key\":\"b\"}\n")
        else {
            panic!()
        };
        assert_eq!(found.keys(), ["a", "b"]);
        assert!(matches!(rows(b""), Answer::Rows(_)));
        for bad in [
            &b"{\"key\":"[..],
            b"1\n",
            b"{\"key\":\"\xff\"}",
            b"ERROR\n",
            b"{\"key\":\"a\"}\0",
        ] {
            assert!(matches!(rows(bad), Answer::Unreadable(_)), "{bad:?}");
        }
    }
}
