//! What a snapshot needs of the CPU it is restored on.
//!
//! Not here: asking a CPU. The VMM lists the CPUID words that its guests see.

use serde::{Deserialize, Serialize};

/// CPUID words a snapshot lists at most.
pub const CPU_WORDS_MAX: usize = 256;

/// The features a guest was shown when its snapshot was made, or those that a host can show.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuNeeds {
    /// The vendor's name, as CPUID leaf 0 gives it in `ebx`, `edx`, `ecx`.
    pub vendor: [u8; 12],
    /// Words of feature bits, at most [`CPU_WORDS_MAX`].
    pub words: Vec<CpuWord>,
}

/// One register of one CPUID leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuWord {
    /// The leaf (`eax`).
    pub function: u32,
    /// The subleaf (`ecx`), zero where there are none.
    pub index: u32,
    /// The register.
    pub register: CpuRegister,
    /// Feature bits.
    pub bits: u32,
}

/// A register in which CPUID answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "names of registers")]
pub enum CpuRegister {
    Eax,
    Ebx,
    Ecx,
    Edx,
}

impl CpuNeeds {
    /// The features that are in `self` and not in `host`, word by word. A word that the host does
    /// not list is missing whole. The vendor is not compared.
    pub fn missing_in(&self, host: &Self) -> Vec<CpuWord> {
        let missing = |need: &CpuWord| {
            let place = |word: &CpuWord| (word.function, word.index, word.register);
            let offered = host.words.iter().filter(|word| place(word) == place(need));
            let bits = need.bits & !offered.fold(0, |bits, word| bits | word.bits);
            (bits != 0).then_some(CpuWord { bits, ..*need })
        };
        self.words.iter().filter_map(missing).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_host_lacks_is_named() {
        let word = |function, register, bits| CpuWord {
            function,
            index: 0,
            register,
            bits,
        };
        let needs = |words: &[CpuWord]| CpuNeeds {
            vendor: *b"GenuineIntel",
            words: words.to_vec(),
        };
        let snapshot = needs(&[
            word(1, CpuRegister::Ecx, 0b1100),
            word(1, CpuRegister::Edx, 1),
            word(7, CpuRegister::Ebx, 0),
        ]);
        assert_eq!(snapshot.missing_in(&snapshot), []);
        let host = needs(&[word(1, CpuRegister::Ecx, 0b0110)]);
        assert_eq!(
            snapshot.missing_in(&host),
            [
                word(1, CpuRegister::Ecx, 0b1000),
                word(1, CpuRegister::Edx, 1)
            ]
        );
        assert_eq!(host.missing_in(&snapshot), [word(1, CpuRegister::Ecx, 2)]);
    }
}
