// SPDX-License-Identifier: Apache-2.0
#include "model/tensors.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <cstring>

namespace luthier {

std::optional<at::ScalarType> scalarType(DType dtype) {
    switch (dtype) {
        case DType::Bool:
            return at::kBool;
        case DType::U8:
            return at::kByte;
        case DType::I8:
            return at::kChar;
        case DType::I16:
            return at::kShort;
        case DType::I32:
            return at::kInt;
        case DType::I64:
            return at::kLong;
        case DType::F16:
            return at::kHalf;
        case DType::BF16:
            return at::kBFloat16;
        case DType::F32:
            return at::kFloat;
        case DType::F64:
            return at::kDouble;
        default:
            return std::nullopt;
    }
}

DType dtypeOf(at::ScalarType type) {
    switch (type) {
        case at::kBool:
            return DType::Bool;
        case at::kByte:
            return DType::U8;
        case at::kChar:
            return DType::I8;
        case at::kShort:
            return DType::I16;
        case at::kInt:
            return DType::I32;
        case at::kLong:
            return DType::I64;
        case at::kHalf:
            return DType::F16;
        case at::kBFloat16:
            return DType::BF16;
        case at::kDouble:
            return DType::F64;
        default:
            return DType::F32;
    }
}

at::Tensor mappedTensor(const TensorView& view, std::shared_ptr<const void> owner) {
    const at::ScalarType type = scalarType(view.dtype).value();
    if (reinterpret_cast<std::uintptr_t>(view.data) % sizeOf(view.dtype) != 0) {
        at::Tensor copy = at::empty(view.shape, type);
        std::memcpy(copy.data_ptr(), view.data, view.bytes);
        return copy;
    }
    return at::from_blob(const_cast<std::byte*>(view.data), view.shape, [owner](void*) {}, type);
}

TensorView viewOf(const std::string& name, const at::Tensor& tensor,
                  std::vector<at::Tensor>& storage) {
    const at::Tensor flat = tensor.detach().cpu().contiguous();
    storage.push_back(flat);
    return {name, dtypeOf(flat.scalar_type()), flat.sizes().vec(),
            static_cast<const std::byte*>(flat.data_ptr()), flat.nbytes()};
}

}  // namespace luthier
