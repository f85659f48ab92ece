//! Feeds what libFuzzer makes of `corpus/json` to its check.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lightkeeper_fuzz::json(data));
