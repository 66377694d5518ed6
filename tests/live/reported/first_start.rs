//! First starts: the failing statement at once, and grants on objects that are not there yet.
