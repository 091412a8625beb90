//! Closed sets of names: one line declares a value with the name that it has in labels, JSON and YAML.

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

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

pub(crate) use labels;
