//! Public reports of comparable tools, tried for real.
