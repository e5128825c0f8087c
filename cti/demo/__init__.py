"""The demonstration: a small company whose phones never stop ringing."""
