//! What can be typed after `--`.

use crate::table;

#[derive(Debug, Default)]
pub struct Options {
    pub all: bool,
    pub list: bool,
    pub breakages: bool,
    /// Of a copy that is broken on purpose: the list of breakages is not looked at.
    pub broken: bool,
    pub seed: Option<u64>,
    /// Ids of rows, names of breakages, or the words that `cargo test` chooses tests by.
    pub words: Vec<String>,
    /// Only tests that are ignored by default are wanted, and there are none.
    ignored: bool,
}

impl Options {
    pub fn read(words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Options::default();
        let mut words = words;
        while let Some(word) = words.next() {
            match word.as_str() {
                "--all" => options.all = true,
                "--list" => options.list = true,
                "--breakages" => options.breakages = true,
                "--broken" => options.broken = true,
                "--ignored" => options.ignored = true,
                "--seed" => {
                    let seed = words.next().and_then(|seed| seed.parse().ok());
                    options.seed = Some(seed.ok_or("`--seed` needs a whole number")?);
                }
                // What libtest understands and means nothing here.
                "--skip" | "--test-threads" | "--color" | "--format" | "--logfile" | "-Z"
                | "--shuffle-seed" => {
                    words.next();
                }
                word if word.starts_with('-') => {}
                _ => options.words.push(word),
            }
        }
        if !options.breakages {
            let is_id = |word: &str| {
                word.strip_prefix('F')
                    .is_some_and(|number| number.parse::<u32>().is_ok())
            };
            let unknown = |word: &&String| is_id(word) && table::row_of(word).is_none();
            if let Some(word) = options.words.iter().find(unknown) {
                return Err(format!("there is no row `{word}`"));
            }
        }
        Ok(options)
    }

    /// Whether a row is to be tried.
    pub fn wants(&self, id: &str) -> bool {
        !self.ignored && (self.words.is_empty() || self.words.iter().any(|word| word == id))
    }
}
