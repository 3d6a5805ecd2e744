"""Name, encode and deliver metrics, and listen for them."""
