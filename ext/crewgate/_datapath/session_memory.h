/* Allocates the memory of one nghttp2 session, so that a session at rest can give some of it back.
 *
 * nghttp2 allocates a buffer for the frame that it sends when it makes a session, and keeps the
 * buffer as long as the session. It has room for the largest frame (16 KiB), and holds nothing
 * between two frames. Here this buffer has pages of its own. The kernel can take back their
 * content, and gives pages of zeros when nghttp2 next writes into them. All other memory comes from
 * malloc. */
#ifndef CREWGATE_SESSION_MEMORY_H
#define CREWGATE_SESSION_MEMORY_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    SESSION_FRAME_BYTES = 9 + 1 + 16384, /* NGHTTP2_FRAMEBUF_CHUNKLEN of every 1.x version */
    SESSION_PAGE_BYTES = 4096,
    SESSION_FRAME_PAGES_BYTES = 5 * SESSION_PAGE_BYTES,
};

typedef struct {
    void *frame;     /* the buffer of the frame, or NULL */
    uint8_t is_made; /* the session is made: its buffer was allocated, if it has one */
} session_memory;

static inline void *session_realloc(void *old, size_t size, void *context)
{
    session_memory *memory = (session_memory *)context;
    void *pages = NULL;
    if (old == NULL && size == SESSION_FRAME_BYTES && !memory->is_made && memory->frame == NULL) {
        if (posix_memalign(&pages, SESSION_PAGE_BYTES, SESSION_FRAME_PAGES_BYTES) != 0)
            return NULL;
        memory->frame = pages;
        return pages;
    }
    pages = realloc(old, size);
    if (pages != NULL && old != NULL && old == memory->frame)
        memory->frame = NULL;
    return pages;
}

static inline void *session_malloc(size_t size, void *context)
{
    return session_realloc(NULL, size, context);
}

static inline void *session_calloc(size_t count, size_t size, void *context)
{
    (void)context;
    return calloc(count, size);
}

static inline void session_free(void *old, void *context)
{
    session_memory *memory = (session_memory *)context;
    if (old != NULL && old == memory->frame)
        memory->frame = NULL;
    free(old);
}

/* Give the content of the frame's buffer back. nghttp2 must not be sending a frame. */
static inline void session_give_back(session_memory *memory)
{
    /* Larger pages would have other blocks too. */
    if (memory->frame != NULL && sysconf(_SC_PAGESIZE) == SESSION_PAGE_BYTES)
        madvise(memory->frame, SESSION_FRAME_PAGES_BYTES, MADV_DONTNEED);
}

#endif
