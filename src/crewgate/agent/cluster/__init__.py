"""This machine as a member: whom it follows, and how it stands among the others."""
