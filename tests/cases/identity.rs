//! Names, leftovers, locks: nothing is trusted by its name.
