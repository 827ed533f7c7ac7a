//! Colours, where they are wanted.

/// What a colour means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Good,
    /// Normal after a crash.
    Torn,
    Bad,
    /// Less important.
    Dim,
}

/// `text` in the colour of `tone`, or unchanged without `color`.
pub(crate) fn toned(text: &str, tone: Tone, color: bool) -> String {
    let code = match tone {
        _ if !color => return text.to_string(),
        Tone::Plain => return text.to_string(),
        Tone::Good => "32",
        Tone::Torn => "33",
        Tone::Bad => "31",
        Tone::Dim => "2",
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

pub(crate) fn dimmed(text: &str, color: bool) -> String {
    toned(text, Tone::Dim, color)
}
