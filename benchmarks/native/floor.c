/* The floor: what one core of this machine can do when a server does nothing but the system calls.

   floor PORT EVENT   answers upgrades, puts clients into the room whose number stands behind "-r", sends EVENT
   n times, in one send() per client, for each publish that says "n":n (in all of the first r rooms where it says
   "rooms":r), and acknowledges requests. */
#include "wire.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>

typedef struct {
    int fd, open, room;
} Peer;

enum { ROOMS = 20000, BURST = 64 };
static int *members[ROOMS], counts[ROOMS], space[ROOMS];
static char *frames;
static size_t frame_size;

static void say(int fd, const char *text) {
    char frame[512];
    send_all(fd, frame, put_frame(frame, text, strlen(text), 0));
}

static void enter(Peer *peer, int room) {
    if (counts[room] == space[room]) {
        space[room] = space[room] ? space[room] * 2 : 4;
        members[room] = realloc(members[room], sizeof(int) * (size_t)space[room]);
    }
    members[room][counts[room]++] = peer->fd;
    peer->room = room;
}

static void got(Peer *peer, const char *text, size_t length) {
    char copy[4096];
    if (length >= sizeof copy) return;
    memcpy(copy, text, length);
    copy[length] = 0;
    if (!strncmp(copy, "40", 2)) {
        say(peer->fd, "40{\"sid\":\"x\"}");
    } else if (!strncmp(copy, "420", 3)) {
        char *room = strstr(copy, "-r");
        enter(peer, room ? atoi(room + 2) % ROOMS : 0);
        say(peer->fd, "430[{\"ok\":true}]");
    } else if (!strncmp(copy, "421", 3)) {
        say(peer->fd, "431[{\"ok\":true}]");
    } else if (!strncmp(copy, "42", 2)) {
        char *number = strstr(copy, "\"n\":");
        int burst = number ? atoi(number + 4) : 1;
        if (burst > BURST) burst = BURST;
        char *all = strstr(copy, "\"rooms\":");
        int first = all ? 0 : peer->room, last = all ? atoi(all + 8) - 1 : peer->room;
        for (int room = first; room <= last && room < ROOMS; room++)
            for (int i = 0; i < counts[room]; i++)
                send_all(members[room][i], frames, frame_size * (size_t)burst);
    }
}

static void leave(Peer *peer) {
    if (peer->room >= 0) {
        int *list = members[peer->room];
        for (int i = 0; i < counts[peer->room]; i++)
            if (list[i] == peer->fd) list[i] = list[--counts[peer->room]];
    }
    close(peer->fd);
    free(peer);
}

static void readable(Peer *peer) {
    static unsigned char data[65536];
    ssize_t size = recv(peer->fd, data, sizeof data, 0);
    if (size <= 0) {
        if (size == 0 || (errno != EAGAIN && errno != EINTR)) leave(peer);
        return;
    }
    if (!peer->open) {
        const char *answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                             "Connection: Upgrade\r\nSec-WebSocket-Accept: "
                             "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        send_all(peer->fd, answer, strlen(answer));
        say(peer->fd, "0{\"sid\":\"x\"}");
        peer->open = 1;
        return;
    }
    size_t at = 0, frame, length;
    const char *payload;
    int opcode;
    while ((frame = next_frame(data + at, (size_t)size - at, &payload, &length, &opcode))) {
        at += frame;
        if (opcode == 1) got(peer, payload, length);
    }
}

int main(int count, char **arguments) {
    if (count < 3) return 2;
    size_t length = strlen(arguments[2]);
    frames = malloc((length + 16) * BURST);
    for (int i = 0; i < BURST; i++)
        frame_size = put_frame(frames + frame_size * (size_t)i, arguments[2], length, 0);
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)atoi(arguments[1]))};
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096))
        die("listen");
    int poller = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        struct epoll_event list[512];
        int ready = epoll_wait(poller, list, 512, -1);
        for (int i = 0; i < ready; i++) {
            if (list[i].data.ptr) {
                readable(list[i].data.ptr);
                continue;
            }
            int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
            if (fd < 0) continue;
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            Peer *peer = calloc(1, sizeof *peer);
            peer->fd = fd;
            peer->room = -1;
            struct epoll_event added = {.events = EPOLLIN, .data.ptr = peer};
            epoll_ctl(poller, EPOLL_CTL_ADD, fd, &added);
        }
    }
}
