/* Many Socket.IO clients in one thread.

   load MODE key=value ...

   connect  open `clients` connections, `flight` at a time, to an answered CONNECT; print the rate
   idle     the same, then print a line and wait for the end of the input
   fan      `clients` in `rooms` equal rooms; the first of each room publishes a burst of `burst` events
            as soon as everybody in the room has received the last one, for `seconds`
   turns    the same rooms; the first client of all asks for `burst` events in every room at once, as soon as
            everybody has received all of the last ones
   ack      each client sends `request` as soon as the last one was acknowledged
   latency  one room; `rate` events per second whatever happens; time from sending to each receiver

   In `join`, `publish` and `request` the character # stands for the number of the room. `auths` is a file with an
   `auth` per line, which clients take in turn. */
#include "wire.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>

enum { NEW, UPGRADING, OPENING, CONNECTING, JOINING, READY };

typedef struct {
    int fd, state;
    int room;
    unsigned seen;
    size_t size, room_for;
    unsigned char *data;
} Client;

static const char *mode, *host = "127.0.0.1", *path = "/socket.io/", *auth = "", *join_text = "";
static const char *publish_text = "", *request_text = "";
static int port = 3000, clients = 200, rooms = 1, burst = 1, flight = 64;
static char **auths; /* one for each client in turn, where there are several */
static int auth_count;
static int publisher; /* the port of another node, where the first client is */
static const char *pids = ""; /* the servers, to see how much of their core they use while we measure */
static double seconds = 3, warmup = 0.5, rate = 1000;

static Client *all;
static int poller, started, ready;
static long *owed; /* frames that a room still waits for */
static long owed_rooms; /* rooms that wait, in turns */
static long received, answered, events, closed;
static int measuring;
static double *sent_at;
static unsigned published;
enum { SLOTS = 5000000 };
static int histogram[SLOTS]; /* microseconds */

static void say(Client *client, const char *text) {
    if (client->fd < 0) return;
    char frame[4096], filled[4000];
    size_t length = 0;
    for (const char *at = text; *at && length < sizeof filled - 16; at++) {
        if (*at == '#')
            length += (size_t)sprintf(filled + length, "%d", client->room);
        else
            filled[length++] = *at;
    }
    send_all(client->fd, frame, put_frame(frame, filled, length, 1));
}

static void open_next(void) {
    if (started >= clients) return;
    Client *client = &all[started];
    client->room = started % rooms;
    started++;
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (client->fd < 0) die("socket");
    int one = 1;
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    int there = publisher && started == 1 ? publisher : port;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)there)};
    inet_pton(AF_INET, host, &address.sin_addr);
    /* More than one source address, so that ports do not run out. */
    struct sockaddr_in source = {.sin_family = AF_INET};
    char text[32];
    snprintf(text, sizeof text, "127.0.0.%d", 2 + started / 20000);
    inet_pton(AF_INET, text, &source.sin_addr);
    /* The port is chosen at connect, when the kernel knows where to: among many closed connections
       the search for one that is free everywhere takes milliseconds. */
    setsockopt(client->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    bind(client->fd, (struct sockaddr *)&source, sizeof source);
    if (connect(client->fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS)
        die("connect");
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = client};
    epoll_ctl(poller, EPOLL_CTL_ADD, client->fd, &event);
    client->state = NEW;
}

static void upgrade(Client *client) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        errno = error;
        die("connect");
    }
    char request[512];
    int length = snprintf(request, sizeof request,
                          "GET %s?EIO=4&transport=websocket HTTP/1.1\r\nHost: %s:%d\r\n"
                          "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                          "Sec-WebSocket-Version: 13\r\n\r\n",
                          path, host, port);
    send_all(client->fd, request, (size_t)length);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
    epoll_ctl(poller, EPOLL_CTL_MOD, client->fd, &event);
    client->state = UPGRADING;
}

static void is_ready(Client *client) {
    client->state = READY;
    ready++;
    open_next();
}

static void publish(int room) {
    owed[room] = (long)burst * (clients / rooms);
    say(&all[room], publish_text);
}

static void publish_everywhere(void) {
    for (int i = 0; i < rooms; i++) owed[i] = (long)burst * (clients / rooms);
    owed_rooms = rooms;
    say(&all[0], publish_text);
}

static long number_behind(const char *text, size_t length, const char *name) {
    const char *at = memmem(text, length, name, strlen(name));
    return at ? atol(at + strlen(name)) : -1;
}

/* Deltas that were appended together may come as one packet, which says from where to where it goes. */
static long events_in(const char *text, size_t length) {
    long since = number_behind(text, length, "\"since\":");
    return since < 0 ? 1 : number_behind(text, length, "\"offset\":") - since;
}

