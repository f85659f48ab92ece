//! Feeds what libFuzzer makes of `corpus/proof` to its check.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lightkeeper_fuzz::proof(data));
