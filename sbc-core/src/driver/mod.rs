//! Everything that touches the operating system: rings, sockets, threads, clocks, signals.
