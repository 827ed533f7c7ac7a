//! What keys do that the editor has another idea of.
//!
//! | key | the editor | here |
//! |---|---|---|
//! | Escape, in a search with Ctrl-R | drops the line that was found | the line stays, to be edited |
//! | Ctrl-C | ends the line as it is shown, with the grey hint | ends it without the hint |
//!
//! So Ctrl-C is Enter to the editor, and [`Interrupt`] remembers that the line is to be dropped. The editor also asks
//! questions of its own (`Display all possibilities?`), and there Ctrl-C ends no line. So the next key forgets it.

use rustyline::history::History;
use rustyline::{
    Cmd, ConditionalEventHandler, Editor, Event, EventContext, EventHandler, Helper, KeyCode, KeyEvent, Modifiers, RepeatCount,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether Ctrl-C has ended the line.
#[derive(Clone, Debug, Default)]
pub(super) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Has the editor tell about Ctrl-C from now on.
    pub(super) fn of<H: Helper, I: History>(editor: &mut Editor<H, I>) -> Interrupt {
        let interrupt = Interrupt::default();
        editor.bind_sequence(Event::Any, EventHandler::Conditional(Box::new(interrupt.clone())));
        interrupt
    }

    /// Whether Ctrl-C has ended the line. Forgets it.
    pub(super) fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

impl ConditionalEventHandler for Interrupt {
    fn handle(&self, event: &Event, _: RepeatCount, _: bool, _: &EventContext<'_>) -> Option<Cmd> {
        let key = event.get(0).copied();
        let is_interrupt = key == Some(KeyEvent::ctrl('C'));
        self.0.store(is_interrupt, Ordering::Relaxed);
        match key {
            _ if is_interrupt => Some(Cmd::AcceptLine),
            Some(KeyEvent(KeyCode::Esc, Modifiers::NONE)) => Some(Cmd::Repaint),
            _ => None,
        }
    }
}
