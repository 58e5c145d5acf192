/* A client of the sonod daemon in C, with libzmq and nothing else: docs/wire-protocol.md.
 *
 *     cc -O2 -o client client.c -lzmq -lm        (Debian: apt install libzmq3-dev)
 *     ./client FRAMES_ENDPOINT CONTROL_ENDPOINT
 *
 * Prints a line of JSON for every B-mode or envelope frame, and changes the depth to 30 mm after the first one. Ends when it is
 * told to. What it prints is what `sonod conformance client` asks for (docs/conformance.md). Headers are read in place by
 * `member`, which finds a key of an object and skips everything else; a larger program would use a JSON library.
 */

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

/* -- JSON in place: a value is a pointer to its first character, 0 = not there --------------------------------------- */

static const char *space(const char *at) {
  while (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r') at++;
  return at;
}

static const char *after_text(const char *at) {
  for (at++; *at && *at != '"'; at++)
    if (*at == '\\' && at[1]) at++;
  return *at ? at + 1 : at;
}

/* Behind a value of any kind. */
static const char *after(const char *at) {
  int depth = 0;
  do {
    at = space(at);
    if (!*at) return at;
    if (*at == '"') {
      at = after_text(at);
    } else if (*at == '{' || *at == '[') {
      depth++, at++;
    } else if (*at == '}' || *at == ']') {
      depth--, at++;
    } else if (*at == ',' || *at == ':') {
      at++;
    } else {
      at += strcspn(at, ",:]} \t\r\n");
    }
  } while (depth > 0);
  return at;
}

/* The value of a key of an object; 0 when there is no such key, or it is null. */
static const char *member(const char *object, const char *key) {
  const size_t length = strlen(key);
  if (!object || *object != '{') return NULL;
  for (const char *at = space(object + 1); *at == '"';) {
    const char *end = after_text(at), *value = space(space(end) + 1);
    if ((size_t)(end - at) == length + 2 && !memcmp(at + 1, key, length)) return *value == 'n' ? NULL : value;
    at = space(after(value));
    if (*at == ',') at = space(at + 1);
  }
  return NULL;
}

static const char *element(const char *list, int index) {
  if (!list || *list != '[') return NULL;
  const char *at = space(list + 1);
  for (; index > 0 && *at && *at != ']'; index--) {
    at = space(after(at));
    if (*at == ',') at = space(at + 1);
  }
  return *at && *at != ']' ? at : NULL;
}

static double number(const char *value) { return value ? strtod(value, NULL) : 0; }

/* Whether a text is this one; names and ids of the protocol have no escapes. */
static int is(const char *value, const char *text) {
  const size_t length = strlen(text);
  return value && *value == '"' && !strncmp(value + 1, text, length) && value[1 + length] == '"';
}

static void copy(char *to, size_t room, const char *value) {
  const size_t length = value && *value == '"' ? (size_t)(after_text(value) - value) - 2 : 0;
  snprintf(to, room, "%.*s", (int)length, value ? value + 1 : "");
}

/* -- frames ------------------------------------------------------------------------------------------------------------ */

static double sample(const unsigned char *at, size_t bytes, char kind, int big) {
  uint64_t bits = 0;
  for (size_t i = 0; i < bytes; i++) bits = bits << 8 | at[big ? i : bytes - 1 - i];
  if (kind == 'f' && bytes == 4) {
    const uint32_t word = (uint32_t)bits;
    float value;
    memcpy(&value, &word, 4);
    return value;
  }
  if (kind == 'f') {
    double value;
    memcpy(&value, &bits, 8);
    return value;
  }
  if (kind == 'i' && bits >> (8 * bytes - 1)) return (double)bits - ldexp(1, (int)(8 * bytes));
  return (double)bits;
}

/* Bytes of a sample and its kind, 0 = not known to this client. */
static size_t type_of(const char *dtype, char *kind) {
  static const struct { const char *name; size_t bytes; char kind; } types[] = {
      {"uint8", 1, 'u'}, {"int8", 1, 'i'}, {"uint16", 2, 'u'}, {"int16", 2, 'i'},
      {"uint32", 4, 'u'}, {"int32", 4, 'i'}, {"float32", 4, 'f'}, {"float64", 8, 'f'}};
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    if (is(dtype, types[i].name)) return *kind = types[i].kind, types[i].bytes;
  return 0;
}

/* Frames before this one that were never published, whatever the reason: the numbers of the object `losses`. */
static double lost(const char *header) {
  const char *object = member(header, "losses");
  double total = 0;
  if (!object || *object != '{') return 0;
  for (const char *at = space(object + 1); *at == '"';) {
    const char *value = space(space(after_text(at)) + 1);
    if (*value >= '0' && *value <= '9') total += number(value);
    at = space(after(value));
    if (*at == ',') at = space(at + 1);
  }
  return total;
}

/* What is remembered of a stream, to count the frames that did not reach us. */
struct stream { char name[128], session[128]; double frame, lost; };

static double missed(const char *header, const char *product, const char *probe) {
  static struct stream streams[16];
  char name[128], session[128];
  struct stream *stream = streams;
  double result = 0;
  snprintf(name, sizeof name, "%.60s.%.60s", product, probe);
  copy(session, sizeof session, member(header, "session"));
  while (stream < streams + 15 && stream->name[0] && strcmp(stream->name, name)) stream++;
  const double frame = number(member(header, "frame")), gone = lost(header);
  if (!strcmp(stream->name, name) && !strcmp(stream->session, session))
    result = fmax(0, frame - stream->frame - 1 - (gone - stream->lost));
  snprintf(stream->name, sizeof stream->name, "%s", name);
  snprintf(stream->session, sizeof stream->session, "%s", session);
  stream->frame = frame, stream->lost = gone;
  return result;
}

/* Prints the line of a frame; 0 when it is not one for us. */
static int report(const char *header, const unsigned char *payload, size_t size) {
  const char *geometry = member(header, "geometry"), *shape = member(header, "shape");
  const char *encoding = member(header, "encoding"), *first = member(geometry, "first_pixel_m");
  const char *spacing = member(geometry, "spacing_m");
  char kind = 0, product[64], probe[64];
  const size_t bytes = type_of(member(header, "dtype"), &kind);
  const double rows = number(element(shape, 0)), columns = number(element(shape, 1));
  if (number(member(header, "sonod")) != 1 || (encoding && !is(encoding, "raw")) || !bytes) return 0;
  const size_t count = (size_t)(rows * columns);
  if (size != count * bytes || !first || !spacing) {
    fprintf(stderr, "client: frame %.0f: payload of %zu bytes\n", number(member(header, "frame")), size);
    exit(1);
  }
  const int big = is(member(header, "byte_order"), "big");
  double sum = 0;
  for (size_t i = 0; i < count; i++) sum += sample(payload + i * bytes, bytes, kind, big);
  copy(product, sizeof product, member(header, "product"));
  copy(probe, sizeof probe, member(header, "probe"));
  printf("{\"product\":\"%s\",\"frame\":%.0f,\"revision\":%.0f,\"shape\":[%.0f,%.0f],\"sum\":%.17g,\"last_pixel_m\":[%.17g,%.17g],"
         "\"missed\":%.0f}\n",
         product, number(member(header, "frame")), number(member(header, "revision")), rows, columns, sum,
         number(element(first, 0)) + (columns - 1) * number(element(spacing, 1)),
         number(element(first, 2)) + (rows - 1) * number(element(spacing, 0)), missed(header, product, probe));
  fflush(stdout);
  return 1;
}

/* -- the program --------------------------------------------------------------------------------------------------------- */

/* One part of a message with a zero behind it, to be freed. */
static char *part(void *socket, size_t *size) {
  zmq_msg_t message;
  zmq_msg_init(&message);
  if (zmq_msg_recv(&message, socket, 0) < 0) {
    fprintf(stderr, "client: %s\n", zmq_strerror(zmq_errno()));
    exit(1);
  }
  *size = zmq_msg_size(&message);
  char *data = malloc(*size + 1);
  if (!data) exit(1);
  memcpy(data, zmq_msg_data(&message), *size);
  data[*size] = 0;
  zmq_msg_close(&message);
  return data;
}

static void take_reply(void *control) {
  size_t size;
  char *text = part(control, &size);
  const char *reply = space(text);
  if (is(member(reply, "id"), "depth")) {
    const char *ok = member(reply, "ok"), *applied = member(reply, "applied");
    if (!ok || *ok != 't' || !applied) {
      fprintf(stderr, "client: refused: %s\n", text);
      exit(1);
    }
    const char *frame = member(reply, "first_frame");
    printf("{\"applied\":%.*s,\"revision\":%.0f,\"first_frame\":", (int)(after(applied) - applied), applied,
           number(member(reply, "revision")));
    if (frame) printf("%.0f}\n", number(frame));
    else printf("null}\n");
    fflush(stdout);
  }
  free(text);
}

int main(int count, char **arguments) {
  static const char *question = "{\"id\":\"depth\",\"command\":\"set\",\"changes\":{\"depth_m\":0.03}}";
  if (count != 3) {
    fprintf(stderr, "usage: %s FRAMES_ENDPOINT CONTROL_ENDPOINT\n", arguments[0]);
    return 2;
  }
  void *context = zmq_ctx_new();
  void *frames = zmq_socket(context, ZMQ_SUB), *control = zmq_socket(context, ZMQ_DEALER);
  const int waiting = 8;
  zmq_setsockopt(frames, ZMQ_RCVHWM, &waiting, sizeof waiting);
  zmq_setsockopt(frames, ZMQ_SUBSCRIBE, "sonod.1.bmode.", 14);
  zmq_setsockopt(frames, ZMQ_SUBSCRIBE, "sonod.1.envelope.", 17);
  if (zmq_connect(frames, arguments[1]) || zmq_connect(control, arguments[2])) {
    fprintf(stderr, "client: %s\n", zmq_strerror(zmq_errno()));
    return 1;
  }
  zmq_pollitem_t sockets[] = {{frames, 0, ZMQ_POLLIN, 0}, {control, 0, ZMQ_POLLIN, 0}};
  for (int asked = 0;;) {
    if (zmq_poll(sockets, 2, -1) < 0) return 1;
    if (sockets[1].revents) take_reply(control);
    if (!sockets[0].revents) continue;
    size_t size;
    free(part(frames, &size)); /* the topic: product and probe stand in the header too */
    char *header = part(frames, &size);
    char *payload = part(frames, &size);
    if (report(space(header), (const unsigned char *)payload, size) && !asked) {
      asked = 1;
      zmq_send(control, question, strlen(question), 0);
    }
    free(header);
    free(payload);
  }
}
