//! What happens during an apply, one line an event.

use crate::apply::Event;
use crate::resource::Id;
use crate::show::{Paint, clean, duration};

/// An event as a line, where there is no terminal to draw on.
pub fn line(event: &Event, paint: Paint) -> String {
    match event {
        Event::Begin(id, says) | Event::Talk(id, says) => about(id, &clean(says)),
        Event::Done(id, time) => about(id, &paint.green(&format!("done in {}", duration(*time)))),
        Event::Failed(id, why) => about(id, &paint.red(&format!("failed: {}", clean(why)))),
        Event::Probing(id) => about(id, "see whether it works"),
    }
}

/// A resource and some words about it.
pub fn about(id: &Id, words: &str) -> String {
    format!("{}: {words}", clean(id.as_str()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_line_names_the_thing_and_escapes_what_it_said() {
        let id = Id::short("container", "ivr");
        let paint = Paint::default();
        assert_eq!(
            line(&Event::Talk(id.clone(), "50%\x1b[K".to_owned()), paint),
            "container.ivr: 50%\\x1b[K"
        );
        assert_eq!(
            line(&Event::Done(id, Duration::from_millis(1240)), paint),
            "container.ivr: done in 1.2 s"
        );
    }
}