/* The server ended a connection. Where one of thousands may end without harm that is counted. */
static void ends(Client *client, const char *how) {
    int many = !strcmp(mode, "idle") || !strcmp(mode, "latency");
    if (!many || client->state != READY || (client == all && strcmp(mode, "idle"))) {
        fprintf(stderr, "%s in state %d\n", how, client->state);
        exit(1);
    }
    closed++;
    close(client->fd);
    client->fd = -1;
    client->size = 0;
}

static void got_event(Client *client, const char *text, size_t length) {
    long count = events_in(text, length);
    received += count;
    if (!strcmp(mode, "latency")) {
        double now = now_seconds();
        while (count--) {
            long slot = (long)((now - sent_at[client->seen++ % 65536]) * 1e6);
            if (measuring) histogram[slot < 0 ? 0 : slot >= SLOTS ? SLOTS - 1 : slot]++;
        }
    } else if ((owed[client->room] -= count) == 0) {
        events += burst;
        if (strcmp(mode, "turns"))
            publish(client->room);
        else if (--owed_rooms == 0)
            publish_everywhere();
    }
}

static void got_message(Client *client, const char *text, size_t length) {
    if (length == 1 && text[0] == '2') {
        say(client, "3");
    } else if (client->state == OPENING && text[0] == '0') {
        char connect[2048];
        int number = (int)(client - all);
        snprintf(connect, sizeof connect, "40%s", auth_count ? auths[number % auth_count] : auth);
        say(client, connect);
        client->state = CONNECTING;
    } else if (client->state == CONNECTING && length > 1 && text[1] == '0') {
        if (*join_text) {
            say(client, join_text);
            client->state = JOINING;
        } else {
            is_ready(client);
        }
    } else if (client->state == JOINING && length > 1 && text[1] == '3') {
        is_ready(client);
    } else if (client->state == READY && length > 1 && text[1] == '2') {
        /* What a server says of its own accord while clients still join is not counted. */
        if (measuring >= 0) got_event(client, text, length);
    } else if (client->state == READY && length > 1 && text[1] == '3') {
        answered++;
        if (measuring >= 0 && !strcmp(mode, "ack")) say(client, request_text);
    } else if (length > 1 && text[0] == '4' && (text[1] == '4' || text[1] == '1')) {
        fprintf(stderr, "refused: %.*s\n", (int)length, text);
        exit(1);
    }
}

static void read_from(Client *client) {
    static unsigned char scratch[1 << 18];
    size_t kept = client->size;
    if (kept) memcpy(scratch, client->data, kept);
    ssize_t got = recv(client->fd, scratch + kept, sizeof scratch - kept, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) {
        ends(client, "closed by the server");
        return;
    }
    size_t size = kept + (size_t)got, at = 0;
    if (client->state == UPGRADING) {
        unsigned char *end = memmem(scratch, size, "\r\n\r\n", 4);
        if (end) {
            if (memcmp(scratch, "HTTP/1.1 101", 12)) {
                fprintf(stderr, "no upgrade: %.*s\n", (int)size, scratch);
                exit(1);
            }
            at = (size_t)(end - scratch) + 4;
            client->state = OPENING;
        }
    }
    if (client->state != UPGRADING) {
        const char *payload;
        size_t length, frame;
        int opcode;
        while ((frame = next_frame(scratch + at, size - at, &payload, &length, &opcode))) {
            at += frame;
            if (opcode == 1) got_message(client, payload, length);
            if (opcode == 8) {
                ends(client, "close frame from the server");
                return;
            }
        }
    }
    client->size = size - at;
    if (client->size > client->room_for) {
        client->room_for = client->size * 2;
        client->data = realloc(client->data, client->room_for);
    }
    if (client->size) memcpy(client->data, scratch + at, client->size);
}

static void turn(int timeout) {
    static struct epoll_event list[1024];
    int count = epoll_wait(poller, list, 1024, timeout);
    for (int i = 0; i < count; i++) {
        Client *client = list[i].data.ptr;
        if (client->state == NEW) {
            if (list[i].events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) upgrade(client);
        } else {
            read_from(client);
        }
    }
}

