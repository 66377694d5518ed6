//! Texts that quoting goes wrong with.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use provision::template;

/// Texts that quoting goes wrong with, more often than chance would make them.
pub fn hostile() -> impl Strategy<Value = String> {
    let bit = prop_oneof![
        Just("'".to_owned()),
        Just("\"".to_owned()),
        Just("\\".to_owned()),
        Just("$".to_owned()),
        Just("${x}".to_owned()),
        Just("`".to_owned()),
        Just("\n".to_owned()),
        Just("\r".to_owned()),
        Just("\t".to_owned()),
        Just(": ".to_owned()),
        Just(" #".to_owned()),
        Just("- ".to_owned()),
        Just("%".to_owned()),
        Just("_".to_owned()),
        Just(";--".to_owned()),
        Just("/*".to_owned()),
        Just(":x".to_owned()),
        Just("\\'".to_owned()),
        Just("{{".to_owned()),
        Just("!".to_owned()),
        Just("&*?|>@".to_owned()),
        Just("0x1F".to_owned()),
        Just("null".to_owned()),
        Just("yes".to_owned()),
        Just("long ".repeat(30)),
        Just("long".repeat(30)),
        Just("1e3".to_owned()),
        Just("22:22".to_owned()),
        Just("\u{7f}\u{85}\u{2028}\u{feff}".to_owned()),
        "[a-z0-9 ]{1,4}",
        "\\PC{1,3}",
        any::<char>().prop_map(|c| c.to_string()),
    ];
    prop::collection::vec(bit, 0..8).prop_map(|bits| bits.concat().replace('\0', ""))
}

/// Many of them, the same on every run, to be sent in one trip.
pub fn many(count: usize) -> Vec<String> {
    seeded(0, count)
}

/// The same for a seed.
pub fn seeded(seed: u64, count: usize) -> Vec<String> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), random);
    let strategy = hostile();
    (0..count)
        .map(|_| strategy.new_tree(&mut runner).unwrap().current())
        .collect()
}

/// A value through a filter of templates.
pub fn filtered(filter: &str, value: &str) -> Result<String, String> {
    let source = format!("{{{{ value | {filter} }}}}");
    let overrides = BTreeMap::from([("x.j2".to_owned(), Arc::from(source.as_str()))]);
    template::file("x.j2", &overrides, BTreeMap::from([("value", value)]))
}

/// What Compose makes of a text: `$$` is a dollar, and a lonely one would be a variable.
pub fn interpolated(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '$' {
            assert_eq!(
                chars.next(),
                Some('$'),
                "Compose would look up a variable in {text:?}"
            );
        }
        out.push(c);
    }
    out
}
