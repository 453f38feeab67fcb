/* Fast stub of LLM providers: one epoll thread, canned answers, optional delay between
 * SSE events.  OpenAI's chat completions and responses, Anthropic's messages, Gemini's
 * generateContent, plus the GET probes that self-hosted routers ask for.
 *   cc -O2 -o stub stub.c && ./stub PORT FOLDER [DELAY_US] [FIRST_BYTE_DELAY_US]
 * FOLDER holds NAME.json and NAME.sse for chat, messages, responses and gemini (answers.py
 * writes them); each event of a stream goes out by itself.
 * GET /__delay/US sets the delay between events, GET /__stats counts answers.
 * "stream": true in the request body, or :stream in the path, selects the streamed answer. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAXFD 65536

typedef struct { char *p; size_t n; } blob;
typedef struct {
    int fd, step, nsteps, waiting, want_out;
    size_t off, len, cap, used;      /* off: within current piece; len/cap/used: input */
    char *in;
    blob *pieces;
    uint64_t due;
    int qnext;                       /* FIFO of connections waiting for their next event */
} conn;

static conn *conns[MAXFD];
static int ep, qhead = -1, qtail = -1;
static uint64_t delay_us, first_us, served, streamed;
/* How a request line names a format, and the answers of that format. */
static struct { const char *word, *file; blob full, *stream; int n; } formats[] = {
    { "/chat/completions", "chat" }, { "/messages", "messages" }, { "/responses", "responses" },
    { "enerateContent", "gemini" },
};
enum { FORMATS = sizeof formats / sizeof *formats };

static uint64_t now_us(void) {
    struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}
static blob full(const char *json) {
    size_t room = strlen(json) + 256; char *b = malloc(room);
    int n = snprintf(b, room, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                     strlen(json), json);
    return (blob){ b, n };
}
static blob event(const char *text, size_t len, int head, int tail) {
    size_t room = len + 256; char *b = malloc(room);
    int n = snprintf(b, room, "%s%zx\r\n%.*s\r\n%s",
        head ? "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n" : "",
        len, (int)len, text, tail ? "0\r\n\r\n" : "");
    return (blob){ b, n };
}
/* FOLDER/NAME.END as one text */
static char *slurp(const char *folder, const char *name, const char *end) {
    char path[4096]; snprintf(path, sizeof path, "%s/%s.%s", folder, name, end);
    FILE *f = fopen(path, "rb"); if (!f) { perror(path); exit(1); }
    fseek(f, 0, SEEK_END); long n = ftell(f); rewind(f);
    char *text = malloc(n + 1);
    if (fread(text, 1, n, f) != (size_t)n) { perror(path); exit(1); }
    text[n] = 0; fclose(f); return text;
}
/* behind the empty line that ends the first event of a text */
static char *event_end(char *text) {
    char *lf = strstr(text, "\n\n"), *crlf = strstr(text, "\r\n\r\n");
    if (crlf && (!lf || crlf < lf)) return crlf + 4;
    return lf ? lf + 2 : text + strlen(text);
}
static void build(const char *folder) {
    for (int i = 0; i < FORMATS; i++) {
        formats[i].full = full(slurp(folder, formats[i].file, "json"));
        char *text = slurp(folder, formats[i].file, "sse");
        for (char *p = text, *end; *p; p = end) {
            end = event_end(p);
            formats[i].stream = realloc(formats[i].stream, (formats[i].n + 1) * sizeof(blob));
            formats[i].stream[formats[i].n++] = event(p, end - p, p == text, !*end);
        }
    }
}

