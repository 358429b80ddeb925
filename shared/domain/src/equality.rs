//! How a destination tells whether two identifiers are one record. Two keys that are one record there get one verdict
//! for the whole model, before anything is sent.

use crate::value::canonical_decimal;

/// How a field's values are compared at the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Equality {
    /// As they are; also where the destination does not say (a webhook).
    #[default]
    Exact,
    /// `A` and `a` are one.
    IgnoresCase,
    /// The same for the letters of ASCII alone: É and é are two.
    IgnoresAsciiCase,
    /// By its number: `7`, `007` and `7.0` are one.
    Number,
    /// Spaces at the end do not count.
    IgnoresTrailingSpace,
    /// Neither case nor spaces at the end.
    IgnoresCaseAndTrailingSpace,
    /// By a rule that only the destination knows, such as a collation of its own: it is asked
    /// ([`crate::ports::Destination::same_identity`]) about values that may be one.
    Destination,
}

impl Equality {
    /// True when `A` and `a` may be one.
    pub fn may_ignore_case(self) -> bool {
        !matches!(self, Equality::Exact | Equality::IgnoresTrailingSpace | Equality::Number)
    }

    /// A form of `text` that two values share when they are one there. For [`Equality::Destination`] two values may
    /// share it that are not one: the destination has the last word.
    pub fn fold(self, text: &str) -> String {
        match self {
            Equality::Exact => text.to_owned(),
            Equality::IgnoresCase => text.to_lowercase(),
            Equality::IgnoresAsciiCase => text.to_ascii_lowercase(),
            Equality::Number => {
                canonical_decimal(text.trim()).map_or_else(|| text.to_owned(), |number| number.to_string())
            }
            Equality::IgnoresTrailingSpace => text.trim_end_matches(' ').to_owned(),
            Equality::IgnoresCaseAndTrailingSpace => text.trim_end_matches(' ').to_lowercase(),
            // Letters and digits without their marks: accents, width, case and punctuation are what such rules ignore; letters of
            // their own are what such rules take them for.
            Equality::Destination => {
                let apart = icu_normalizer::DecomposingNormalizerBorrowed::new_nfkd().normalize(text);
                apart.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).flat_map(base).collect()
            }
        }
    }
}

/// The letters that a letter without a decomposition is sorted as: `ß` as `ss`, `ø` as `o`, katakana as hiragana.
fn base(letter: char) -> impl Iterator<Item = char> {
    let (first, second) = match letter {
        'ß' => ('s', Some('s')),
        'æ' => ('a', Some('e')),
        'œ' => ('o', Some('e')),
        'þ' => ('t', Some('h')),
        'ø' => ('o', None),
        'ł' => ('l', None),
        'đ' | 'ð' => ('d', None),
        'ħ' => ('h', None),
        'ŋ' => ('n', None),
        'ŧ' => ('t', None),
        'ı' => ('i', None),
        'ĸ' => ('k', None),
        'ς' => ('σ', None),
        'ァ'..='ヶ' => (char::from_u32(u32::from(letter) - 0x60).unwrap_or(letter), None),
        other => (other, None),
    };
    std::iter::once(first).chain(second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_are_one_share_a_form() {
        for (equality, a, b, one) in [
            (Equality::Exact, "a", "A", false),
            (Equality::IgnoresCase, "\u{c4}da", "\u{e4}DA", true),
            (Equality::IgnoresCase, "a", "a ", false),
            (Equality::IgnoresAsciiCase, "Ada", "aDA", true),
            (Equality::IgnoresAsciiCase, "Äda", "äda", false),
            (Equality::Number, "007", "7.0", true),
            (Equality::Number, " 7", "7", true),
            (Equality::Number, "seven", "Seven", false),
            (Equality::Number, "7", "70", false),
            (Equality::IgnoresTrailingSpace, "a", "a  ", true),
            (Equality::IgnoresTrailingSpace, "a", "A", false),
            (Equality::IgnoresCaseAndTrailingSpace, "a", "A ", true),
            (Equality::Destination, "caf-1", "Caf 1", true),
            (Equality::Destination, "café", "CAFE", true),
            (Equality::Destination, "Ａda", "ada", true),
            (Equality::Destination, "Straße", "STRASSE", true),
            (Equality::Destination, "Øre", "ore", true),
            (Equality::Destination, "Ægir", "aegir", true),
            (Equality::Destination, "カナ", "かな", true),
            (Equality::Destination, "a", "b", false),
        ] {
            assert_eq!(equality.fold(a) == equality.fold(b), one, "{equality:?} {a:?} {b:?}");
        }
    }
}
