//! [`Input`]: the bytes of a fuzzer as a stream of choices. The stream never ends: after the last byte there are
//! zeros. So every input is complete, however short.

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

    /// Whether only zeros are left.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `count` bytes, or fewer if the input ends.
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// All bytes that are left.
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

    /// The next byte, as a length.
    pub fn length(&mut self) -> usize {
        usize::from(self.byte())
    }

    /// An input of its own. The next two bytes give its length.
    pub fn part(&mut self) -> Input<'a> {
        let length = u16::from_le_bytes(self.array());
        Input::new(self.take(usize::from(length)))
    }

    /// A number of eight bytes.
    pub fn wide(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }
}
