//! Random numbers that can be had again.

/// A sequence of numbers that a seed decides: enough to draw tests from.
pub struct Dice(u64);

impl Dice {
    /// Prints the seed, so that a failure can be seen again.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        println!("seed {seed}");
        Self(seed)
    }

    /// Below `sides`, each as likely as the others.
    pub fn roll(&mut self, sides: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % sides as u64) as usize
    }

    /// One of them.
    pub fn pick<'a, T>(&mut self, among: &'a [T]) -> &'a T {
        &among[self.roll(among.len())]
    }

    /// Each of them with an even chance.
    pub fn some<T: Clone>(&mut self, among: &[T]) -> Vec<T> {
        among
            .iter()
            .filter(|_| self.roll(2) == 0)
            .cloned()
            .collect()
    }
}
