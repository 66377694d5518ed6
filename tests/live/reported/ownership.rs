//! Whose things are whose: two environments of one project, renamed projects, generated secrets, restored volumes.
