"""The minting watch of this machine, and quarantines that other machines order."""
