"""What of a log was read and what is new, through rotations and crashes."""
