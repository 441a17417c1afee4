"""The outputs: what tells the health to those who ask for it or are notified of it."""
