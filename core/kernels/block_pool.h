// SPDX-License-Identifier: Apache-2.0
#pragma once
// The CPU allocator of the engine's programs. A training step takes and returns the same large
// blocks every time; malloc either gives the pages back and faults them in again (slow) or keeps
// them in a heap that fragments by half of what is in use. The pool maps each large block by itself
// and keeps returned ones for requests of nearly their size, but hardly more than what was in use
// at once: a block that fits nothing is unmapped before a new one is mapped. Small blocks go to
// torch's own allocation. A header before each block says where it came from, so that one deleter
// serves all. Thread-safe.

#include <c10/core/Allocator.h>

#include <cstddef>
#include <map>
#include <mutex>

namespace luthier::kernels {

class BlockPool final : public c10::Allocator {
public:
    static constexpr std::size_t kSmallest = std::size_t{256}
                                             << 10;  ///< bytes from which a block is pooled

    /// Mapped memory may exceed the peak of what was used at once by a sixth: without it, blocks of
    /// sizes whose peaks lie apart in a step would be unmapped and mapped again in every step.
    static constexpr std::size_t kSlackDivisor = 6;

    struct Figures {
        std::size_t usedBytes = 0;  ///< in blocks handed out
        std::size_t keptBytes = 0;  ///< in returned blocks that are still mapped
        std::size_t peakUsedBytes = 0;
    };

    ~BlockPool() override;

    /// Throws c10::Error as torch's allocator does when memory is exhausted.
    c10::DataPtr allocate(std::size_t bytes) override;
    c10::DeleterFnPtr raw_deleter() const override { return &release; }
    void copy_data(void* to, const void* from, std::size_t bytes) const override {
        default_copy_data(to, from, bytes);
    }

    Figures figures() const;

private:
    struct alignas(64) Header {
        BlockPool* pool;    ///< null: a small block
        std::size_t bytes;  ///< mapped, header included
    };

    static void release(void* address);
    Header* take(std::size_t bytes);
    void give(Header* block);
    void unmapLargest();

    mutable std::mutex m_mutex;
    std::multimap<std::size_t, Header*> m_kept;  // by size
    Figures m_figures;
};

/// Makes a pool that lives as long as the process the allocator of all CPU tensors from now on.
void useBlockPool();

}  // namespace luthier::kernels
