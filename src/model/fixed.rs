//! For serde's `with`: figures of a fixed number of decimals. Texts tell them as they are; where bytes count they are
//! whole numbers of the last decimal, a few bytes each.

macro_rules! fixed {
    ($(#[$doc:meta])* $module:ident, $figures:ty, $wholes:ty, $map:ident, $factor:literal) => {
        $(#[$doc])*
        pub mod $module {
            use serde::{Deserialize, Deserializer, Serialize, Serializer};

            fn whole(figure: f64) -> i64 {
                (figure * $factor).round() as i64
            }

            fn figure(whole: i64) -> f64 {
                whole as f64 / $factor
            }

            pub fn serialize<S: Serializer>(figures: &$figures, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    return figures.serialize(serializer);
                }
                let wholes: $wholes = super::$map(figures, whole);
                wholes.serialize(serializer)
            }

            pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<$figures, D::Error> {
                if deserializer.is_human_readable() {
                    return <$figures>::deserialize(deserializer);
                }
                let wholes = <$wholes>::deserialize(deserializer)?;
                Ok(super::$map(&wholes, figure))
            }
        }
    };
}

fixed!(
    /// A figure of two decimals.
    two, Option<f64>, Option<i64>, one, 100.0
);
fixed!(
    /// A figure of four decimals.
    four, Option<f64>, Option<i64>, one, 10_000.0
);
fixed!(
    /// A column of figures of four decimals.
    four_each, Vec<Option<f64>>, Vec<Option<i64>>, each, 10_000.0
);

fn one<A: Copy, B>(value: &Option<A>, f: fn(A) -> B) -> Option<B> {
    value.map(f)
}

fn each<A: Copy, B>(values: &[Option<A>], f: fn(A) -> B) -> Vec<Option<B>> {
    values.iter().map(|value| value.map(f)).collect()
}
