//! Who can log in from where: one model for `apply` and `verify`, and what a look at many roles costs.
