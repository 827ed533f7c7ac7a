//! What is damaged, missing or old is told every time.
