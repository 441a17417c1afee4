"""How each kind of check is asked."""
