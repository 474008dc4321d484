"""Real phones on both sides of sbcd: baresip and pjsua2. See docs/TESTING.md."""
