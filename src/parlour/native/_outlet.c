/* The compiled twin of outlet.py, which says what each of these does and why. The tests run both.

   Only what happens once for every delivery is here: a packet is noted for a connection, and written
   at the end of the turn by one send() on the connection's own socket. The transport is asked where the
   socket does not take everything, and for whatever else is not plain; so nothing here parses, frames or
   decides, and no byte of a client passes through. Stable ABI of Python 3.11. */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <structmember.h>

#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* where it is missing Python ignores SIGPIPE, as everywhere */
#endif

enum { MAX_PENDING = 256 };

typedef struct {
    PyObject_HEAD
    PyObject *pending;   /* NULL, a packet, or a list of packets */
    PyObject *transport; /* asyncio's */
    PyObject *turn;
    int fd;      /* of the transport's socket while it may be written to, or -1 */
    char direct; /* whether the transport holds nothing, as far as is known */
    char paused, deflates;
} Outlet;

typedef struct {
    PyObject_HEAD
    PyObject *connection;
    char live;
} Port;

static PyTypeObject *outlet_type, *port_type;
static PyObject *frame_encoded, *frame_deflated;
static PyObject *str_carrier, *str_deflated, *str_flush, *str_framed, *str_get_size,
    *str_hold, *str_is_closing, *str_link, *str_outbox, *str_schedule, *str_send, *str_waiting, *str_write;

static int is_true(PyObject *answer) {
    if (!answer) return -1;
    int yes = PyObject_IsTrue(answer);
    Py_DECREF(answer);
    return yes;
}

static int done(PyObject *answer) {
    Py_XDECREF(answer);
    return answer ? 0 : -1;
}

/* -- writing ---------------------------------------------------------------------------------- */

/* Through the transport, which keeps what its socket does not take. */
static int hand_over(Outlet *self, PyObject *data) {
    if (!self->transport) {
        PyErr_SetString(PyExc_RuntimeError, "an outlet without a transport");
        return -1;
    }
    self->direct = 0;
    PyObject *transport = self->transport;
    Py_INCREF(transport);
    int result = done(PyObject_CallMethodObjArgs(transport, str_write, data, NULL));
    Py_DECREF(transport);
    return result;
}

/* Whether nothing waits in the transport, so that the socket may be written to. Nothing waits either in
   one that dropped what it held: what came behind it would fill the hole. */
static int is_direct(Outlet *self) {
    if (self->fd < 0) return 0;
    if (self->direct) return 1;
    PyObject *transport = self->transport;
    Py_INCREF(transport);
    long waits = -1;
    int closing = is_true(PyObject_CallMethodObjArgs(transport, str_is_closing, NULL));
    if (closing == 0) {
        PyObject *size = PyObject_CallMethodObjArgs(transport, str_get_size, NULL);
        if (size) waits = PyLong_AsLong(size);
        Py_XDECREF(size);
    }
    Py_DECREF(transport);
    if (closing > 0) return 0;
    if (closing < 0 || PyErr_Occurred()) return -1;
    self->direct = waits == 0;
    return self->direct;
}

/* The socket's own word. What it does not take, and every error, is the transport's business. */
static Py_ssize_t sent_of(int fd, struct iovec *parts, size_t count) {
    if (count == 1) return send(fd, parts->iov_base, parts->iov_len, MSG_DONTWAIT | MSG_NOSIGNAL);
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
    return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* The bytes of all parts from `skip` on. */
static PyObject *rest_of(const struct iovec *parts, size_t count, size_t skip) {
    size_t size = 0;
    for (size_t i = 0; i < count; i++) size += parts[i].iov_len;
    PyObject *rest = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(size - skip));
    if (!rest) return NULL;
    char *at = PyBytes_AsString(rest);
    for (size_t i = 0; i < count; i++) {
        if (skip >= parts[i].iov_len) {
            skip -= parts[i].iov_len;
            continue;
        }
        memcpy(at, (char *)parts[i].iov_base + skip, parts[i].iov_len - skip);
        at += parts[i].iov_len - skip;
        skip = 0;
    }
    return rest;
}

