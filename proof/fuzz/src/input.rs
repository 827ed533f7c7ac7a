//! [`Input`]: the bytes of a fuzzer as a stream of choices. It never ends: behind the last byte there
//! are zeros, so that every input, however short, is a whole story.

/// The rest of the bytes.
pub struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    /// Begins at the first byte.
    #[must_use]
    pub fn new(rest: &'a [u8]) -> Input<'a> {
        Input { rest }
    }

    /// Whether nothing but zeros would come.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `count` bytes, or as many as there are.
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        self.take(usize::MAX)
    }

    /// The next `N` bytes, filled up with zeros.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let taken = self.take(N);
        array[..taken.len()].copy_from_slice(taken);
        array
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    /// The next byte, as a number below `limit`.
    pub fn below(&mut self, limit: u8) -> u8 {
        self.byte() % limit
    }

    /// The next byte as a length.
    pub fn length(&mut self) -> usize {
        usize::from(self.byte())
    }

    /// A part of its own, whose length the next two bytes say.
    pub fn part(&mut self) -> Input<'a> {
        let length = u16::from_le_bytes(self.array());
        Input::new(self.take(usize::from(length)))
    }

    /// A number of eight bytes.
    pub fn wide(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }
}
