//! `generated_file`: a generated file in the environment's folder (`.provision/ENV/`), for Compose and for what containers mount.

use std::borrow::Cow;

use crate::command::{Ask, Do, File, Question, Row, Text};
use crate::resource::{Field, Impact, Kind, Removal, Same, Step, few_bits};

/// A generated file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderedFile {
    /// Path, content and mode.
    pub file: File,
}

impl Kind for RenderedFile {
    const NAME: &'static str = "generated_file";
    const QUESTION: Question = Question { name: "files", ask: Ask::Folder };

    fn key(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.file.path)
    }

    fn read(&self, rows: &[Row]) -> Result<Option<Self>, String> {
        let Some(row) = rows.first() else { return Ok(None) };
        let text = |column: &str| row.get(column).and_then(|value| value.as_str());
        // A folder on another machine says a digest: the same one is the same content, and of another nobody says what it holds.
        let mine = self.file.content.expose();
        let content = match text("sha256") {
            Some(digest) if digest == crate::secret::sha256(mine.expose()) => mine.expose(),
            Some(digest) => digest,
            None => text("content").unwrap_or_default(),
        };
        let mode = row.get("mode").and_then(serde_json::Value::as_u64).ok_or("its mode could not be read")?;
        let content = crate::secret::Secret::new(content); // what stands in the old file may be a secret
        Ok(Some(RenderedFile {
            file: File { path: self.file.path.clone(), content: Text::secret(content), mode: u32::try_from(mode).unwrap_or(0) },
        }))
    }

    fn fields(&self, found: Option<&Self>) -> Vec<Field> {
        let same = match found {
            Some(found) if found.file.content.expose() == self.file.content.expose() => Same::Yes,
            _ => Same::No,
        };
        let mode = |file: &File| format!("{:04o}", file.mode);
        vec![
            Field::hidden("content", found.is_some(), same, Impact::None),
            Field::new("mode", found.map(|f| mode(&f.file)), mode(&self.file), Impact::None),
        ]
    }

    fn steps(&self, found: Option<&Self>) -> Vec<Step> {
        if found.is_some_and(|found| self.fields(Some(found)).iter().all(|field| field.same == Same::Yes)) {
            return Vec::new();
        }
        let mut step = Step::sql("write the file", Text::default());
        step.does = Do::Write(self.file.clone());
        vec![step]
    }

    fn rendered(&self) -> Option<File> {
        Some(self.file.clone())
    }

    fn named(key: &str) -> Option<Self> {
        Some(RenderedFile { file: File { path: key.to_owned(), content: Text::default(), mode: 0o600 } })
    }

    fn mark(&self, field: &str) -> Option<String> {
        (field == "content").then(|| few_bits(self.file.content.expose().expose()))
    }

    fn remove(&self) -> Removal {
        let mut step = Step::sql("remove the file", Text::default());
        step.does = Do::Unlink(self.file.path.clone());
        Removal::Steps(vec![step])
    }
}
