//! One direction of media: counters and quality.
