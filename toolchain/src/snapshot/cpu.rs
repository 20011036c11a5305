//! What a snapshot needs of a CPU, in words.

use jiffy_snapshots::{CpuNeeds, CpuRegister, CpuWord};
use serde::Serialize;

/// One feature, or several of one word: leaf of CPUID (subleaf 0), register, bits.
type Features = (u32, CpuRegister, u32);

const EXTENDED: u32 = 0x8000_0001;
/// Levels of x86-64 as its psABI defines them, without what the operating system sets.
const LEVELS: [(&str, &[Features]); 3] = [
    (
        "x86-64-v2",
        &[
            // SSE3, SSSE3, CMPXCHG16B, SSE4.1, SSE4.2, POPCNT; LAHF
            (1, CpuRegister::Ecx, bits(&[0, 9, 13, 19, 20, 23])),
            (EXTENDED, CpuRegister::Ecx, bits(&[0])),
        ],
    ),
    (
        "x86-64-v3",
        &[
            // FMA, MOVBE, AVX, F16C; BMI1, AVX2, BMI2; LZCNT
            (1, CpuRegister::Ecx, bits(&[12, 22, 28, 29])),
            (7, CpuRegister::Ebx, bits(&[3, 5, 8])),
            (EXTENDED, CpuRegister::Ecx, bits(&[5])),
        ],
    ),
    (
        "x86-64-v4",
        // AVX512F, AVX512DQ, AVX512CD, AVX512BW, AVX512VL
        &[(7, CpuRegister::Ebx, bits(&[16, 17, 28, 30, 31]))],
    ),
];

const fn bits(numbers: &[u32]) -> u32 {
    let (mut word, mut index) = (0, 0);
    while index < numbers.len() {
        word |= 1 << numbers[index];
        index += 1;
    }
    word
}

/// A summary, and for JSON all of it.
#[derive(Debug, Serialize)]
pub(super) struct CpuView {
    /// As CPUID spells it: `GenuineIntel`.
    vendor: String,
    /// The highest level of x86-64 all of whose features the snapshot may use.
    level: &'static str,
    /// How many features it may use.
    features: u32,
    words: Vec<WordView>,
}

#[derive(Debug, Serialize)]
struct WordView {
    leaf: u32,
    subleaf: u32,
    register: &'static str,
    bits: u32,
}

impl CpuView {
    pub(super) fn new(needs: &CpuNeeds) -> Self {
        let has = |(leaf, register, bits): &Features| {
            let is_it = |word: &&CpuWord| {
                (word.function, word.index, word.register) == (*leaf, 0, *register)
            };
            let word = needs.words.iter().find(is_it);
            word.is_some_and(|word| word.bits & bits == *bits)
        };
        let reached = LEVELS
            .iter()
            .take_while(|(_, features)| features.iter().all(has));
        Self {
            vendor: String::from_utf8_lossy(&needs.vendor)
                .trim_end_matches('\0')
                .to_owned(),
            level: reached.last().map_or("x86-64", |(name, _)| name),
            features: needs.words.iter().map(|word| word.bits.count_ones()).sum(),
            words: needs.words.iter().map(WordView::new).collect(),
        }
    }

    /// One line.
    pub(super) fn summary(&self) -> String {
        format!(
            "{} of {}, {} feature bits",
            self.level, self.vendor, self.features
        )
    }
}

impl WordView {
    fn new(word: &CpuWord) -> Self {
        Self {
            leaf: word.function,
            subleaf: word.index,
            register: match word.register {
                CpuRegister::Eax => "eax",
                CpuRegister::Ebx => "ebx",
                CpuRegister::Ecx => "ecx",
                CpuRegister::Edx => "edx",
            },
            bits: word.bits,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_needs_those_below_it_and_each_of_its_features() {
        let check = |levels: &[usize], less: u32, expected: &str| {
            let mut needs = CpuNeeds {
                vendor: *b"GenuineIntel",
                words: vec![],
            };
            for (function, register, bits) in levels.iter().flat_map(|level| LEVELS[*level].1) {
                let place = (*function, 0, *register);
                let found = needs
                    .words
                    .iter_mut()
                    .find(|word| (word.function, word.index, word.register) == place);
                match found {
                    Some(word) => word.bits |= bits,
                    None => needs.words.push(CpuWord {
                        function: *function,
                        index: 0,
                        register: *register,
                        bits: *bits,
                    }),
                }
            }
            if let Some(word) = needs.words.first_mut() {
                word.bits &= !less;
            }
            assert_eq!(CpuView::new(&needs).level, expected, "{levels:?}");
        };
        check(&[], 0, "x86-64");
        check(&[0], 0, "x86-64-v2");
        check(&[0], 1 << 23, "x86-64");
        check(&[0, 1], 0, "x86-64-v3");
        check(&[0, 1], 1 << 28, "x86-64-v2");
        check(&[0, 1, 2], 0, "x86-64-v4");
        check(&[1, 2], 0, "x86-64");
    }

    #[test]
    fn a_summary_is_one_line() {
        let needs = CpuNeeds {
            vendor: *b"GenuineIntel",
            words: vec![],
        };
        let summary = CpuView::new(&needs).summary();
        assert_eq!(summary, "x86-64 of GenuineIntel, 0 feature bits");
    }
}
