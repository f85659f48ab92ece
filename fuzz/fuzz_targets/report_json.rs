//! Feeds what libFuzzer makes of `corpus/report_json` to its check.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lightkeeper_fuzz::report_json(data));
