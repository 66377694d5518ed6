//! Servers: packaged units, drop-ins, host names, and what is printed of a run.
