//! The names Kubernetes gives to the pods of Deployments and Jobs.
//!
//! Source: kubernetes `pkg/controller/controller_utils.go` (`ComputeHash`) and `apimachinery/pkg/util/rand`.

use hermesh_runtime::Draws;

/// What generated names are written in: no vowels and no `0`, `1`, `3`, so that no word arises by chance.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// Letters at the end of a pod's name.
const SUFFIX_LEN: usize = 5;

/// The longest prefix a generated name keeps: 63 letters of a DNS label without the suffix.
const PREFIX_LEN: usize = 63 - SUFFIX_LEN;

/// The hash of a pod template as it stands in pod names and in the label `pod-template-hash`: 32-bit FNV-1a, its
/// decimal digits spelt in Kubernetes's alphabet, such as `69d6d96cb7`.
///
/// Kubernetes hashes a dump of its own Go structures; the figures differ, their shape does not.
pub(crate) fn template_hash(template: &[u8]) -> String {
    let mut hash: u32 = 0x811c_9dc5;
    for byte in template {
        hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    }
    hash.to_string().bytes().map(|digit| char::from(ALPHABET[usize::from(digit) % ALPHABET.len()])).collect()
}

/// `echo-v1-69d6d96cb7-gpcpd`: the Deployment, its template's hash, and five drawn letters, drawn again while the name
/// is taken. Of some thousand pods of one template two draw the same as likely as not.
pub(crate) fn pod_name(deployment: &str, hash: &str, draws: &mut Draws, is_taken: impl Fn(&str) -> bool) -> String {
    free(&format!("{deployment}-{hash}"), draws, is_taken)
}

/// `base` and five drawn letters, drawn again while the name is taken.
pub(crate) fn free(base: &str, draws: &mut Draws, is_taken: impl Fn(&str) -> bool) -> String {
    loop {
        let name = generated(base, draws);
        if !is_taken(&name) {
            return name;
        }
    }
}

/// `base` and five drawn letters, as for `generateName`.
pub(crate) fn generated(base: &str, draws: &mut Draws) -> String {
    let mut name = format!("{base}-");
    name.truncate(PREFIX_LEN);
    for _ in 0..SUFFIX_LEN {
        let letter = ALPHABET[draws.below(ALPHABET.len() as u64) as usize];
        name.push(char::from(letter));
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_spelt_as_kubernetes_spells_them() {
        let spelt: String = ('0'..='9').map(|digit| char::from(ALPHABET[digit as usize % ALPHABET.len()])).collect();
        assert_eq!(spelt, "456789bcdf");
    }

    #[test]
    fn a_template_hash_is_a_number_of_32_bits_in_the_alphabet() {
        // FNV-1a of nothing is its offset basis, 2166136261.
        assert_eq!(template_hash(b""), "65bb57b6b5");
        let hash = template_hash(b"a template");
        assert!((1..=10).contains(&hash.len()), "{hash}");
        assert!(hash.bytes().all(|letter| ALPHABET.contains(&letter)), "{hash}");
        assert_ne!(hash, template_hash(b"another template"));
    }

    #[test]
    fn pod_names_end_in_five_letters_of_the_alphabet_that_the_seed_decides() {
        let free = |_: &str| false;
        let name = |seed| pod_name("echo-v1", "69d6d96cb7", &mut Draws::new(seed, "pod/echo-grpc/echo-v1/0", 0), free);
        let suffix = name(7).strip_prefix("echo-v1-69d6d96cb7-").map(str::to_owned).expect("deployment and hash lead");
        assert_eq!(suffix.len(), 5);
        assert!(suffix.bytes().all(|letter| ALPHABET.contains(&letter)), "{suffix}");
        assert_eq!(name(7), name(7));
        assert_ne!(name(7), name(8));
    }

    #[test]
    fn a_name_that_is_taken_is_not_given_again() {
        let name = |taken: &[String]| {
            let is_taken = |name: &str| taken.iter().any(|taken| taken == name);
            pod_name("web", "69d6d96cb7", &mut Draws::new(7, "pod/shop/web/0", 0), is_taken)
        };
        let first = name(&[]);
        let second = name(std::slice::from_ref(&first));
        assert_ne!(first, second);
        assert!(![first.clone(), second.clone()].contains(&name(&[first, second])));
    }

    #[test]
    fn a_long_name_is_cut_to_fit_a_dns_label() {
        let name = pod_name(&"x".repeat(80), "69d6d96cb7", &mut Draws::new(1, "pod", 0), |_| false);
        assert_eq!(name.len(), 63);
    }
}
