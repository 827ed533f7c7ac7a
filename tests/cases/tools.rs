//! The commands that write and read other files.