static int put_parts(Outlet *self, struct iovec *parts, size_t count) {
    size_t size = 0;
    for (size_t i = 0; i < count; i++) size += parts[i].iov_len;
    int direct = is_direct(self);
    if (direct < 0) return -1;
    Py_ssize_t sent = direct ? sent_of(self->fd, parts, count) : 0;
    if (sent < 0) sent = 0;
    if ((size_t)sent == size) return 0;
    PyObject *rest = rest_of(parts, count, (size_t)sent);
    if (!rest) return -1;
    int result = hand_over(self, rest);
    Py_DECREF(rest);
    return result;
}

static int put_bytes(Outlet *self, PyObject *data) {
    int direct = is_direct(self);
    if (direct < 0) return -1;
    if (!direct) return hand_over(self, data);
    char *start;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(data, &start, &size)) return -1;
    Py_ssize_t sent = send(self->fd, start, (size_t)size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent == size) return 0;
    if (sent <= 0) return hand_over(self, data);
    PyObject *rest = PyBytes_FromStringAndSize(start + sent, size - sent);
    if (!rest) return -1;
    int result = hand_over(self, rest);
    Py_DECREF(rest);
    return result;
}

/* The packet's frames, made at the first use. A new reference to bytes. */
static PyObject *frames_of(Outlet *self, PyObject *packet) {
    PyObject *made = PyObject_GetAttr(packet, self->deflates ? str_deflated : str_framed);
    if (made == Py_None) {
        Py_DECREF(made);
        PyObject *make = self->deflates ? frame_deflated : frame_encoded;
        made = PyObject_CallFunctionObjArgs(make, packet, NULL);
    }
    if (made && !PyBytes_Check(made)) {
        Py_DECREF(made);
        PyErr_SetString(PyExc_TypeError, "a packet's frames are bytes");
        return NULL;
    }
    return made;
}

static int put_packets(Outlet *self, PyObject *packets) {
    struct iovec parts[MAX_PENDING];
    PyObject *frames[MAX_PENDING];
    Py_ssize_t count = PyList_Size(packets), made = 0;
    int result = 0;
    for (Py_ssize_t first = 0; first < count && !result; first += made) {
        for (made = 0; first + made < count && made < MAX_PENDING; made++) {
            PyObject *packet = PyList_GetItem(packets, first + made);
            if (!packet) break;
            Py_INCREF(packet);
            frames[made] = frames_of(self, packet);
            Py_DECREF(packet);
            if (!frames[made]) break;
            parts[made].iov_base = PyBytes_AsString(frames[made]);
            parts[made].iov_len = (size_t)PyBytes_Size(frames[made]);
        }
        int failed = first + made < count && made < MAX_PENDING;
        result = failed ? -1 : put_parts(self, parts, (size_t)made);
        for (Py_ssize_t i = 0; i < made; i++) Py_DECREF(frames[i]);
    }
    return result;
}

static int flush(Outlet *self) {
    PyObject *pending = self->pending;
    if (!pending) return 0;
    self->pending = NULL;
    int result;
    if (PyList_Check(pending)) {
        result = put_packets(self, pending);
    } else {
        PyObject *frames = frames_of(self, pending);
        result = frames ? put_bytes(self, frames) : -1;
        Py_XDECREF(frames);
    }
    Py_DECREF(pending);
    if (result && PyErr_ExceptionMatches(PyExc_RuntimeError)) {
        /* uvloop's, for a socket that broke in this very turn: `connection_lost` comes next. */
        PyErr_Clear();
        return 0;
    }
    return result;
}

/* -- noting ----------------------------------------------------------------------------------- */

static int wait_for_turn(Outlet *self) {
    if (!self->turn) {
        PyErr_SetString(PyExc_RuntimeError, "an outlet without a turn");
        return -1;
    }
    PyObject *turn = self->turn;
    Py_INCREF(turn);
    int result = -1;
    PyObject *waiting = PyObject_GetAttr(turn, str_waiting);
    if (waiting && !PyList_Check(waiting))
        PyErr_SetString(PyExc_TypeError, "a turn's carriers wait in a list");
    else if (waiting) {
        result = 0;
        if (PyList_Size(waiting) == 0)
            result = done(PyObject_CallMethodObjArgs(turn, str_schedule, NULL));
        if (!result) result = PyList_Append(waiting, (PyObject *)self);
    }
    Py_XDECREF(waiting);
    Py_DECREF(turn);
    return result;
}

