// SPDX-License-Identifier: Apache-2.0
// Adafactor (Shazeer & Stern 2018) as transformers' Adafactor computes it, which is not
// torch.optim's:
//   b2t = 1 - t^decay_rate;  u = g^2 + eps1
//   matrices:  R = b2t R + (1-b2t) mean_last(u);  C = b2t C + (1-b2t) mean_second_last(u);  d = g
//   rsqrt(R / mean_last(R)) rsqrt(C) vectors:   V = b2t V + (1-b2t) u;  d = g rsqrt(V) d /= max(1,
//   rms(d) / clip);  a = rho max(eps2, rms(p)) (scale_parameter) or rho;  rho = lr, or min(1e-2 |
//   1e-6 t, 1/sqrt(t)) d *= a;  m = b1 m + (1-b1) d when there is a beta1;  p -= wd a p;  p -= d
#include "train/optimizers/rules.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>

namespace luthier {

namespace {

/// Root of the mean square. @returns [] f32
at::Tensor rms(const at::Tensor& values) {
    return values.norm().div(std::sqrt(static_cast<double>(values.numel())));
}

class Adafactor final : public Optimizer {
public:
    Adafactor(std::vector<TrainedParameter> parameters, const OptimizerSettings& settings)
        : Optimizer(std::move(parameters)), m_settings(settings) {
        for (const TrainedParameter& parameter : m_parameters)
            m_slots.push_back(slotOf(parameter.tensor.detach()));
    }

    void step(double learningRate) override {
        const at::NoGradGuard guard;
        for (std::size_t i = 0; i < m_parameters.size(); ++i)
            if (m_parameters[i].tensor.grad().defined())
                update(m_parameters[i], m_slots[i], learningRate);
    }

    std::vector<NamedTensor> state() const override {
        std::vector<NamedTensor> state;
        for (std::size_t i = 0; i < m_slots.size(); ++i) {
            const std::string prefix = "optimizer." + m_parameters[i].name + ".";
            const Slot& slot = m_slots[i];
            for (const auto& [key, tensor] :
                 {std::pair{"exp_avg_sq_row", &slot.rows},
                  std::pair{"exp_avg_sq_col", &slot.columns}, std::pair{"exp_avg_sq", &slot.second},
                  std::pair{"exp_avg", &slot.first}, std::pair{"step", &slot.steps}})
                if (tensor->defined()) state.push_back({prefix + key, *tensor});
        }
        return state;
    }

    double usedRate(double scheduled) const override {
        if (!m_settings.relativeStep) return scheduled;
        double steps = 0;
        for (const Slot& slot : m_slots) steps = std::max(steps, slot.steps.item<double>());
        return relativeRate(steps + 1);
    }

private:
    struct Slot {
        at::Tensor rows;     // [.., n] for [.., n, m]
        at::Tensor columns;  // [.., m]
        at::Tensor second;   // shape of the parameter; vectors only
        at::Tensor first;    // shape of the parameter; only with a beta1
        at::Tensor steps;    // [] f64 on the CPU: the rule is computed from it, so it is exact
    };

    Slot slotOf(const at::Tensor& value) const {
        Slot slot;
        std::vector<std::int64_t> shape = value.sizes().vec();
        if (shape.size() >= 2) {
            const std::int64_t columns = shape.back();
            shape.pop_back();
            slot.rows = at::zeros(shape, value.options());
            shape.back() = columns;
            slot.columns = at::zeros(shape, value.options());
        } else {
            slot.second = at::zeros_like(value);
        }
        if (m_settings.adafactorBeta1 > 0) slot.first = at::zeros_like(value);
        slot.steps = at::zeros({}, at::kDouble);
        return slot;
    }

    double relativeRate(double steps) const {
        return std::min(m_settings.warmupInit ? 1e-6 * steps : 1e-2, 1.0 / std::sqrt(steps));
    }

    void update(const TrainedParameter& parameter, Slot& slot, double learningRate) {
        at::Tensor value = parameter.tensor;
        const at::Tensor& gradient = value.grad();
        slot.steps.add_(1);
        const double steps = slot.steps.item<double>();
        const double rate =
            (m_settings.relativeStep ? relativeRate(steps) : learningRate) * parameter.rateFactor;
        const double decay = 1.0 - std::pow(steps, m_settings.decayRate);
        const at::Tensor squares = gradient.square().add_(m_settings.adafactorEpsilon1);
        at::Tensor delta;
        if (slot.rows.defined()) {
            slot.rows.mul_(decay).add_(squares.mean(-1), 1.0 - decay);
            slot.columns.mul_(decay).add_(squares.mean(-2), 1.0 - decay);
            const at::Tensor rows = slot.rows.div(slot.rows.mean(-1, true)).rsqrt_().unsqueeze(-1);
            delta = rows.mul(slot.columns.unsqueeze(-2).rsqrt()).mul_(gradient);
        } else {
            slot.second.mul_(decay).add_(squares, 1.0 - decay);
            delta = slot.second.rsqrt().mul_(gradient);
        }
        delta.div_(rms(delta).div_(m_settings.clipThreshold).clamp_min_(1.0));
        at::Tensor size = at::ones({}, value.options());  // [] f32: step size
        if (m_settings.scaleParameter) size = rms(value).clamp_min_(m_settings.adafactorEpsilon2);
        size = size.mul(rate);
        delta.mul_(size);
        if (slot.first.defined()) {
            slot.first.mul_(m_settings.adafactorBeta1).add_(delta, 1.0 - m_settings.adafactorBeta1);
            delta = slot.first;
        }
        if (const double weightDecay = decayOf(m_settings, parameter.name); weightDecay != 0)
            value.sub_(value.mul(size.mul(weightDecay)));
        value.sub_(delta);
    }

    OptimizerSettings m_settings;
    std::vector<Slot> m_slots;
};

}  // namespace

std::unique_ptr<Optimizer> makeAdafactor(std::vector<TrainedParameter> parameters,
                                         const OptimizerSettings& settings) {
    return std::make_unique<Adafactor>(std::move(parameters), settings);
}

}  // namespace luthier
