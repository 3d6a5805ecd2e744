"""From a logged request to the rule that Flask matched."""
