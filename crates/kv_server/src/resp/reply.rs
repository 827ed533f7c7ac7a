//! [`Reply`]: the replies of one connection as bytes, in the order of its requests.
//!
//! RESP2 and RESP3 differ in nulls, maps, sets, doubles and verbatim strings. A command writes what it means, and this
//! writes it as the connection reads it.

use crate::refusal::Refusal;

#[derive(Debug, Default)]
pub(crate) struct Reply {
    pub(crate) bytes: Vec<u8>,
    /// RESP3, chosen by HELLO.
    pub(crate) resp3: bool,
}

impl Reply {
    fn header(&mut self, kind: u8, count: usize) {
        self.bytes.push(kind);
        self.bytes.extend_from_slice(itoa::Buffer::new().format(count).as_bytes());
        self.bytes.extend_from_slice(b"\r\n");
    }

    pub(crate) fn ok(&mut self) {
        self.bytes.extend_from_slice(b"+OK\r\n");
    }

    /// One line that has no line break in it.
    pub(crate) fn simple(&mut self, text: &str) {
        self.bytes.push(b'+');
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.extend_from_slice(b"\r\n");
    }

    pub(crate) fn refusal(&mut self, refusal: &Refusal) {
        self.bytes.push(b'-');
        self.bytes.extend_from_slice(refusal.text().as_bytes());
        self.bytes.extend_from_slice(b"\r\n");
    }

    pub(crate) fn integer(&mut self, value: impl Into<i64>) {
        self.bytes.push(b':');
        self.bytes.extend_from_slice(itoa::Buffer::new().format(value.into()).as_bytes());
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// A number that is never negative.
    pub(crate) fn number(&mut self, value: u64) {
        self.integer(i64::try_from(value).unwrap_or(i64::MAX));
    }

    /// A count or a length.
    pub(crate) fn count(&mut self, count: usize) {
        self.header(b':', count);
    }

    pub(crate) fn bulk(&mut self, value: impl AsRef<[u8]>) {
        let value = value.as_ref();
        self.header(b'$', value.len());
        self.bytes.extend_from_slice(value);
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// The value, or null.
    pub(crate) fn value(&mut self, value: Option<&[u8]>) {
        match value {
            Some(value) => self.bulk(value),
            None => self.null(),
        }
    }

    pub(crate) fn null(&mut self) {
        self.bytes.extend_from_slice(if self.resp3 { b"_\r\n" } else { b"$-1\r\n" });
    }

    /// Null where an array is expected.
    pub(crate) fn null_array(&mut self) {
        self.bytes.extend_from_slice(if self.resp3 { b"_\r\n" } else { b"*-1\r\n" });
    }

    /// So many replies follow.
    pub(crate) fn array(&mut self, count: usize) {
        self.header(b'*', count);
    }

    /// So many pairs of replies follow.
    pub(crate) fn map(&mut self, pairs: usize) {
        if self.resp3 { self.header(b'%', pairs) } else { self.header(b'*', 2 * pairs) }
    }

    /// So many replies follow, in no order.
    pub(crate) fn set(&mut self, count: usize) {
        self.header(if self.resp3 { b'~' } else { b'*' }, count);
    }

    /// A text for people, of several lines.
    pub(crate) fn text(&mut self, text: &str) {
        if !self.resp3 {
            return self.bulk(text);
        }
        self.header(b'=', text.len() + 4);
        self.bytes.extend_from_slice(b"txt:");
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn written(resp3: bool, write: impl Fn(&mut Reply)) -> String {
        let mut reply = Reply { resp3, ..Reply::default() };
        write(&mut reply);
        String::from_utf8(reply.bytes).unwrap()
    }

    #[test]
    fn both_protocols_write_what_is_meant() {
        let both = |write: fn(&mut Reply)| (written(false, write), written(true, write));
        let same = |text: &str| (text.to_string(), text.to_string());
        assert_eq!(both(|reply| reply.bulk("a\r\n")), same("$3\r\na\r\n\r\n"));
        assert_eq!(both(|reply| reply.integer(i64::MIN)), same(":-9223372036854775808\r\n"));
        assert_eq!(both(|reply| reply.refusal(&Refusal::SYNTAX)), same("-ERR syntax error\r\n"));
        assert_eq!(both(Reply::null), ("$-1\r\n".into(), "_\r\n".into()));
        assert_eq!(both(Reply::null_array), ("*-1\r\n".into(), "_\r\n".into()));
        assert_eq!(both(|reply| reply.map(2)), ("*4\r\n".into(), "%2\r\n".into()));
        assert_eq!(both(|reply| reply.set(2)), ("*2\r\n".into(), "~2\r\n".into()));
        assert_eq!(both(|reply| reply.text("a")), ("$1\r\na\r\n".into(), "=5\r\ntxt:a\r\n".into()));
    }
}
