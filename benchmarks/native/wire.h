/* WebSocket frames for the load generator and the floor server: whole, short messages only. */
#ifndef WIRE_H
#define WIRE_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static inline double now_seconds(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static inline void die(const char *what) {
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

/* Writes a text frame; returns its size. A client's mask is all zeros: legal, and free. */
static inline size_t put_frame(char *out, const char *text, size_t length, int masked) {
    size_t head = 2;
    out[0] = (char)0x81;
    if (length < 126) {
        out[1] = (char)length;
    } else {
        out[1] = 126;
        out[2] = (char)(length >> 8);
        out[3] = (char)(length & 255);
        head = 4;
    }
    if (masked) {
        out[1] = (char)(out[1] | 0x80);
        memset(out + head, 0, 4);
        head += 4;
    }
    memcpy(out + head, text, length);
    return head + length;
}

/* Finds the next whole frame at `data`; returns its size or 0. Unmasks nothing (see put_frame). */
static inline size_t next_frame(const unsigned char *data, size_t size, const char **payload,
                                size_t *length, int *opcode) {
    if (size < 2) return 0;
    size_t head = 2, body = data[1] & 0x7f;
    if (body == 126) {
        if (size < 4) return 0;
        body = (size_t)data[2] << 8 | data[3];
        head = 4;
    } else if (body == 127) {
        if (size < 10) return 0;
        body = 0;
        for (int i = 2; i < 10; i++) body = body << 8 | data[i];
        head = 10;
    }
    if (data[1] & 0x80) head += 4;
    if (size < head + body) return 0;
    *payload = (const char *)data + head;
    *length = body;
    *opcode = data[0] & 15;
    return head + body;
}

static inline void send_all(int fd, const char *data, size_t size) {
    while (size) {
        ssize_t done = send(fd, data, size, MSG_NOSIGNAL);
        if (done < 0) {
            if (errno == EAGAIN || errno == EINTR) continue;
            return;
        }
        data += done;
        size -= (size_t)done;
    }
}

#endif
