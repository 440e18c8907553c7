"""What recorded runs did, for people with the right to see their crew."""
