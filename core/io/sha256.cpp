// SPDX-License-Identifier: Apache-2.0
#include "io/sha256.h"

#include "io/file.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstring>
#include <vector>

namespace luthier {

namespace {

// FIPS 180-4, 4.2.2: the first 32 bits of the fractional parts of the cube roots of the first 64
// primes.
constexpr std::array<std::uint32_t, 64> kConstants{
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

constexpr std::size_t kBlockBytes = 64;

class Sha256 final {
public:
    void update(const void* data, std::size_t size) {
        const auto* next = static_cast<const std::uint8_t*>(data);
        m_totalBytes += size;
        while (size > 0) {
            if (m_pending == 0 && size >= kBlockBytes) {
                digest(next);
                next += kBlockBytes;
                size -= kBlockBytes;
                continue;
            }
            const std::size_t taken = std::min(size, kBlockBytes - m_pending);
            std::memcpy(m_block.data() + m_pending, next, taken);
            m_pending += taken;
            next += taken;
            size -= taken;
            if (m_pending == kBlockBytes) {
                digest(m_block.data());
                m_pending = 0;
            }
        }
    }

    /// Pads with 1, zeros and the length in bits (5.1.1).
    std::string finish() {
        const std::uint64_t totalBits = m_totalBytes * 8;
        const std::uint8_t one = 0x80;
        const std::uint8_t zero = 0;
        update(&one, 1);
        while (m_pending != kBlockBytes - sizeof totalBits) update(&zero, 1);
        std::array<std::uint8_t, 8> length{};
        for (std::size_t i = 0; i < 8; ++i)
            length[i] = static_cast<std::uint8_t>(totalBits >> (56 - 8 * i));
        update(length.data(), length.size());

        std::string text;
        for (const std::uint32_t word : m_state) {
            for (int shift = 28; shift >= 0; shift -= 4)
                text += "0123456789abcdef"[(word >> shift) & 15u];
        }
        return text;
    }

private:
    /// One block, 6.2.2; the letters are those of the standard.
    void digest(const std::uint8_t* block) {
        std::array<std::uint32_t, 64> w;
        for (std::size_t t = 0; t < 16; ++t) {
            const std::uint8_t* p = block + 4 * t;
            w[t] = std::uint32_t{p[0]} << 24 | std::uint32_t{p[1]} << 16 |
                   std::uint32_t{p[2]} << 8 | std::uint32_t{p[3]};
        }
        for (std::size_t t = 16; t < 64; ++t) {
            const std::uint32_t sigma0 =
                std::rotr(w[t - 15], 7) ^ std::rotr(w[t - 15], 18) ^ (w[t - 15] >> 3);
            const std::uint32_t sigma1 =
                std::rotr(w[t - 2], 17) ^ std::rotr(w[t - 2], 19) ^ (w[t - 2] >> 10);
            w[t] = sigma1 + w[t - 7] + sigma0 + w[t - 16];
        }
        auto [a, b, c, d, e, f, g, h] = m_state;
        for (std::size_t t = 0; t < 64; ++t) {
            const std::uint32_t sum1 = std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25);
            const std::uint32_t t1 = h + sum1 + ((e & f) ^ (~e & g)) + kConstants[t] + w[t];
            const std::uint32_t sum0 = std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22);
            const std::uint32_t t2 = sum0 + ((a & b) ^ (a & c) ^ (b & c));
            h = g;
            g = f;
            f = e;
            e = d + t1;
            d = c;
            c = b;
            b = a;
            a = t1 + t2;
        }
        const std::array<std::uint32_t, 8> mixed{a, b, c, d, e, f, g, h};
        for (std::size_t i = 0; i < mixed.size(); ++i) m_state[i] += mixed[i];
    }

    // 5.3.3: the first 32 bits of the fractional parts of the square roots of the first eight
    // primes.
    std::array<std::uint32_t, 8> m_state{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                         0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    std::array<std::uint8_t, kBlockBytes> m_block{};
    std::size_t m_pending = 0;
    std::uint64_t m_totalBytes = 0;
};

}  // namespace

std::string sha256(std::string_view bytes) {
    Sha256 hash;
    hash.update(bytes.data(), bytes.size());
    return hash.finish();
}

Result<std::string> sha256OfFile(
    const std::filesystem::path& file,
    const std::function<bool(std::uint64_t done, std::uint64_t total)>& progress) {
    constexpr std::size_t kPieceBytes = std::size_t{1} << 20;
    Result<ReadableFile> source = openForReading(file);
    if (!source) return source.problems();

    Sha256 hash;
    std::vector<char> piece(kPieceBytes);
    std::uint64_t done = 0;
    while (true) {
        const Result<std::size_t> got = readSome(*source, piece.data(), piece.size(), file);
        if (!got) return got.problems();
        if (*got == 0) return hash.finish();
        hash.update(piece.data(), *got);
        done += *got;
        if (progress && !progress(done, source->bytes)) {
            return Problem{"cancelled", "Reading " + file.string() + " was cancelled.", "",
                           file.string(), ExitCode::Stopped};
        }
    }
}

}  // namespace luthier
