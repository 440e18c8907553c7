"""The journals of orchestrators: a line for each grant, decision and revocation."""
