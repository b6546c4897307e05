//! Rounding. `Display` shows the results without trailing zeros: `71.2`, `300`.

/// Two decimals, half away from zero.
pub fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// One decimal; nothing below zero.
pub fn tenths(value: f64) -> f64 {
    if value > 0.0 { (value * 10.0).round() / 10.0 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_to_a_tenth() {
        let text = [0.0, -0.0, 0.04, 0.05, 9.96, 71.23, 300.0, -1.0, f64::NAN].map(|v| tenths(v).to_string());
        assert_eq!(text.join(" "), "0 0 0 0.1 10 71.2 300 0 0");
    }

    #[test]
    fn or_to_a_hundredth() {
        let text = [0.0, 0.005, 0.04, 9.996, 71.234, 89.9, 100.0].map(|v| rounded(v).to_string());
        assert_eq!(text.join(" "), "0 0.01 0.04 10 71.23 89.9 100");
    }
}
