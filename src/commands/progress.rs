//! What happens, as it happens: drawn live on a terminal, line by line elsewhere.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::apply::Event;
use crate::commands::output::Output;
use crate::resource::Id;
use crate::show::progress::{about, line};

/// Lines of the same step come no closer than this where they stay.
const PAUSE: Duration = Duration::from_secs(5);

/// The display of a run.
pub struct Progress<'a> {
    output: &'a Output,
    live: Option<MultiProgress>,
    state: Mutex<HashMap<Id, Running>>,
}

struct Running {
    bar: Option<ProgressBar>,
    spoke: Instant,
}

impl<'a> Progress<'a> {
    /// A display on stderr.
    pub fn new(output: &'a Output) -> Self {
        Progress {
            output,
            live: output
                .is_live()
                .then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr())),
            state: Mutex::new(HashMap::new()),
        }
    }

    /// Takes in what happened.
    pub fn hear(&self, event: &Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let id = match event {
            Event::Begin(id, _)
            | Event::Talk(id, _)
            | Event::Done(id, _)
            | Event::Failed(id, _)
            | Event::Probing(id) => id,
        };
        let text = line(event, self.output.talk_paint());
        match event {
            Event::Begin(_, says) => self.begin(&mut state, id, says, &text),
            Event::Probing(_) => self.begin(&mut state, id, "see whether it works", &text),
            Event::Talk(..) => self.talk(&mut state, id, text),
            Event::Done(..) | Event::Failed(..) => {
                let bar = state.remove(id).and_then(|running| running.bar);
                if let Some(bar) = bar {
                    bar.finish_and_clear();
                }
                self.line(&text);
            }
        }
    }

    fn begin(&self, state: &mut HashMap<Id, Running>, id: &Id, says: &str, text: &str) {
        let old = state.remove(id).and_then(|running| running.bar);
        let bar = self.live.as_ref().map(|live| {
            let bar = old.unwrap_or_else(|| live.add(spinner()));
            bar.set_message(about(id, &crate::show::clean(says)));
            bar
        });
        if bar.is_none() {
            self.line(text);
        }
        let spoke = Instant::now();
        state.insert(id.clone(), Running { bar, spoke });
    }

    fn talk(&self, state: &mut HashMap<Id, Running>, id: &Id, text: String) {
        match state.get_mut(id) {
            Some(Running { bar: Some(bar), .. }) => bar.set_message(text),
            Some(running) if running.spoke.elapsed() >= PAUSE => {
                running.spoke = Instant::now();
                self.line(&text);
            }
            Some(_) | None => {}
        }
    }

    /// Says something that stays, on a line of its own.
    pub fn say(&self, text: &str) {
        self.line(text);
    }

    fn line(&self, text: &str) {
        match &self.live {
            // Above the spinners; a terminal that went away is no reason to stop.
            Some(live) => drop(live.println(text)),
            None => self.output.say(&format!("{text}\n")),
        }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if let Some(live) = &self.live {
            drop(live.clear());
        }
    }
}

fn spinner() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}
