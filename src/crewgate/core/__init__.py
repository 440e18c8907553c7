"""Pure rules: no clock, socket, file or randomness; what they need arrives as arguments."""
