//! What fails in the background is told.
