//! Signals, pipes, terminals, history, memory: the world around the process.
