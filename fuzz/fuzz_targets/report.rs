//! Feeds what libFuzzer makes of `corpus/report` to its check.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lightkeeper_fuzz::report(data));
