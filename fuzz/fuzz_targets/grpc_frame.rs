//! Feeds what libFuzzer makes of `corpus/grpc_frame` to its check.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lightkeeper_fuzz::grpc_frame(data));
