/* The bounds of a token as C needs them. They are those of src/crewgate/limits, where the
 * reasons stand; `token` refuses to be imported when the two differ. */
#ifndef CREWGATE_TOKEN_BOUNDS_H
#define CREWGATE_TOKEN_BOUNDS_H

#define TOKEN_BYTES_MAX 4096
#define JSON_DEPTH_MAX 8
#define JSON_MEMBERS_MAX 64
#define CLAIM_CHARS_MAX 128
#define BRANCH_DEPTH_MAX 8

#endif
