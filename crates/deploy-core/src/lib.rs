//! Pure decisions and stored formats.
