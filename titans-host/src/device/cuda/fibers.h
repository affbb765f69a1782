// The threads of one block as fibers of one thread of the host. A fiber runs until it waits for others (a barrier, a
// shuffle) or is done; which one goes on is drawn from a seed, so that code which needs more order than its barriers
// give shows by its results. In every other block some warps are far ahead of others, as even draws never are. Waiting
// for what cannot come is a fault with its place, never a hang.
//
// A fiber is started once, by its context, and lives from block to block; then jumps switch to it, without a system
// call.

#ifdef __APPLE__
#define _XOPEN_SOURCE
#endif
#include <csetjmp>
#include <cstdio>
#include <deque>
#include <memory>
#include <string>
#include <ucontext.h>
#include <vector>

// Compiled with -fsanitize=thread every fiber is a thread to the sanitizer. What orders them there is what orders them
// on the chip: barriers of a block and of a warp, of all that was written before; a shuffle orders nothing. Blocks run
// one after another, so races between blocks are not seen. The machine's own work is not watched.
#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
extern "C" void AnnotateIgnoreReadsBegin(const char *, int);
extern "C" void AnnotateIgnoreReadsEnd(const char *, int);
extern "C" void AnnotateIgnoreWritesBegin(const char *, int);
extern "C" void AnnotateIgnoreWritesEnd(const char *, int);
struct Watched {
    void *fiber = nullptr;
    void make() { fiber = __tsan_create_fiber(0); }
    void take() { fiber = __tsan_get_current_fiber(); }
    void enter() { __tsan_switch_to_fiber(fiber, __tsan_switch_to_fiber_no_sync); }
    // Who is given up stopped in the machine's work, and is not watched.
    void destroy(bool working) {
        void *const self = __tsan_get_current_fiber();
        enter();
        if (working) AnnotateIgnoreWritesEnd("", 0), AnnotateIgnoreReadsEnd("", 0);
        __tsan_switch_to_fiber(self, __tsan_switch_to_fiber_no_sync);
        __tsan_destroy_fiber(fiber);
    }
};
static void before(void *place) { __tsan_release(place); }
static void after(void *place) { __tsan_acquire(place); }
struct Unwatched {
    Unwatched() { AnnotateIgnoreReadsBegin("", 0), AnnotateIgnoreWritesBegin("", 0); }
    ~Unwatched() { AnnotateIgnoreWritesEnd("", 0), AnnotateIgnoreReadsEnd("", 0); }
};
#else
struct Watched {
    void make() {}
    void take() {}
    void enter() {}
    void destroy(bool) {}
};
static void before(void *) {}
static void after(void *) {}
struct Unwatched {
    ~Unwatched() {}
};
#endif

// A call of a barrier or a shuffle, to tell it from others.
struct Place {
    const char *file;
    int line;
};
#define HERE (Place{__FILE__, __LINE__})

static std::string to_text(Place at) { return std::string(at.file) + " line " + std::to_string(at.line); }

struct Fiber {
    std::unique_ptr<char[]> stack;
    ucontext_t start;
    jmp_buf at;
    bool started;
    Watched watched;
    ~Fiber() { watched.destroy(started); }
};

// Threads that wait for one another.
struct Meeting {
    std::vector<unsigned> waiting;
    Place place;
    unsigned long long held;
    // What was written before a meeting, by turns.
    char written[2];
};

// The lanes of a warp that one mask names.
struct Lanes {
    unsigned mask;
    Meeting meeting;
    // What they offer, by turns: who offers again has read what was offered before, and nobody is two turns ahead.
    unsigned long long offered[2][32];
};
using Warp = std::deque<Lanes>; // whose places stay

class Machine;
static Machine &machine();

class Machine {
  public:
    unsigned now = 0;
    std::string fault;
    // Blocks begun so far; shared memory is new in each.
    unsigned long long block = 0;

    // Runs a block, in an order of its own; false, and `fault` says why, where it cannot come to its end.
    bool run(unsigned threads, unsigned long long seed, void (*body)(const void *), const void *call) {
        const Unwatched work;
        home_watched.take(), before(&begun);
        this->threads = threads, this->body = body, this->call = call;
        ++block, done = 0, fault.clear(), guards.clear();
        random = (seed + block) * 0x9e3779b97f4a7c15ull, favour = random >> 20 | 1;
        meeting.waiting.clear(), warps.resize(threads / 32);
        for (Warp &warp : warps) warp.clear();
        while (fibers.size() < threads) add_fiber();
        for (unsigned i = 0; i < threads; ++i) ready.push_back(i);
        if (_setjmp(home) == 0) resume(draw());
        if (fault.empty() && done < threads) fault = stuck();
        if (fault.empty()) check_guards();
        // Fibers that stopped half-way are given up; they own nothing but their stacks.
        if (!fault.empty()) fibers.clear(), ready.clear();
        after(&ended);
        return fault.empty();
    }

