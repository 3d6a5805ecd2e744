"""Find the rule that Flask matched, for a logged request."""
