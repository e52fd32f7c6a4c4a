//! Decisions from bytes. When the bytes run out everything is zero, so that scripts end.

/// Reads decisions from the front of the input.
pub struct Source<'a> {
    rest: &'a [u8],
}

/// Numbers at which codecs and state machines change their minds.
const EDGES: [u64; 16] = [
    0,
    1,
    2,
    63,
    64,
    255,
    1200,
    16_383,
    16_384,
    65_535,
    (1 << 30) - 1,
    1 << 30,
    (1 << 60) - 1,
    1 << 60,
    (1 << 62) - 2,
    (1 << 62) - 1,
];

impl<'a> Source<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        Self { rest: data }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub fn u8(&mut self) -> u8 {
        let Some((&first, rest)) = self.rest.split_first() else { return 0 };
        self.rest = rest;
        first
    }

    pub fn u16(&mut self) -> u16 {
        u16::from(self.u8()) << 8 | u16::from(self.u8())
    }

    /// Below `bound`, which is not zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        let wide = if bound > 256 { u64::from(self.u16()) } else { u64::from(self.u8()) };
        wide % bound
    }

    pub fn coin(&mut self) -> bool {
        self.u8() & 1 == 1
    }

    /// A small number, an edge, or anything up to 2^62-1.
    pub fn number(&mut self) -> u64 {
        let kind = self.u8();
        match kind {
            0..160 => u64::from(kind) % 20,
            160..200 => u64::from(self.u16()),
            200..240 => EDGES[usize::from(kind) % EDGES.len()],
            _ => {
                let wide = (0..8).fold(0, |n, _| n << 8 | u64::from(self.u8()));
                wide >> (2 + u32::from(kind) % 16 * 3)
            }
        }
    }

    /// At most `most` bytes of the input itself.
    pub fn bytes(&mut self, most: usize) -> &'a [u8] {
        let len = usize::from(self.u8()).min(most).min(self.rest.len());
        let (head, rest) = self.rest.split_at(len);
        self.rest = rest;
        head
    }

    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.u8())
    }
}
