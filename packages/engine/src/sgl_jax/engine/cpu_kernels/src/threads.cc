#include "threads.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

namespace sgl {
namespace {

using Clock = std::chrono::steady_clock;

// Long enough to bridge the small steps that XLA runs between two kernels, short enough to leave an idle core alone.
constexpr auto kSpin = std::chrono::microseconds(50);
constexpr int kPausesBetweenLooksAtTheClock = 32;
// More pieces than threads let a fast core make up for a slow one.
constexpr int64_t kPiecesPerThread = 8;

void relax() {
#if defined(__x86_64__) || defined(__i386__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Returns whether `ready` became true while spinning.
template <class Ready>
bool spin_until(Ready ready) {
  const auto deadline = Clock::now() + kSpin;
  do {
    for (int pause = 0; pause < kPausesBetweenLooksAtTheClock; ++pause) {
      if (ready()) return true;
      relax();
    }
  } while (Clock::now() < deadline);
  return ready();
}

class Pool {
 public:
  // The pool's one loop at a time. False if another one is running: the caller is on its own then.
  bool run(int64_t count, int64_t piece, int threads, PieceFunction function, void* body) {
    std::unique_lock<std::mutex> only(loop_mutex_, std::try_to_lock);
    if (!only.owns_lock()) return false;
    while (started_ < threads - 1 && start_helper(started_ + 1)) ++started_;
    const int64_t pieces = (count + piece - 1) / piece;
    loop_ = {count, piece, pieces, function, body};
    helpers_.store(threads - 1, std::memory_order_relaxed);
    done_.store(0, std::memory_order_relaxed);
    // Whoever takes a piece has seen this store, and with it the loop above.
    const uint64_t loop_number = (tickets_.load(std::memory_order_relaxed) >> 32) + 1;
    tickets_.store(loop_number << 32 | static_cast<uint64_t>(pieces), std::memory_order_seq_cst);
    if (sleepers_.load(std::memory_order_seq_cst) > 0) {
      { std::lock_guard<std::mutex> lock(sleep_mutex_); }
      wake_.notify_all();
    }
    take_pieces(static_cast<uint32_t>(loop_number));
    // Only pieces that a running thread has begun are still open.
    const auto all_done = [this, pieces] { return done_.load(std::memory_order_acquire) == pieces; };
    while (!spin_until(all_done)) std::this_thread::yield();
    return true;
  }

 private:
  struct Loop {
    int64_t count, piece, pieces;
    PieceFunction function;
    void* body;
  };

  // False if the system refuses: the loop goes on with the threads that there are.
  bool start_helper(int number) {
    try {
      std::thread([this, number] { serve(number); }).detach();
      return true;
    } catch (const std::system_error&) {
      return false;
    }
  }

  uint32_t loop_number() const { return static_cast<uint32_t>(tickets_.load(std::memory_order_seq_cst) >> 32); }

  // Takes pieces of this loop until there are none, or until it is over and another one has begun.
  void take_pieces(uint32_t loop_number) {
    uint64_t seen = tickets_.load(std::memory_order_acquire);
    while (static_cast<uint32_t>(seen >> 32) == loop_number && static_cast<uint32_t>(seen) > 0) {
      if (!tickets_.compare_exchange_weak(seen, seen - 1, std::memory_order_acq_rel, std::memory_order_acquire)) {
        continue;
      }
      // The loop cannot end before this piece is done, so what is read here stands still.
      const Loop& loop = loop_;
      const int64_t begin = (loop.pieces - static_cast<int64_t>(static_cast<uint32_t>(seen))) * loop.piece;
      loop.function(loop.body, begin, std::min(begin + loop.piece, loop.count));
      done_.fetch_add(1, std::memory_order_release);
      seen = tickets_.load(std::memory_order_acquire);
    }
  }

  // The life of helper `number`, which begins with 1.
  [[noreturn]] void serve(int number) {
#if defined(__linux__)
    pthread_setname_np(pthread_self(), "sgl-kernels");  // for `top -H` and `perf`
#endif
    uint32_t last = 0;
    const auto next_loop = [this, &last] { return loop_number() != last; };
    for (;;) {
      if (number > helpers_.load(std::memory_order_relaxed) || !spin_until(next_loop)) {
        std::unique_lock<std::mutex> lock(sleep_mutex_);
        sleepers_.fetch_add(1, std::memory_order_seq_cst);
        wake_.wait(lock, next_loop);
        sleepers_.fetch_sub(1, std::memory_order_seq_cst);
      }
      last = loop_number();
      if (number <= helpers_.load(std::memory_order_relaxed)) take_pieces(last);
    }
  }

  std::mutex loop_mutex_;  // held by the caller of the running loop; guards loop_ and started_
  Loop loop_{};
  int started_ = 0;

  alignas(64) std::atomic<uint64_t> tickets_{0};  // number of the loop, then how many of its pieces nobody has taken
  alignas(64) std::atomic<int64_t> done_{0};
  alignas(64) std::atomic<int> helpers_{0};  // helpers with larger numbers sit this loop out

  std::mutex sleep_mutex_;
  std::condition_variable wake_;
  std::atomic<int> sleepers_{0};
};

std::atomic<int> wanted_threads{1};
std::atomic<Pool*> current_pool{nullptr};
// Set while a thread is inside of a loop's body.
thread_local bool inside_loop = false;

// A child of fork has none of its parent's threads and perhaps a locked mutex: it starts over with a pool of its own.
void forget_pool() {
  current_pool.store(nullptr, std::memory_order_relaxed);
  inside_loop = false;
}

// Pools are never destroyed: their threads run until the process ends.
Pool& pool() {
  static const int registered = pthread_atfork(nullptr, nullptr, forget_pool);
  (void)registered;
  Pool* found = current_pool.load(std::memory_order_acquire);
  if (found == nullptr) {
    Pool* made = new Pool;
    if (current_pool.compare_exchange_strong(found, made, std::memory_order_acq_rel)) return *made;
    delete made;  // another thread was first; nothing has started in ours
  }
  return *found;
}

struct Marked {
  PieceFunction function;
  void* body;
};

void run_marked(void* erased, int64_t begin, int64_t end) {
  const Marked& marked = *static_cast<Marked*>(erased);
  const bool before = inside_loop;
  inside_loop = true;
  marked.function(marked.body, begin, end);
  inside_loop = before;
}

}  // namespace

void set_num_threads(int count) { wanted_threads.store(std::max(count, 1), std::memory_order_relaxed); }

int num_threads() { return wanted_threads.load(std::memory_order_relaxed); }

void run_pieces(int64_t count, int64_t grain, PieceFunction function, void* body) {
  if (count <= 0) return;
  const int threads = num_threads();
  const int64_t most = threads * kPiecesPerThread;
  const int64_t piece = std::max({grain, (count + most - 1) / most, int64_t{1}});
  Marked marked{function, body};
  const bool alone = threads == 1 || piece >= count || inside_loop;
  if (alone || !pool().run(count, piece, threads, run_marked, &marked)) function(body, 0, count);
}

}  // namespace sgl

extern "C" void sgl_set_num_threads(int count) { sgl::set_num_threads(count); }

extern "C" int sgl_num_threads() { return sgl::num_threads(); }
