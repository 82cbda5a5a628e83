// SPDX-License-Identifier: Apache-2.0
#include "kernels/block_pool.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

using luthier::kernels::BlockPool;

namespace {

constexpr std::size_t kMegabyte = std::size_t{1} << 20;

}  // namespace

TEST_CASE("aReturnedBlockServesTheNextRequestOfItsSize") {
    BlockPool pool;
    c10::DataPtr first = pool.allocate(3 * kMegabyte);
    void* const address = first.get();
    std::memset(address, 1, 3 * kMegabyte);
    first.clear();
    CHECK(pool.figures().keptBytes >= 3 * kMegabyte);
    const c10::DataPtr second = pool.allocate(3 * kMegabyte - 5000);
    CHECK(second.get() == address);
    CHECK(pool.figures().keptBytes == 0);
    CHECK(pool.figures().usedBytes == pool.figures().peakUsedBytes);
}

TEST_CASE("aMuchLargerBlockIsNotSpentOnASmallRequest") {
    BlockPool pool;
    c10::DataPtr kept = pool.allocate(8 * kMegabyte);
    void* const address = kept.get();
    kept.clear();
    CHECK(pool.allocate(kMegabyte).get() != address);
}

TEST_CASE("mappedMemoryHardlyExceedsWhatWasInUseAtOnce") {
    BlockPool pool;
    std::vector<c10::DataPtr> blocks;
    std::uint64_t state = 1;
    for (int i = 0; i < 3000; ++i) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        if (blocks.size() > 12)
            blocks.erase(blocks.begin() +
                         static_cast<std::ptrdiff_t>((state >> 40) % blocks.size()));
        blocks.push_back(pool.allocate(BlockPool::kSmallest + (state >> 33) % (4 * kMegabyte)));
        const BlockPool::Figures figures = pool.figures();
        REQUIRE((figures.usedBytes + figures.keptBytes) * BlockPool::kSlackDivisor <=
                figures.peakUsedBytes * (BlockPool::kSlackDivisor + 1));
    }
    blocks.clear();
    CHECK(pool.figures().usedBytes == 0);
}

TEST_CASE("blocksAreAlignedForVectorsAndDoNotOverlap") {
    BlockPool pool;
    std::vector<c10::DataPtr> blocks;
    for (std::size_t i = 0; i < 20; ++i) {
        const std::size_t bytes = i % 2 == 0 ? 1000 + i : kMegabyte + i;
        blocks.push_back(pool.allocate(bytes));
        CHECK(reinterpret_cast<std::uintptr_t>(blocks.back().get()) % 64 == 0);
        std::memset(blocks.back().get(), static_cast<int>(i), bytes);
    }
    for (std::size_t i = 0; i < blocks.size(); ++i) {
        const auto* bytes = static_cast<const unsigned char*>(blocks[i].get());
        CHECK(bytes[0] == i);
        CHECK(bytes[999] == i);
    }
    CHECK(pool.allocate(0).get() == nullptr);
}

TEST_CASE("severalThreadsMayTakeAndReturnBlocks") {
    BlockPool pool;
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t)
        threads.emplace_back([&pool, t] {
            for (int i = 0; i < 200; ++i) {
                const c10::DataPtr block =
                    pool.allocate(kMegabyte + static_cast<std::size_t>(t * 70000 + i * 100));
                *static_cast<int*>(block.get()) = t;
            }
        });
    for (std::thread& thread : threads) thread.join();
    CHECK(pool.figures().usedBytes == 0);
    CHECK(pool.figures().keptBytes * BlockPool::kSlackDivisor <=
          pool.figures().peakUsedBytes * (BlockPool::kSlackDivisor + 1));
}
