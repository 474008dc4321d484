//! RTCP views.
