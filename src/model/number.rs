//! Numbers as text, by hand: what the language formats floats with is a twentieth of the wasm that every page needs, and
//! slow where a poll writes thousands.

/// A number to a tenth; none below zero.
pub fn push_tenths(text: &mut String, value: f64) {
    let tenths = (value * 10.0).round().max(0.0) as u32;
    push_digits(text, tenths / 10);
    if !tenths.is_multiple_of(10) {
        text.push('.');
        push_digits(text, tenths % 10);
    }
}

fn push_digits(text: &mut String, number: u32) {
    if number >= 10 {
        push_digits(text, number / 10);
    }
    text.push(char::from(b'0' + (number % 10) as u8));
}

/// One decimal, no trailing `.0`; none below zero.
pub fn tenths(value: f64) -> String {
    let mut text = String::new();
    push_tenths(&mut text, value);
    text
}

/// One decimal always, `7.0`; none below zero.
pub fn one_decimal(value: f64) -> String {
    let tenths = (value * 10.0).round().max(0.0) as u64;
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// Two decimals; none below zero.
pub fn hundredths(value: f64) -> String {
    let hundredths = (value * 100.0).round().max(0.0) as u64;
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

/// Two decimals at most, no trailing zeros; none below zero.
pub fn up_to_hundredths(value: f64) -> String {
    let hundredths = (value * 100.0).round().max(0.0) as u32;
    let mut text = String::new();
    push_digits(&mut text, hundredths / 100);
    if !hundredths.is_multiple_of(100) {
        text.push('.');
        push_digits(&mut text, hundredths / 10 % 10);
        if !hundredths.is_multiple_of(10) {
            push_digits(&mut text, hundredths % 10);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_to_a_tenth() {
        let text = [0.0, 0.04, 0.05, 9.96, 71.23, 300.0, -1.0].map(tenths).join(" ");
        assert_eq!(text, "0 0 0.1 10 71.2 300 0");
    }

    #[test]
    fn or_to_a_hundredth() {
        let text = [0.0, 0.005, 9.996, 71.234, 300.0, -1.0].map(hundredths).join(" ");
        assert_eq!(text, "0.00 0.01 10.00 71.23 300.00 0.00");
        let text = [0.0, 0.04, 89.9, 90.0, 100.0].map(up_to_hundredths).join(" ");
        assert_eq!(text, "0 0.04 89.9 90 100");
    }
}