/* 1: noted; 0: the transport is full, the packet belongs into the outbox. */
static int note(Outlet *self, PyObject *packet) {
    if (self->paused) return 0;
    PyObject *pending = self->pending;
    if (!pending) {
        if (wait_for_turn(self)) return -1;
        if (self->pending) return note(self, packet); /* noted meanwhile, by `schedule` */
        Py_INCREF(packet);
        self->pending = packet;
        return 1;
    }
    if (!PyList_Check(pending)) {
        PyObject *both = PyList_New(2);
        if (!both) return -1;
        if (self->pending != pending) { /* a finalizer wrote or flushed: the collector ran for the list */
            Py_DECREF(both);
            return note(self, packet);
        }
        Py_INCREF(packet);
        PyList_SetItem(both, 0, pending);
        PyList_SetItem(both, 1, packet);
        self->pending = both;
        return 1;
    }
    if (PyList_Append(pending, packet)) return -1;
    if (PyList_Size(pending) >= MAX_PENDING && flush(self)) return -1;
    return 1;
}

/* -- Outlet ----------------------------------------------------------------------------------- */

static PyObject *outlet_write(Outlet *self, PyObject *packet) {
    int noted = note(self, packet);
    return noted < 0 ? NULL : PyBool_FromLong(noted);
}

static PyObject *outlet_flush(Outlet *self, PyObject *nothing) {
    (void)nothing;
    if (flush(self)) return NULL;
    Py_RETURN_NONE;
}

static PyObject *outlet_put(Outlet *self, PyObject *data) {
    if (flush(self) || put_bytes(self, data)) return NULL;
    Py_RETURN_NONE;
}

static PyObject *outlet_put_packets(Outlet *self, PyObject *packets) {
    if (!PyList_Check(packets)) {
        PyErr_SetString(PyExc_TypeError, "packets are a list");
        return NULL;
    }
    if (flush(self) || put_packets(self, packets)) return NULL;
    Py_RETURN_NONE;
}

static PyObject *outlet_attach(Outlet *self, PyObject *const *args, Py_ssize_t count) {
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "attach(transport, fd)");
        return NULL;
    }
    long number = PyLong_AsLong(args[1]);
    if (number == -1 && PyErr_Occurred()) return NULL;
    int fd = (int)number;
    if (fd != number) {
        PyErr_SetString(PyExc_OverflowError, "no descriptor has this number");
        return NULL;
    }
    PyObject *old = self->transport;
    Py_INCREF(args[0]);
    self->transport = args[0];
    self->fd = fd;
    self->direct = 0;
    Py_XDECREF(old);
    Py_RETURN_NONE;
}

static PyObject *outlet_detach(Outlet *self, PyObject *nothing) {
    (void)nothing;
    self->fd = -1;
    Py_RETURN_NONE;
}

static int outlet_traverse(Outlet *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE((PyObject *)self));
    Py_VISIT(self->pending);
    Py_VISIT(self->transport);
    Py_VISIT(self->turn);
    return 0;
}

static int outlet_clear(Outlet *self) {
    self->fd = -1;
    Py_CLEAR(self->pending);
    Py_CLEAR(self->transport);
    Py_CLEAR(self->turn);
    return 0;
}

static PyObject *new_of(PyTypeObject *type) {
    allocfunc make = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    return make(type, 0);
}

static void free_of(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

static PyObject *outlet_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    (void)args, (void)kwargs;
    Outlet *self = (Outlet *)new_of(type);
    if (self) self->fd = -1;
    return (PyObject *)self;
}

static void outlet_dealloc(Outlet *self) {
    PyObject_GC_UnTrack(self);
    outlet_clear(self);
    free_of((PyObject *)self);
}

static PyMethodDef outlet_methods[] = {
    {"write", (PyCFunction)outlet_write, METH_O, NULL},
    {"flush", (PyCFunction)outlet_flush, METH_NOARGS, NULL},
    {"put", (PyCFunction)outlet_put, METH_O, NULL},
    {"put_packets", (PyCFunction)outlet_put_packets, METH_O, NULL},
    {"attach", (PyCFunction)(void (*)(void))outlet_attach, METH_FASTCALL, NULL},
    {"detach", (PyCFunction)outlet_detach, METH_NOARGS, NULL},
    {NULL},
};

