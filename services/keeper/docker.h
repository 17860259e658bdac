/* docker.h - as much of the Docker Engine's API as the keeper needs, over the engine's unix socket.
 *
 * HTTP/1.0 on purpose: the answer is what comes until the end, without chunks, also for the endless one of GET /events.
 * Blocks (the keeper has nothing else to do); every call but docker_next has DOCKER_TIMEOUT_MS.
 * Errors: FAULT_UNAVAILABLE no engine answers, FAULT_DENIED no right to the socket, FAULT_TIMEOUT, FAULT_PROTOCOL, FAULT_CLOSED.
 */
#pragma once

#include "base/buf.h"
#include "base/fault.h"

#define DOCKER_TIMEOUT_MS 30000
#define DOCKER_LINE_MAX   (64u << 10)

struct docker {
    const char *socket_path;
    int fd;                            /* of the events; -1: none */
    struct buf input;
    bool taken;                        /* the first line of the input has been given out */
};

void docker_init(struct docker *d, const char *socket_path);
void docker_close(struct docker *d);   /* the stream of events, if it is open */

/* One request; the HTTP status. The body is not read: Docker answers when all is done. */
int docker_ask(const char *socket_path, const char *method, const char *path, unsigned *status, struct fault *why) MUST_CHECK;
/* A name Compose could have given: letters, digits, - and _. */
bool docker_is_project(struct slice name);
/* Opens the stream of what happens to the containers of a compose project; since_ns: later than that (0: from now). */
int docker_events(struct docker *d, const char *project, int64_t since_ns, struct fault *why) MUST_CHECK;
/* The next event: 1 and a line, borrowed until the next call; 0: none until then. `wait_ms` UINT64_MAX: without end. */
int docker_next(struct docker *d, uint64_t wait_ms, struct slice *line, struct fault *why) MUST_CHECK;