    // All threads of the block meet here.
    void block_barrier(Place place) {
        const Unwatched work;
        barrier(meeting, threads, place);
    }

    // All lanes that the mask names meet here.
    void warp_barrier(Place place, unsigned mask) {
        const Unwatched work;
        barrier(lanes_of(place, mask).meeting, (unsigned)__builtin_popcount(mask), place);
    }

    // What lane `source` of this warp offers.
    template <class T> T exchange(Place place, unsigned mask, T value, unsigned source) {
        const Unwatched work;
        static_assert(sizeof(T) <= 8, "a shuffle moves 8 bytes at most");
        Lanes &lanes = lanes_of(place, mask);
        const std::size_t turn = lanes.meeting.held % 2;
        std::memcpy(&lanes.offered[turn][now % 32], &value, sizeof value);
        meet(lanes.meeting, (unsigned)__builtin_popcount(mask), place);
        if (!(mask >> source & 1)) fail("a lane that the mask lacks is read at " + to_text(place));
        std::memcpy(&value, &lanes_of(place, mask).offered[turn][source], sizeof value);
        return value;
    }

    // Watches bytes that no kernel may write.
    void guard(const char *name, const unsigned char *bytes) { guards.push_back({name, bytes}); }

    // What a fiber does, block after block.
    void live() {
        for (;;) {
            after(&begun);
            body(call);
            const Unwatched work;
            before(&ended);
            ++done;
            go_on();
        }
    }

    static const int GUARD = 64;

  private:
    // Not a multiple of a page, so that the stacks' ends do not share their places in the caches.
    static const std::size_t STACK = (64 << 10) + 17 * 64;
    struct Guard {
        const char *name;
        const unsigned char *bytes;
    };
    unsigned threads = 0, done = 0;
    unsigned long long random = 0, favour = 1;
    void (*body)(const void *) = nullptr;
    const void *call = nullptr;
    std::vector<std::unique_ptr<Fiber>> fibers;
    std::vector<unsigned> ready;
    std::vector<Warp> warps;
    std::vector<Guard> guards;
    Meeting meeting = {};
    jmp_buf home;
    Watched home_watched;
    // What was written before a block, and in it.
    char begun = 0, ended = 0;

    void add_fiber() {
        fibers.emplace_back(new Fiber());
        Fiber &fiber = *fibers.back();
        fiber.stack.reset(new char[STACK]);
        fiber.watched.make();
        getcontext(&fiber.start);
        fiber.start.uc_stack.ss_sp = fiber.stack.get(), fiber.start.uc_stack.ss_size = STACK;
        fiber.start.uc_link = nullptr;
        makecontext(&fiber.start, [] { machine().live(); }, 0);
    }

    Lanes &lanes_of(Place place, unsigned mask) {
        if (!(mask >> now % 32 & 1)) fail("the mask at " + to_text(place) + " lacks lane " + std::to_string(now % 32));
        Warp &warp = warps[now / 32];
        for (Lanes &lanes : warp)
            if (lanes.mask == mask) return lanes;
        warp.push_back({mask, {}, {}});
        return warp.back();
    }

    // Who leaves sees what all wrote before they came.
    void barrier(Meeting &meeting, unsigned count, Place place) {
        char *written = &meeting.written[meeting.held % 2];
        before(written);
        meet(meeting, count, place);
        after(written);
    }

    void meet(Meeting &meeting, unsigned count, Place place) {
        if (!meeting.waiting.empty() && meeting.place.line != place.line)
            fail("threads wait at " + to_text(meeting.place) + " and at " + to_text(place) + " for one another");
        before(&ended); // should it be given up here
        meeting.place = place;
        meeting.waiting.push_back(now);
        if (meeting.waiting.size() == count) {
            ready.insert(ready.end(), meeting.waiting.begin(), meeting.waiting.end());
            meeting.waiting.clear();
            ++meeting.held;
        }
        go_on();
    }

    std::size_t drawn() {
        random = random * 6364136223846793005ull + 1442695040888963407ull;
        return (std::size_t)((random >> 33) % ready.size());
    }

    // A block's order of its warps, the same in all draws.
    unsigned long long rank(std::size_t i) const { return (ready[i] / 32 + 1) * favour * 0x9e3779b97f4a7c15ull >> 40; }