static PyMemberDef outlet_members[] = {
    {"pending", T_OBJECT, offsetof(Outlet, pending), READONLY, NULL},
    {"transport", T_OBJECT, offsetof(Outlet, transport), READONLY, NULL},
    {"turn", T_OBJECT, offsetof(Outlet, turn), 0, NULL},
    {"fd", T_INT, offsetof(Outlet, fd), READONLY, NULL},
    {"paused", T_BOOL, offsetof(Outlet, paused), 0, NULL},
    {"deflates", T_BOOL, offsetof(Outlet, deflates), 0, NULL},
    {NULL},
};

static PyType_Slot outlet_slots[] = {
    {Py_tp_new, outlet_new},           {Py_tp_dealloc, outlet_dealloc},
    {Py_tp_traverse, outlet_traverse}, {Py_tp_clear, outlet_clear},
    {Py_tp_methods, outlet_methods},   {Py_tp_members, outlet_members},
    {0, NULL},
};

static PyType_Spec outlet_spec = {
    "parlour.native._outlet.Outlet", sizeof(Outlet), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, outlet_slots};

/* -- Port ------------------------------------------------------------------------------------- */

/* The fast way of `send`. 1: noted; 0: the connection decides. */
static int pass(PyObject *connection, PyObject *packet) {
    PyObject *outbox = PyObject_GetAttr(connection, str_outbox);
    if (!outbox) return -1;
    int waits = outbox != Py_None;
    Py_DECREF(outbox);
    if (waits) return 0;
    PyObject *carrier = PyObject_GetAttr(connection, str_carrier);
    if (!carrier) return -1;
    int noted;
    if (PyObject_TypeCheck(carrier, outlet_type))
        noted = note((Outlet *)carrier, packet);
    else
        noted = is_true(PyObject_CallMethodObjArgs(carrier, str_write, packet, NULL));
    Py_DECREF(carrier);
    return noted;
}

static int send_through(Port *self, PyObject *packet) {
    PyObject *connection = self->connection;
    if (!self->live || !connection)
        return done(PyObject_CallMethodObjArgs((PyObject *)self, str_hold, packet, NULL));
    Py_INCREF(connection);
    int result = pass(connection, packet);
    if (result == 0)
        result = done(PyObject_CallMethodObjArgs(connection, str_send, packet, NULL));
    Py_DECREF(connection);
    return result < 0 ? -1 : 0;
}

static PyObject *port_send(Port *self, PyObject *packet) {
    if (send_through(self, packet)) return NULL;
    Py_RETURN_NONE;
}

static int port_traverse(Port *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE((PyObject *)self));
    Py_VISIT(self->connection);
    return 0;
}

static int port_clear(Port *self) {
    Py_CLEAR(self->connection);
    return 0;
}

static PyObject *port_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    (void)args, (void)kwargs;
    return new_of(type);
}

static void port_dealloc(Port *self) {
    PyObject_GC_UnTrack(self);
    port_clear(self);
    free_of((PyObject *)self);
}

static PyMethodDef port_methods[] = {
    {"send", (PyCFunction)port_send, METH_O, NULL},
    {NULL},
};

static PyMemberDef port_members[] = {
    {"connection", T_OBJECT, offsetof(Port, connection), 0, NULL},
    {"live", T_BOOL, offsetof(Port, live), 0, NULL},
    {NULL},
};

static PyType_Slot port_slots[] = {
    {Py_tp_new, port_new},           {Py_tp_dealloc, port_dealloc},
    {Py_tp_traverse, port_traverse}, {Py_tp_clear, port_clear},
    {Py_tp_methods, port_methods},   {Py_tp_members, port_members},
    {0, NULL},
};

static PyType_Spec port_spec = {
    "parlour.native._outlet.Port", sizeof(Port), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, port_slots};

/* -- many ------------------------------------------------------------------------------------- */

/* One failure must not keep the packet from the others: the first is kept, and raised at the end. */
typedef struct {
    PyObject *type, *value, *trace;
} Failure;

/* Whether to go on: not where the process is to end, which no error hides. */
static int keep_failure(Failure *failure) {
    int fatal = !PyErr_ExceptionMatches(PyExc_Exception);
    if (failure->type && !fatal) {
        PyErr_Clear();
        return 1;
    }
    Py_CLEAR(failure->type);
    Py_CLEAR(failure->value);
    Py_CLEAR(failure->trace);
    PyErr_Fetch(&failure->type, &failure->value, &failure->trace);
    return !fatal;
}

