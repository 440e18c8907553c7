/* The bounds of a token for C. src/crewgate/limits has the same bounds with their reasons; the
 * import of `token` fails if the two differ. */
#ifndef CREWGATE_TOKEN_BOUNDS_H
#define CREWGATE_TOKEN_BOUNDS_H

#define TOKEN_BYTES_MAX 4096
#define JSON_DEPTH_MAX 10
#define JSON_MEMBERS_MAX 64
#define CLAIM_CHARS_MAX 128
#define BRANCH_DEPTH_MAX 8

#endif
