//! Every length, offset and depth read from a file is bounded.
