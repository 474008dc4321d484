//! RTP header views.
