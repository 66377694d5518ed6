//! The way to machines, over a real SSH server: login shells, noise, sudo, keys, words.
