//! Every word and colour the user reads, as strings: nothing here writes them anywhere.

pub mod problems;
