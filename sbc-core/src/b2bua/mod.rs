//! The two legs of a call and what an event on one does to the other.