    // Takes one of the threads that can go on.
    unsigned draw() {
        std::size_t i = drawn();
        for (int others = block % 2 ? 4 : 0; others > 0; --others) {
            const std::size_t other = drawn();
            if (rank(other) > rank(i)) i = other;
        }
        const unsigned next = ready[i];
        ready[i] = ready.back(), ready.pop_back();
        return next;
    }

    // Lets another thread run, until this one is drawn (in the next block, for one that is done).
    void go_on() {
        const bool last = ready.empty();
        const unsigned next = last ? threads : draw();
        if (next == now || _setjmp(fibers[now]->at) != 0) return;
        if (last) leave();
        resume(next);
    }

    void resume(unsigned next) {
        now = next, threadIdx.x = next;
        Fiber &fiber = *fibers[next];
        const bool started = fiber.started;
        fiber.started = true;
        fiber.watched.enter();
        if (started) _longjmp(fiber.at, 1);
        setcontext(&fiber.start);
    }

    void fail(const std::string &why) {
        fault = why;
        before(&ended);
        leave();
    }

    void leave() {
        home_watched.enter();
        _longjmp(home, 1);
    }

    std::string stuck() const {
        const Meeting *held = &meeting;
        for (const Warp &warp : warps)
            for (const Lanes &lanes : warp)
                if (!lanes.meeting.waiting.empty()) held = &lanes.meeting;
        return std::to_string(held->waiting.size()) + " threads wait at " + to_text(held->place) +
               " for others that do not come";
    }

    void check_guards() {
        for (const Guard &guard : guards)
            for (int i = 0; i < GUARD; ++i)
                if (guard.bytes[i] != 0xff) fault = std::string("a kernel wrote outside its shared array ") + guard.name;
    }
};

static Machine &machine() {
    static thread_local Machine it;
    return it;
}

// An array of a block's shared memory between guards; NaN wherever a block has not written. Its bytes are all ones.
template <class T> struct SharedArray {
    unsigned char before[Machine::GUARD];
    alignas(16) T data;
    unsigned char after[Machine::GUARD];
    unsigned long long block;

    T &open(const char *name) {
        const Unwatched work;
        Machine &m = machine();
        if (block != m.block) {
            block = m.block;
            std::memset(static_cast<void *>(this), 0xff, offsetof(SharedArray, block));
            m.guard(name, before), m.guard(name, after);
        }
        return data;
    }
};

#define SHARED(type, name, extent)                     \
    using name##_array = type extent;                  \
    static thread_local SharedArray<name##_array> name##_it; \
    name##_array &name = name##_it.open(#name)

#define UNROLL(rounds)
#define __syncthreads() machine().block_barrier(HERE)
#define __syncwarp() machine().warp_barrier(HERE, 0xffffffffu)
#define __shfl_sync(mask, value, lane) machine().exchange(HERE, mask, value, (unsigned)(lane) % 32)
#define __shfl_xor_sync(mask, value, lanes) machine().exchange(HERE, mask, value, (threadIdx.x % 32) ^ (unsigned)(lanes))
#define __shfl_down_sync(mask, value, lanes) \
    machine().exchange(HERE, mask, value, threadIdx.x % 32 + (lanes) < 32 ? threadIdx.x % 32 + (lanes) : threadIdx.x % 32)

template <class F> static bool run_block(const F &body, const Launch &launch, unsigned block) {
    const auto call = [](const void *body) { (*static_cast<const F *>(body))(); };
    blockIdx.x = block;
    return machine().run(launch.block, launch.descending ? 1ull << 40 : 0, call, &body);
}

template <class... A, std::size_t... I>
static bool each_block(void (*kernel)(A...), const Launch &launch, std::index_sequence<I...>) {
    const auto body = [&] { kernel(*static_cast<A *>(launch.args[I])...); };
    for (unsigned i = 0; i < launch.blocks; ++i)
        if (!run_block(body, launch, launch.descending ? launch.blocks - 1 - i : i)) return false;
    return true;
}

// A kernel that is declared for blocks of `threads`.
template <class... A> static int run_blocks(void (*kernel)(A...), const Launch &launch, unsigned threads) {
    if (!launch.args && !launch.kinds) return -(int)sizeof...(A);
    if (!takes(kernel, launch)) return WRONG_KINDS;
    if (launch.block != threads || threads % 32 != 0) return WRONG_BLOCK;
    blockDim.x = launch.block, gridDim.x = launch.blocks;
    return each_block(kernel, launch, std::index_sequence_for<A...>()) ? DONE : FAULT;
}

// Why the last launch of this thread ended in FAULT.
extern "C" const char *emulation_fault() { return machine().fault.c_str(); }
