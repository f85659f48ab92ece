//! Feeds what libFuzzer makes of `corpus/cut` to its check.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lightkeeper_fuzz::cutting(data));
