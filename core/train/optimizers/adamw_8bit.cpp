// SPDX-License-Identifier: Apache-2.0
// AdamW whose moments are 8-bit codes (Dettmers et al. 2022) as bitsandbytes stores them: one
// float32 maximum a block of 256 consecutive elements, codes into the signed (m) and unsigned (v)
// dynamic map. Each step decodes, updates in float32 and encodes to the nearest code. Tensors of
// fewer than 4096 elements keep float32 moments. The decay comes before the update.
#include "train/adamw.h"
#include "train/optimizers/rules.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/bucketize.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>

namespace luthier {

namespace {

enum class Sign { Both, Positive };

/// The dynamic map: for i = 0 … 6 the midpoints of linspace(0.1, 1) times 10^(i-6), with 0 and 1.
/// @returns [256] f32, rising
at::Tensor dynamicMap(Sign sign) {
    std::vector<float> codes{0.0f, 1.0f};
    for (int i = 0; i < 7; ++i) {
        const std::int64_t items = std::int64_t{1} << (sign == Sign::Both ? i : i + 1);
        const at::Tensor edges = at::linspace(0.1, 1.0, items + 1, at::kFloat);
        const at::Tensor middles =
            edges.slice(0, 0, items).add(edges.slice(0, 1)).div_(2.0).mul_(std::pow(10.0, i - 6));
        for (std::int64_t k = 0; k < items; ++k) {
            const float middle = middles[k].item<float>();
            codes.push_back(middle);
            if (sign == Sign::Both) codes.push_back(-middle);
        }
    }
    std::sort(codes.begin(), codes.end());
    return at::tensor(codes);
}

/// Values as codes and the largest magnitude of each block.
struct Coded {
    at::Tensor codes;    // [blocks, 256] u8
    at::Tensor largest;  // [blocks] f32
};

class Coder {
public:
    Coder(Sign sign, const at::Device& device) : m_map(dynamicMap(sign).to(device)) {
        m_edges = m_map.slice(0, 0, 255).add(m_map.slice(0, 1)).mul_(0.5);
    }
    /// @returns [blocks, 256] f32
    at::Tensor decode(const Coded& coded) const {
        return m_map.index_select(0, coded.codes.reshape({-1}).to(at::kInt))
            .reshape(coded.codes.sizes())
            .mul_(coded.largest.unsqueeze(-1));
    }
    /// @param values [blocks, 256] f32
    void encode(const at::Tensor& values, Coded& coded) const {
        coded.largest.copy_(values.abs().amax(-1));
        const at::Tensor shares = values.div(coded.largest.clamp_min(1e-38).unsqueeze(-1));
        coded.codes.copy_(at::bucketize(shares, m_edges, true));
    }

private:
    at::Tensor m_map;    // [256] f32
    at::Tensor m_edges;  // [255] f32: half way between codes
};

class AdamW8bit final : public Optimizer {
public:
    AdamW8bit(std::vector<TrainedParameter> parameters, const OptimizerSettings& settings)
        : Optimizer(std::move(parameters)), m_settings(settings) {
        std::vector<TrainedParameter> small;
        for (const TrainedParameter& parameter : m_parameters) {
            if (parameter.tensor.numel() < kMin8bitSize) {
                small.push_back(parameter);
                continue;
            }
            const at::Device device = parameter.tensor.device();
            if (m_large.empty()) {
                m_signed = std::make_unique<Coder>(Sign::Both, device);
                m_unsigned = std::make_unique<Coder>(Sign::Positive, device);
            }
            const std::int64_t blocks = (parameter.tensor.numel() + k8bitBlock - 1) / k8bitBlock;
            const auto coded = [&] {
                return Coded{
                    at::zeros({blocks, k8bitBlock}, at::TensorOptions(at::kByte).device(device)),
                    at::zeros({blocks}, at::TensorOptions(at::kFloat).device(device))};
            };
            m_large.push_back({parameter, coded(), coded(), at::zeros({}, at::kDouble)});
        }
        m_small = std::make_unique<AdamW>(small, settings);
    }

    void step(double learningRate) override {
        const at::NoGradGuard guard;
        m_small->step(learningRate);
        for (Slot& slot : m_large)
            if (slot.parameter.tensor.grad().defined())
                update(slot, learningRate * slot.parameter.rateFactor);
    }

    std::vector<NamedTensor> state() const override {
        std::vector<NamedTensor> state = m_small->state();
        for (const Slot& slot : m_large) {
            const std::string prefix = "optimizer." + slot.parameter.name + ".";
            state.push_back({prefix + "state1", slot.first.codes});
            state.push_back({prefix + "absmax1", slot.first.largest});
            state.push_back({prefix + "state2", slot.second.codes});
            state.push_back({prefix + "absmax2", slot.second.largest});
            state.push_back({prefix + "step", slot.steps});
        }
        return state;
    }

private:
    struct Slot {
        TrainedParameter parameter;
        Coded first, second;
        at::Tensor steps;  // [] f64, CPU
    };

    void update(Slot& slot, double rate) {
        at::Tensor value = slot.parameter.tensor;
        const std::int64_t count = value.numel();
        at::Tensor gradient = at::zeros(slot.first.codes.sizes(),
                                        value.options());  // [blocks, 256]; zeros behind the end
        gradient.view({-1}).slice(0, 0, count).copy_(value.grad().reshape({-1}));
        slot.steps.add_(1);
        const double steps = slot.steps.item<double>();
        const at::Tensor m = m_signed->decode(slot.first)
                                 .mul_(m_settings.beta1)
                                 .add_(gradient, 1 - m_settings.beta1);
        const at::Tensor v = m_unsigned->decode(slot.second)
                                 .mul_(m_settings.beta2)
                                 .addcmul_(gradient, gradient, 1 - m_settings.beta2);
        if (const double decay = decayOf(m_settings, slot.parameter.name); decay != 0)
            value.mul_(1 - rate * decay);
        const double correction1 = 1 - std::pow(m_settings.beta1, steps);
        const double correction2 = std::sqrt(1 - std::pow(m_settings.beta2, steps));
        const at::Tensor delta = m.div(v.sqrt().add_(m_settings.epsilon * correction2))
                                     .mul_(-rate * correction2 / correction1);
        value.add_(delta.view({-1}).slice(0, 0, count).view(value.sizes()));
        m_signed->encode(m, slot.first);
        m_unsigned->encode(v, slot.second);
    }

    OptimizerSettings m_settings;
    std::unique_ptr<AdamW> m_small;
    std::vector<Slot> m_large;
    std::unique_ptr<Coder> m_signed, m_unsigned;
};

}  // namespace

std::unique_ptr<Optimizer> makeAdamW8bit(std::vector<TrainedParameter> parameters,
                                         const OptimizerSettings& settings) {
    return std::make_unique<AdamW8bit>(std::move(parameters), settings);
}

}  // namespace luthier
