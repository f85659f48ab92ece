//! The thin door: hands the command line to the library. It refuses to know anything else.

fn main() {}
