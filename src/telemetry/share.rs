//! A share of requests: those that are traced, or that leave a line.

/// A share between nothing and all, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share(u32);

impl Share {
    /// All of them.
    pub const ALL: Self = Self(Self::WHOLE);

    const WHOLE: u32 = 1_000_000;

    /// A number from 0 to 1; `None` when it is none, or so small that it would stand for nothing.
    pub fn of(number: f64) -> Option<Self> {
        if !(0.0..=1.0).contains(&number) {
            return None;
        }
        let millionths = (number * f64::from(Self::WHOLE)).round();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to a million")]
        let share = Self(millionths as u32);
        (share.0 > 0 || number == 0.0).then_some(share)
    }

    /// The number.
    pub fn number(self) -> f64 {
        f64::from(self.0) / f64::from(Self::WHOLE)
    }

    /// Whether everything belongs to it.
    pub const fn is_all(self) -> bool {
        self.0 == Self::WHOLE
    }

    /// Whether what drew this number belongs to it. Of numbers that are evenly spread, its part does.
    pub const fn includes(self, drawn: u64) -> bool {
        // The upper half of the product of a number of 32 bits and a million lies below a million.
        ((drawn >> 32) * Self::WHOLE as u64) >> 32 < self.0 as u64
    }
}

/// Spreads the bits of a text evenly: FNV-1a, mixed once more. Nobody's safety depends on it.
pub fn spread(text: &str) -> u64 {
    let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325, fold);
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::RequestId;

    #[test]
    fn it_is_a_number_from_0_to_1() {
        for (number, all) in [(0.0, false), (0.000_001, false), (0.01, false), (0.1, false), (1.0, true)] {
            let share = Share::of(number).unwrap();
            assert_eq!((share.number(), share.is_all()), (number, all));
        }
        for number in [-0.1, 1.000_001, f64::NAN, f64::INFINITY, 0.000_000_1] {
            assert_eq!(Share::of(number), None, "{number}");
        }
    }

    #[test]
    fn its_part_of_all_request_ids_belongs_to_it() {
        for number in [0.0, 0.001, 0.25, 0.5, 1.0] {
            let share = Share::of(number).unwrap();
            let drawn = (0..100_000).map(|number| spread(RequestId::new(0x5b99_47c6_4f1f_a640, number).as_str()));
            let found = drawn.filter(|drawn| share.includes(*drawn)).count() as f64 / 100_000.0;
            assert!((found - number).abs() < 0.005, "{number}: {found}");
        }
        assert!(Share::ALL.includes(u64::MAX) && !Share::of(0.0).unwrap().includes(0));
    }
}
