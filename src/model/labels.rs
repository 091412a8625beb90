//! Closed sets of names: one line declares a value with the name that it has in labels, JSON and YAML.

use std::{fmt, marker::PhantomData};

/// A value of a closed set of names, declared by `labels!`.
pub trait Label: Copy + fmt::Debug + 'static {
    /// Every value, in the order in which they are declared.
    const ALL: &'static [Self];

    /// The position of the value in [`ALL`](Self::ALL).
    fn index(self) -> usize;

    /// The name of the value, as it stands in labels.
    fn as_str(self) -> &'static str;
}

/// Some of the values of a closed set, which has at most 32.
///
/// ```
/// use regionwatch::model::{LabelSet, Stage};
///
/// let stages = LabelSet::of([Stage::Prepare]);
/// assert!(stages.contains(Stage::Prepare) && !stages.contains(Stage::Execute));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct LabelSet<L>(u32, PhantomData<L>);

impl<L: Label> LabelSet<L> {
    /// The set of these values.
    pub fn of(values: impl IntoIterator<Item = L>) -> Self {
        Self::from_bits(values.into_iter().fold(0, |bits, value| bits | 1 << value.index()))
    }

    /// The set without values.
    pub const fn empty() -> Self {
        Self::from_bits(0)
    }

    /// The set with these values added.
    #[must_use]
    pub fn with(self, values: impl IntoIterator<Item = L>) -> Self {
        Self::from_bits(self.0 | Self::of(values).0)
    }

    /// Whether the value is in the set.
    pub fn contains(self, value: L) -> bool {
        self.0 & 1 << value.index() != 0
    }

    /// How many values are in the set.
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether no value is in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The set as a number: bit `n` stands for the value with index `n`.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// The set that [`bits`](Self::bits) gave the number of.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits, PhantomData)
    }
}

impl<L: Label> fmt::Debug for LabelSet<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(L::ALL.iter().filter(|value| self.contains(**value))).finish()
    }
}

/// Declares an enum whose values have names. Gives it `ALL`, `as_str`, `parse` and `Display`, so that a value that is
/// added is known everywhere at once.
macro_rules! labels {
    (
        $(#[$doc:meta])*
        $vis:vis enum $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $label:literal,)* }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        $vis enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// Every value, in the order in which they are declared: `ALL[value as usize]` is `value`.
            pub const ALL: [Self; [$($label),*].len()] = [$(Self::$variant),*];

            /// The name of the value, as it stands in labels.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $label,)*
                }
            }

            /// The value that has this name.
            pub fn parse(name: &str) -> Option<Self> {
                Self::ALL.into_iter().find(|value| value.as_str() == name)
            }
        }

        impl $crate::model::Label for $name {
            const ALL: &'static [Self] = &Self::ALL;

            fn index(self) -> usize {
                self as usize
            }

            fn as_str(self) -> &'static str {
                Self::as_str(self)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

pub(crate) use labels;
