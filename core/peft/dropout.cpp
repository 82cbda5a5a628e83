// SPDX-License-Identifier: Apache-2.0
#include "peft/dropout.h"

#include "peft/method.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

namespace luthier {

at::Tensor keepMask(at::IntArrayRef shape, double share, const RandomKey& random,
                    const std::string& name) {
    const at::NoGradGuard guard;
    at::Tensor mask = at::empty(shape, at::kFloat);
    return mask.bernoulli_(1 - share, at::detail::createCPUGenerator(tensorSeed(random.key, name)));
}

at::Tensor droppedOut(const at::Tensor& x, double share, const RandomKey& random,
                      const std::string& name) {
    return x *
           keepMask(x.sizes(), share, random, name).div_(1 - share).to(x.device(), x.scalar_type());
}

Setting dropoutSetting(const char* key, const char* label, const char* help) {
    Setting dropout{key, SettingType::Real, 0.0, label, help};
    dropout.minimum = 0;
    dropout.maximum = 0.99;
    return dropout;
}

}  // namespace luthier
