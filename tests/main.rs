//! The tests that see the product from outside, in one binary: each module is an area of its own, and
//! `cargo test --test integration gateway::` runs one.
//!
//! What it refuses to know: any of them; they share `folder` alone. Invariants: they run side by side in one process, so
//! no test changes what is the process's own (environment, current folder, panic hook, subscriber of logs). `abuse` is
//! apart: it measures the memory of its process.

#[cfg(test)]
mod config;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod developer;
#[cfg(test)]
mod documentation;
#[cfg(test)]
mod embedded;
#[cfg(test)]
mod folder;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod gateway;
#[cfg(test)]
mod policy;
#[cfg(test)]
mod tidy;
