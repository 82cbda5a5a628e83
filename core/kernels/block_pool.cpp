// SPDX-License-Identifier: Apache-2.0
#include "kernels/block_pool.h"

#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>

#include <algorithm>
#include <iterator>
#include <new>
#include <sys/mman.h>

namespace luthier::kernels {

namespace {

constexpr std::size_t kPage = 4096;

}  // namespace

BlockPool::~BlockPool() {
    while (!m_kept.empty()) unmapLargest();
}

c10::DataPtr BlockPool::allocate(std::size_t bytes) {
    if (bytes == 0) return {nullptr, nullptr, &release, at::Device(at::kCPU)};
    Header* block =
        bytes < kSmallest ? nullptr : take((bytes + sizeof(Header) + kPage - 1) / kPage * kPage);
    // Also what cannot be mapped goes to torch's allocation: it fails with torch's message.
    if (block == nullptr) block = new (c10::alloc_cpu(bytes + sizeof(Header))) Header{nullptr, 0};
    return {block + 1, block + 1, &release, at::Device(at::kCPU)};
}

void BlockPool::release(void* address) {
    if (address == nullptr) return;
    Header* const block = static_cast<Header*>(address) - 1;
    if (block->pool == nullptr)
        c10::free_cpu(block);
    else
        block->pool->give(block);
}

BlockPool::Header* BlockPool::take(std::size_t bytes) {
    const std::lock_guard lock(m_mutex);
    const auto account = [this](Header* block) {
        m_figures.usedBytes += block->bytes;
        m_figures.peakUsedBytes = std::max(m_figures.peakUsedBytes, m_figures.usedBytes);
        return block;
    };
    const auto fitting = m_kept.lower_bound(bytes);
    if (fitting != m_kept.end() && fitting->first <= bytes + bytes / 8) {
        Header* const block = fitting->second;
        m_kept.erase(fitting);
        m_figures.keptBytes -= block->bytes;
        return account(block);
    }
    const std::size_t limit = std::max(m_figures.peakUsedBytes, m_figures.usedBytes + bytes) /
                              kSlackDivisor * (kSlackDivisor + 1);
    while (!m_kept.empty() && m_figures.usedBytes + m_figures.keptBytes + bytes > limit)
        unmapLargest();
    void* const address =
        ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (address == MAP_FAILED) return nullptr;
    return account(new (address) Header{this, bytes});
}

void BlockPool::give(Header* block) {
    const std::lock_guard lock(m_mutex);
    m_figures.usedBytes -= block->bytes;
    m_figures.keptBytes += block->bytes;
    m_kept.emplace(block->bytes, block);
}

void BlockPool::unmapLargest() {
    const auto largest = std::prev(m_kept.end());
    Header* const block = largest->second;
    m_kept.erase(largest);
    m_figures.keptBytes -= block->bytes;
    ::munmap(block, block->bytes);
}

BlockPool::Figures BlockPool::figures() const {
    const std::lock_guard lock(m_mutex);
    return m_figures;
}

void useBlockPool() {
    static BlockPool* const pool =
        new BlockPool;  // tensors in static storage outlive every destructor
    c10::SetCPUAllocator(pool, 100);
}

}  // namespace luthier::kernels