static double cpu_seconds(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

/* User and system time of a process with all its threads. */
static double process_seconds(int pid) {
    char name[64], text[1024];
    unsigned long user = 0, kernel = 0;
    snprintf(name, sizeof name, "/proc/%d/stat", pid);
    FILE *file = fopen(name, "r");
    if (!file) return 0;
    size_t size = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[size] = 0;
    char *rest = strrchr(text, ')');
    if (rest) sscanf(rest + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &kernel);
    return (double)(user + kernel) / (double)sysconf(_SC_CLK_TCK);
}

/* The same of all servers; their ids are separated by commas. */
static double server_seconds(void) {
    double sum = 0;
    for (const char *at = pids; at && *at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
        sum += process_seconds(atoi(at));
    return sum;
}

static void run(double length) {
    double end = now_seconds() + length, next = now_seconds();
    int paced = !strcmp(mode, "latency");
    while (now_seconds() < end) {
        if (paced) {
            while (next <= now_seconds()) {
                sent_at[published++ % 65536] = now_seconds();
                say(&all[0], publish_text);
                next += 1 / rate;
            }
            turn(0);
        } else {
            turn(10);
        }
    }
}

static long percentile(double share) {
    long total = 0, sum = 0;
    for (int i = 0; i < SLOTS; i++) total += histogram[i];
    for (int i = 0; i < SLOTS; i++)
        if ((double)(sum += histogram[i]) >= share * (double)total) return i;
    return 0;
}

static void read_auths(const char *name) {
    char line[2048];
    FILE *file = fopen(name, "r");
    if (!file) die(name);
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        auths = realloc(auths, sizeof *auths * (size_t)(auth_count + 1));
        auths[auth_count++] = strdup(line);
    }
    fclose(file);
}

static void read_option(const char *option) {
    char name[32];
    const char *value = strchr(option, '=');
    if (!value || value - option > 31) die(option);
    snprintf(name, sizeof name, "%.*s", (int)(value - option), option);
    value++;
    if (!strcmp(name, "host")) host = value;
    else if (!strcmp(name, "path")) path = value;
    else if (!strcmp(name, "auth")) auth = value;
    else if (!strcmp(name, "auths")) read_auths(value);
    else if (!strcmp(name, "join")) join_text = value;
    else if (!strcmp(name, "publish")) publish_text = value;
    else if (!strcmp(name, "request")) request_text = value;
    else if (!strcmp(name, "pids")) pids = value;
    else if (!strcmp(name, "publisher")) publisher = atoi(value);
    else if (!strcmp(name, "port")) port = atoi(value);
    else if (!strcmp(name, "clients")) clients = atoi(value);
    else if (!strcmp(name, "rooms")) rooms = atoi(value);
    else if (!strcmp(name, "burst")) burst = atoi(value);
    else if (!strcmp(name, "flight")) flight = atoi(value);
    else if (!strcmp(name, "seconds")) seconds = atof(value);
    else if (!strcmp(name, "warmup")) warmup = atof(value);
    else if (!strcmp(name, "rate")) rate = atof(value);
    else {
        fprintf(stderr, "no such option: %s\n", name);
        exit(2);
    }
}

int main(int count, char **arguments) {
    if (count < 2) return 2;
    mode = arguments[1];
    for (int i = 2; i < count; i++) read_option(arguments[i]);
    poller = epoll_create1(0);
    all = calloc((size_t)clients, sizeof *all);
    owed = calloc((size_t)rooms, sizeof *owed);
    sent_at = calloc(65536, sizeof *sent_at);
    measuring = -1;
    double began = now_seconds();
    for (int i = 0; i < flight; i++) open_next();
    while (ready < clients) {
        turn(100);
        if (now_seconds() - began > 120) {
            fprintf(stderr, "only %d of %d are ready\n", ready, clients);
            return 1;
        }
    }
    double connected = now_seconds() - began;
    if (!strcmp(mode, "connect") || !strcmp(mode, "idle")) {
        printf("{\"connects\": %.0f}\n", clients / connected);
        fflush(stdout);
        if (!strcmp(mode, "idle")) {
            struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
            epoll_ctl(poller, EPOLL_CTL_ADD, 0, &event);
            for (;;) {
                struct epoll_event one[64];
                int got = epoll_wait(poller, one, 64, 1000);
                for (int i = 0; i < got; i++) {
                    if (!one[i].data.ptr) return 0;
                    read_from(one[i].data.ptr);
                }
            }
        }
        return 0;
    }
    double settle = now_seconds() + 0.3;
    while (now_seconds() < settle) turn(10);
    measuring = 0;
    if (!strcmp(mode, "fan"))
        for (int i = 0; i < rooms; i++) publish(i);
    if (!strcmp(mode, "turns")) publish_everywhere();
    if (!strcmp(mode, "ack"))
        for (int i = 0; i < clients; i++) say(&all[i], request_text);
    run(warmup);
    long received_before = received, answered_before = answered, events_before = events;
    measuring = 1;
    double start = now_seconds(), cpu = cpu_seconds(), server = server_seconds();
    run(seconds);
    double took = now_seconds() - start;
    printf("{\"deliveries\": %.0f, \"events\": %.0f, \"acks\": %.0f, \"load_cpu\": %.3f, "
           "\"server_cpu\": %.3f, \"seconds\": %.2f, \"p50_us\": %ld, \"p99_us\": %ld, "
           "\"closed\": %ld}\n",
           (double)(received - received_before) / took, (double)(events - events_before) / took,
           (double)(answered - answered_before) / took, (cpu_seconds() - cpu) / took,
           (server_seconds() - server) / took, took,
           percentile(0.5), percentile(0.99), closed);
    return 0;
}
