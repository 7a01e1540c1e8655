//! Amounts of resources, as Kubernetes writes them: `100m`, `2`, `1.5Gi`, `1e3`.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// An amount. Those that are written in different ways and mean the same are equal.
#[derive(Clone, Debug)]
pub(super) struct Quantity {
    text: String,
    /// In thousand-millionths, the least that Kubernetes tells apart, rounded up.
    nano: u128,
}

const NANO: u128 = 1_000_000_000;

impl FromStr for Quantity {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, suffix) = text.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || whole.len() + fraction.len() > 18 {
            return Err(());
        }
        let digits: u128 = format!("{whole}{fraction}").parse().map_err(drop)?;
        let mut divisor = 10_u128.pow(u32::try_from(fraction.len()).map_err(drop)?);
        let multiplier = match suffix {
            "" => NANO,
            "n" => 1,
            "u" => 1_000,
            "m" => 1_000_000,
            "k" | "M" | "G" | "T" | "P" | "E" => power(NANO, 1_000, "kMGTPE", suffix)?,
            "Ki" | "Mi" | "Gi" | "Ti" | "Pi" | "Ei" => power(NANO, 1_024, "KMGTPE", &suffix[..1])?,
            exponent => {
                let exponent = exponent.strip_prefix(['e', 'E']).ok_or(())?;
                let exponent: i32 = exponent.parse().map_err(drop)?;
                let power = 10_u128.checked_pow(exponent.unsigned_abs()).filter(|_| exponent.abs() <= 18).ok_or(())?;
                if exponent < 0 {
                    divisor = divisor.checked_mul(power).ok_or(())?;
                    NANO
                } else {
                    NANO * power
                }
            }
        };
        let nano = digits.checked_mul(multiplier).ok_or(())?.div_ceil(divisor);
        Ok(Self { text: text.to_owned(), nano })
    }
}

fn power(unit: u128, base: u128, letters: &str, suffix: &str) -> Result<u128, ()> {
    let exponent = letters.find(suffix).ok_or(())? + 1;
    Ok(unit * base.pow(u32::try_from(exponent).map_err(drop)?))
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nano == other.nano
    }
}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.nano.cmp(&other.nano))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_and_compared_as_kubernetes_does() {
        let read = |text: &str| text.parse::<Quantity>();
        for (one, other) in
            [("100m", "0.1"), ("1", "1000m"), ("1Ki", "1024"), ("1.5Gi", "1536Mi"), ("1e3", "1k"), ("5e-1", "500m")]
        {
            assert_eq!(read(one), read(other), "{one} {other}");
        }
        for (less, more) in [("999m", "1"), ("1M", "1Mi"), ("2G", "1Ti"), (".5", "1"), ("1n", "1u")] {
            assert!(read(less).unwrap() < read(more).unwrap(), "{less} {more}");
        }
        for wrong in ["", "lots", "1 Gi", "1gi", "-1", "1.2.3", ".", "1e", "1e99", "m", "1Kim", "99999999999999999999"]
        {
            assert_eq!(read(wrong), Err(()), "{wrong}");
        }
    }
}
