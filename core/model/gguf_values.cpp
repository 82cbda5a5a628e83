// SPDX-License-Identifier: Apache-2.0
#include "model/gguf_values.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

namespace luthier {

namespace {

constexpr std::int64_t kBlock = 32;      // values of a Q8_0 block
constexpr std::int64_t kStretch = 2048;  // values decoded at a time: what stays in the first cache
constexpr std::size_t kBlockBytes = 34;

void quantise(const float* values, std::byte* block) {
    float largest = 0;
    for (std::int64_t i = 0; i < kBlock; ++i) largest = std::max(largest, std::abs(values[i]));
    const float d = largest / 127.0f;
    const float inverse = d > 0 ? 1.0f / d : 0.0f;
    const c10::Half scale(d);
    std::memcpy(block, &scale, 2);
    for (std::int64_t i = 0; i < kBlock; ++i)
        block[2 + i] =
            static_cast<std::byte>(static_cast<std::int8_t>(std::round(values[i] * inverse)));
}

at::ScalarType scalarOf(GgufType type) {
    return type == GgufType::F16 ? at::kHalf : type == GgufType::BF16 ? at::kBFloat16 : at::kFloat;
}

}  // namespace

std::optional<GgufType> ggufTypeOf(const std::string& text) {
    for (const GgufType type : {GgufType::F32, GgufType::F16, GgufType::BF16, GgufType::Q8_0})
        if (text == name(type)) return type;
    return {};
}

GgufType fitting(GgufType wanted, const at::Tensor& tensor) {
    return wanted == GgufType::Q8_0 && tensor.size(-1) % kBlock != 0 ? GgufType::F16 : wanted;
}

std::vector<std::byte> ggufBytes(GgufType type, const at::Tensor& tensor) {
    std::vector<std::byte> bytes(bytesOf(type, static_cast<std::uint64_t>(tensor.numel())));
    const at::Tensor plain =
        tensor.to(at::kCPU).to(type == GgufType::Q8_0 ? at::kFloat : scalarOf(type)).contiguous();
    if (type != GgufType::Q8_0) {
        std::memcpy(bytes.data(), plain.const_data_ptr(), bytes.size());
        return bytes;
    }
    const float* values = plain.const_data_ptr<float>();
    for (std::int64_t i = 0; i < plain.numel() / kBlock; ++i)
        quantise(values + i * kBlock, bytes.data() + static_cast<std::size_t>(i) * kBlockBytes);
    return bytes;
}

at::Tensor ggufTensor(const GgufTensor& tensor, at::ScalarType type) {
    const GgufTypeInfo& info = infoOf(tensor.type);
    if (!info.isBlocks()) {
        at::Tensor value = at::empty(tensor.shape, scalarOf(tensor.type));
        std::memcpy(value.mutable_data_ptr(), tensor.data.data(), tensor.data.size());
        return value.to(type);
    }
    at::Tensor value = at::empty(tensor.shape, type);
    const auto blocks = static_cast<std::int64_t>(tensor.data.size() / info.bytes),
               width = static_cast<std::int64_t>(info.values);
    const std::int64_t stretch = kStretch / width;
    at::parallel_for(0, blocks, 16 * stretch, [&](std::int64_t begin, std::int64_t end) {
        std::array<float, kStretch> values{};
        for (std::int64_t first = begin; first < end; first += stretch) {
            const std::int64_t count = std::min(stretch, end - first) * width;
            float* into = type == at::kFloat ? value.mutable_data_ptr<float>() + first * width
                                             : values.data();
            decodeGguf(tensor.type,
                       tensor.data.data() + static_cast<std::size_t>(first) * info.bytes,
                       static_cast<std::uint64_t>(count), into);
            if (type == at::kBFloat16)
                std::copy_n(into, count, value.mutable_data_ptr<at::BFloat16>() + first * width);
            if (type == at::kHalf)
                std::copy_n(into, count, value.mutable_data_ptr<at::Half>() + first * width);
        }
    });
    return value;
}

}  // namespace luthier
