"""The values of tokens: claims, grants, and the public keys that verify them."""
