//! Enums that travel as numbers.

/// An enum of `u16`s, and the way back from a number, from one list of them: none can be left out of the way back.
///
/// A number is looked up in a list, because a match becomes a table of jumps, of 8 bytes for each number
/// up to the last, in every image.
macro_rules! numbered {
    (
        $(#[$of_all:meta])+
        pub enum $name:ident { $($(#[$of_one:meta])+ $one:ident = $number:literal,)+ }
    ) => {
        $(#[$of_all])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u16)]
        pub enum $name {
            $($(#[$of_one])+ $one = $number,)+
        }

        impl $name {
            const ALL: &'static [Self] = &[$(Self::$one),+];

            fn known(number: u16) -> Option<Self> {
                Self::ALL.iter().find(|it| **it as u16 == number).copied()
            }
        }
    };
}

pub(crate) use numbered;