static void arm(conn *c, int out) {
    if (c->want_out == out) return;
    struct epoll_event ev = { .events = EPOLLIN | (out ? EPOLLOUT : 0), .data.fd = c->fd };
    epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &ev); c->want_out = out;
}
static conn **dead; static int ndead, capdead;   /* freed at the end of the loop turn */
static void bury(conn *c) {
    if (ndead == capdead) dead = realloc(dead, (capdead = capdead * 2 + 64) * sizeof *dead);
    dead[ndead++] = c;
}
static void drop(conn *c) {
    int fd = c->fd;
    close(fd); c->fd = -1; free(c->in); c->in = NULL; c->cap = c->len = 0;
    conns[fd] = NULL;
    if (!c->waiting) bury(c); /* else buried when it leaves the queue */
}
/* queue keeps pointers by slot number so that a dropped connection is skipped safely */
static conn **slot; static int nslot, *freeslot, nfree;
static void enqueue(conn *c, uint64_t due) {
    int s;
    if (nfree) s = freeslot[--nfree];
    else { s = nslot++; slot = realloc(slot, nslot * sizeof *slot); freeslot = realloc(freeslot, nslot * sizeof *freeslot); }
    slot[s] = c; c->due = due; c->waiting = 1; c->qnext = -1;
    if (qtail >= 0) slot[qtail]->qnext = s; else qhead = s;
    qtail = s;
}
static void process(conn *c);
/* returns 0 when the connection has died */
static int pump(conn *c) {
    while (c->step < c->nsteps) {
        blob *b = &c->pieces[c->step];
        ssize_t w = send(c->fd, b->p + c->off, b->n - c->off, MSG_NOSIGNAL);
        if (w < 0) {
            if (errno == EAGAIN) { arm(c, 1); return 1; }
            drop(c); return 0;
        }
        c->off += w;
        if (c->off < b->n) { arm(c, 1); return 1; }
        c->off = 0; c->step++;
        if (c->step < c->nsteps && delay_us) { arm(c, 0); enqueue(c, now_us() + delay_us); return 1; }
    }
    arm(c, 0); c->pieces = NULL; c->step = c->nsteps = 0;
    return 1;
}
static void start(conn *c, blob *p, int n) {
    c->pieces = p; c->nsteps = n; c->step = 0; c->off = 0;
    if (first_us) { enqueue(c, now_us() + first_us); return; }
    pump(c);
}
static int is_stream(const char *b, size_t n) {
    const char *p = b, *end = b + n;
    while ((p = memmem(p, end - p, "\"stream\"", 8))) {
        p += 8;
        while (p < end && (*p == ' ' || *p == ':')) p++;
        if (end - p >= 4 && !memcmp(p, "true", 4)) return 1;
    }
    return 0;
}
static char misc[4096]; static blob miscb;
static void process(conn *c) {
    while (c->fd >= 0 && !c->pieces && c->len) {
        char *he = memmem(c->in, c->len, "\r\n\r\n", 4);
        if (!he) return;
        size_t hl = he - c->in + 4, bl = 0; int chunked = 0;
        for (char *l = c->in; l < he; ) {
            char *e = memmem(l, he + 2 - l, "\r\n", 2); if (!e) break;
            if (!strncasecmp(l, "content-length:", 15)) bl = strtoul(l + 15, NULL, 10);
            else if (!strncasecmp(l, "transfer-encoding:", 18)) chunked = 1;
            else if (!strncasecmp(l, "expect:", 7)) { if (c->used == 0) { send(c->fd, "HTTP/1.1 100 Continue\r\n\r\n", 25, MSG_NOSIGNAL); c->used = 1; } }
            l = e + 2;
        }
        if (chunked) {
            char *z = memmem(c->in + hl, c->len - hl, "0\r\n\r\n", 5);
            if (!z) return;
            bl = z + 5 - (c->in + hl);
        }
        if (c->len < hl + bl) {
            size_t need = hl + bl + 1;
            if (c->cap < need) { c->cap = need; c->in = realloc(c->in, c->cap); }
            return;
        }
        c->used = 0;
        int get = !memcmp(c->in, "GET ", 4), at = 0, st = 0;
        char *eol = memchr(c->in, '\r', hl);
        if (!get) {
            for (int i = 0; i < FORMATS; i++)
                if (memmem(c->in, eol - c->in, formats[i].word, strlen(formats[i].word))) at = i;
            st = memmem(c->in, eol - c->in, ":stream", 7) || is_stream(c->in + hl, bl);
        }
        int stats = get && memmem(c->in, eol - c->in, "/__stats", 8) != NULL;
        int models = get && memmem(c->in, eol - c->in, "/v1/models", 10) != NULL;
        char *setd = get ? memmem(c->in, eol - c->in, "/__delay/", 9) : NULL;
        if (setd) delay_us = strtoul(setd + 9, NULL, 10);
        memmove(c->in, c->in + hl + bl, c->len - hl - bl); c->len -= hl + bl;
        if (get) {
            free(miscb.p);
            if (stats || setd) snprintf(misc, sizeof misc, "{\"served\":%lu,\"streamed\":%lu}", served, streamed);
            else if (models) strcpy(misc, "{\"object\":\"list\",\"data\":[{\"id\":\"mock-model\",\"object\":\"model\",\"created\":1760000000,\"owned_by\":\"bench\"}]}");
            else strcpy(misc, "{\"status\":\"ok\",\"model_path\":\"mock-model\",\"served_model_name\":\"mock-model\",\"tokenizer_path\":\"mock-model\","
                "\"is_generation\":true,\"tp_size\":1,\"dp_size\":1,\"version\":\"bench\"}");
            miscb = full(misc);
            start(c, &miscb, 1);
        } else if (st) { served++; streamed++; start(c, formats[at].stream, formats[at].n); }
        else { served++; start(c, &formats[at].full, 1); }
    }
}
int main(int argc, char **argv) {
    if (argc < 3) { fprintf(stderr, "usage: stub PORT FOLDER [DELAY_US] [FIRST_BYTE_DELAY_US]\n"); return 2; }
    delay_us = argc > 3 ? strtoul(argv[3], 0, 10) : 0;
    first_us = argc > 4 ? strtoul(argv[4], 0, 10) : 0;
    if (first_us && delay_us && first_us != delay_us) { fprintf(stderr, "first-byte delay must equal the event delay (one FIFO)\n"); return 2; }
    signal(SIGPIPE, SIG_IGN); build(argv[2]);
    int one = 1, ls = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(ls, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    if (bind(ls, (void *)&a, sizeof a) || listen(ls, 4096)) { perror("bind"); return 1; }
    ep = epoll_create1(0);
    struct epoll_event ev = { .events = EPOLLIN, .data.fd = ls }, evs[256];
    epoll_ctl(ep, EPOLL_CTL_ADD, ls, &ev);
    for (;;) {
        struct timespec ts, *tp = NULL;
        if (qhead >= 0) {
            uint64_t n = now_us(), d = slot[qhead]->due; d = d > n ? d - n : 0;
            ts.tv_sec = d / 1000000; ts.tv_nsec = (d % 1000000) * 1000; tp = &ts;
        }
        int k = epoll_pwait2(ep, evs, 256, tp, NULL);
        for (int i = 0; i < k; i++) {
            int fd = evs[i].data.fd;
            if (fd == ls) {
                int f;
                while ((f = accept4(ls, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                    if (f >= MAXFD) { close(f); continue; }
                    setsockopt(f, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                    conn *c = calloc(1, sizeof *c); c->fd = f; c->cap = 4096; c->in = malloc(c->cap); conns[f] = c;
                    struct epoll_event e2 = { .events = EPOLLIN, .data.fd = f };
                    epoll_ctl(ep, EPOLL_CTL_ADD, f, &e2);
                }
                continue;
            }
            conn *c = conns[fd]; if (!c) continue;
            if (evs[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
                int dead = 0;
                for (;;) {
                    if (c->len == c->cap) { c->cap *= 2; c->in = realloc(c->in, c->cap); }
                    size_t room = c->cap - c->len;
                    ssize_t r = recv(fd, c->in + c->len, room, 0);
                    if (r > 0) { c->len += r; if ((size_t)r < room) break; continue; }
                    if (r == 0 || errno != EAGAIN) dead = 1;
                    break;
                }
                if (dead) { drop(c); continue; }
                process(c);
            }
            if ((evs[i].events & EPOLLOUT) && conns[fd] == c && !c->waiting) { if (pump(c) && !c->pieces) process(c); }
        }
        uint64_t n = now_us();
        while (qhead >= 0 && slot[qhead]->due <= n) {
            int s = qhead; conn *c = slot[s];
            qhead = c->qnext; if (qhead < 0) qtail = -1;
            freeslot[nfree++] = s; c->waiting = 0;
            if (c->fd < 0) { bury(c); continue; }
            if (pump(c) && !c->pieces) process(c);
        }
        while (ndead) free(dead[--ndead]);
    }
}
