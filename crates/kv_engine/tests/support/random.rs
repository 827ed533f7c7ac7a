//! Pseudorandom numbers that are the same in every run (xorshift64*, Vigna 2016).

pub struct Random(pub u64);

impl Random {
    /// The lowest bits are less random, so they are not used.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) % limit
    }
}
