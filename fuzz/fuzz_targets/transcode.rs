//! Feeds what libFuzzer makes of `corpus/transcode` to its check.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lightkeeper_fuzz::transcoding(data));
