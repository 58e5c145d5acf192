/* Reads frames of a sonod daemon out of shared memory; needs nothing but POSIX and GCC or Clang.
 *
 *     cc -O2 -o shared_memory_reader shared_memory_reader.c
 *     ./shared_memory_reader /sonod.0123456789ab.rf.1 100
 *
 * The name comes from the control request {"command": "shared_memory", "product": "rf"}, which must be repeated before
 * it expires. Prints one line for each frame: number in the segment, frame number, payload bytes, sum of the payload.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct head {
    char magic[8];
    uint32_t version, slots;
    uint64_t stride, header_bytes, payload_bytes, first;
    uint64_t newest; /* changes */
    uint64_t state;  /* changes: 0 open, 1 closed, 2 replaced by `successor` */
    char session[32], product[32], successor[128];
};

struct slot {
    uint64_t sequence; /* 2 n: message n is whole; odd: being written */
    uint64_t frame, header_bytes, payload_bytes, published_ns;
    uint64_t reserved[3];
};

/* Copy message n; 0 when it was overwritten, before or meanwhile. */
static int copy_message(const unsigned char *memory, const struct head *head, uint64_t n, struct slot *slot,
                        unsigned char *header, unsigned char *payload)
{
    const unsigned char *place = memory + head->first + n % head->slots * head->stride;
    const uint64_t *sequence = (const uint64_t *)place;

    if (__atomic_load_n(sequence, __ATOMIC_ACQUIRE) != 2 * n)
        return 0;
    memcpy(slot, place, sizeof *slot);
    if (slot->header_bytes > head->header_bytes || slot->payload_bytes > head->payload_bytes)
        return 0;
    memcpy(header, place + 64, slot->header_bytes);
    memcpy(payload, place + 64 + head->header_bytes, slot->payload_bytes);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return __atomic_load_n(sequence, __ATOMIC_RELAXED) == 2 * n;
}

int main(int count, char **arguments)
{
    if (count != 3) {
        fprintf(stderr, "usage: %s /NAME FRAMES\n", arguments[0]);
        return 2;
    }
    int file = shm_open(arguments[1], O_RDONLY, 0);
    struct stat status;
    if (file < 0 || fstat(file, &status) < 0) {
        perror(arguments[1]);
        return 1;
    }
    unsigned char *memory = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_SHARED, file, 0);
    struct head *head = (struct head *)memory;
    if (memory == MAP_FAILED || memcmp(head->magic, "SONODSHM", 8) != 0 || head->version != 1) {
        fprintf(stderr, "%s: not a segment of layout 1\n", arguments[1]);
        return 1;
    }
    unsigned char *header = malloc(head->header_bytes), *payload = malloc(head->payload_bytes);
    if (!header || !payload)
        return 1;

    uint64_t last = 0, lost = 0;
    long left = atol(arguments[2]);
    while (left > 0) {
        uint64_t newest = __atomic_load_n(&head->newest, __ATOMIC_ACQUIRE);
        if (newest <= last) {
            if (__atomic_load_n(&head->state, __ATOMIC_ACQUIRE) != 0)
                break;
            nanosleep(&(struct timespec){0, 200000}, NULL);
            continue;
        }
        uint64_t n = last + 1;
        if (newest >= head->slots && n < newest - head->slots + 1)
            n = newest - head->slots + 1;
        lost += n - last - 1;
        last = n;
        struct slot slot;
        if (!copy_message(memory, head, n, &slot, header, payload)) {
            lost++;
            continue;
        }
        uint64_t sum = 0;
        for (uint64_t i = 0; i < slot.payload_bytes; i++)
            sum += payload[i];
        printf("%" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", n, slot.frame, slot.payload_bytes, sum);
        left--;
    }
    fprintf(stderr, "%" PRIu64 " overwritten\n", lost);
    return 0;
}
