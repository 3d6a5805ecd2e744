"""Remember how far a log was read, and find what is new, through rotations and crashes."""