static PyObject *finish(Failure *failure) {
    if (failure->type) {
        PyErr_Restore(failure->type, failure->value, failure->trace);
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *tell(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    (void)module;
    if (count != 2 || !PyTuple_Check(args[0])) {
        PyErr_SetString(PyExc_TypeError, "tell(tuple of connections, packet)");
        return NULL;
    }
    Failure failure = {NULL, NULL, NULL};
    Py_ssize_t size = PyTuple_Size(args[0]);
    for (Py_ssize_t i = 0; i < size; i++) {
        PyObject *link = PyObject_GetAttr(PyTuple_GetItem(args[0], i), str_link);
        int result = -1;
        if (link && PyObject_TypeCheck(link, port_type))
            result = send_through((Port *)link, args[1]);
        else if (link)
            result = done(PyObject_CallMethodObjArgs(link, str_send, args[1], NULL));
        int ended = result && !keep_failure(&failure);
        Py_XDECREF(link);
        if (ended) break;
    }
    return finish(&failure);
}

static PyObject *flush_each(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    (void)module;
    if (count != 3 || !PyList_Check(args[0])) {
        PyErr_SetString(PyExc_TypeError, "flush_each(list of carriers, from, to)");
        return NULL;
    }
    Py_ssize_t start = PyLong_AsSsize_t(args[1]), stop = PyLong_AsSsize_t(args[2]);
    if (PyErr_Occurred()) return NULL;
    Failure failure = {NULL, NULL, NULL};
    for (Py_ssize_t i = start < 0 ? 0 : start; i < stop && i < PyList_Size(args[0]); i++) {
        PyObject *carrier = PyList_GetItem(args[0], i);
        Py_INCREF(carrier);
        int result;
        if (PyObject_TypeCheck(carrier, outlet_type))
            result = flush((Outlet *)carrier);
        else
            result = done(PyObject_CallMethodObjArgs(carrier, str_flush, NULL));
        int ended = result && !keep_failure(&failure);
        Py_DECREF(carrier);
        if (ended) break;
    }
    return finish(&failure);
}

static PyObject *frame_with(PyObject *module, PyObject *const *args, Py_ssize_t count) {
    (void)module;
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "frame_with(plain, deflated)");
        return NULL;
    }
    Py_INCREF(args[0]);
    Py_INCREF(args[1]);
    PyObject *plain = frame_encoded, *deflated = frame_deflated;
    frame_encoded = args[0];
    frame_deflated = args[1];
    Py_XDECREF(plain);
    Py_XDECREF(deflated);
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"tell", (PyCFunction)(void (*)(void))tell, METH_FASTCALL, NULL},
    {"flush_each", (PyCFunction)(void (*)(void))flush_each, METH_FASTCALL, NULL},
    {"frame_with", (PyCFunction)(void (*)(void))frame_with, METH_FASTCALL, NULL},
    {NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "parlour.native._outlet", NULL, -1, functions, NULL, NULL, NULL, NULL};

static int intern_names(void) {
    struct {
        PyObject **name;
        const char *text;
    } names[] = {
        {&str_carrier, "carrier"},   {&str_deflated, "deflated"}, {&str_flush, "flush"},
        {&str_framed, "framed"},     {&str_get_size, "get_write_buffer_size"},
        {&str_hold, "hold"},         {&str_is_closing, "is_closing"},
        {&str_link, "link"},         {&str_outbox, "outbox"},
        {&str_schedule, "schedule"}, {&str_send, "send"},         {&str_waiting, "waiting"},
        {&str_write, "write"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!(*names[i].name = PyUnicode_InternFromString(names[i].text))) return -1;
    return 0;
}

static PyTypeObject *add_type(PyObject *module, PyType_Spec *spec, const char *name) {
    PyObject *type = PyType_FromSpec(spec);
    if (!type) return NULL;
    Py_INCREF(type);
    if (PyModule_AddObject(module, name, type)) return NULL;
    return (PyTypeObject *)type;
}

PyMODINIT_FUNC PyInit__outlet(void) {
    PyObject *module = PyModule_Create(&definition);
    if (!module || intern_names()) return NULL;
    outlet_type = add_type(module, &outlet_spec, "Outlet");
    port_type = add_type(module, &port_spec, "Port");
    return outlet_type && port_type ? module : NULL;
}
