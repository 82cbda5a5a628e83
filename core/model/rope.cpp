// SPDX-License-Identifier: Apache-2.0
#include "model/rope.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace luthier {

namespace {

Problem badRope(const std::string& file, const std::string& message) {
    return {"config_rope", file + ": " + message, "Use the config.json that came with the model.",
            file};
}

double yarnScale(double factor, double mscale) {
    return factor <= 1 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
}

/// What float32 cannot hold is passed over like what is no number.
double numberIn(const Json& object, const char* key, double fallback) {
    const auto found = object.find(key);
    return found != object.end() && found->is_number() && std::abs(found->get<double>()) <= 1e30
               ? found->get<double>()
               : fallback;
}

bool flagIn(const Json& object, const char* key, bool fallback) {
    const auto found = object.find(key);
    return found != object.end() && found->is_boolean() ? found->get<bool>() : fallback;
}

std::vector<double> numbersIn(const Json& object, const char* key) {
    const auto found = object.find(key);
    if (found == object.end() || !found->is_array()) return {};
    std::vector<double> values;
    for (const Json& item : *found)
        if (item.is_number()) values.push_back(item.get<double>());
    return values;
}

void readYarn(const Json& rope, RopeSpec& spec) {
    spec.betaFast = numberIn(rope, "beta_fast", 32);
    spec.betaSlow = numberIn(rope, "beta_slow", 1);
    spec.truncate = flagIn(rope, "truncate", true);
    const double mscale = numberIn(rope, "mscale", 0);
    const double mscaleAll = numberIn(rope, "mscale_all_dim", 0);
    const double fallback = mscale != 0 && mscaleAll != 0
                                ? yarnScale(spec.factor, mscale) / yarnScale(spec.factor, mscaleAll)
                                : yarnScale(spec.factor, 1);
    spec.attentionFactor = numberIn(rope, "attention_factor", fallback);
}

void readLongRope(const Json& rope, RopeSpec& spec) {
    spec.shortFactor = numbersIn(rope, "short_factor");
    spec.longFactor = numbersIn(rope, "long_factor");
    const double factor = numberIn(
        rope, "factor",
        static_cast<double>(spec.maxPositions) / static_cast<double>(spec.originalPositions));
    spec.factor = factor;
    const double fallback =
        factor <= 1 ? 1.0
                    : std::sqrt(1 + std::log(factor) /
                                        std::log(static_cast<double>(spec.originalPositions)));
    spec.attentionFactor = numberIn(rope, "attention_factor", fallback);
}

/// `base` ^ (2i / rotary), float32 as the reference computes it.
std::vector<float> powers(double base, std::int64_t rotary) {
    std::vector<float> values(static_cast<std::size_t>(rotary / 2));
    for (std::size_t i = 0; i < values.size(); ++i)
        values[i] = std::pow(static_cast<float>(base),
                             static_cast<float>(2 * i) / static_cast<float>(rotary));
    return values;
}

float llama3Frequency(float inverse, const RopeSpec& spec) {
    const float length = static_cast<float>(spec.originalPositions);
    const float low = static_cast<float>(spec.lowFrequencyFactor);
    const float high = static_cast<float>(spec.highFrequencyFactor);
    const float factor = static_cast<float>(spec.factor);
    const float wavelength = 2 * std::numbers::pi_v<float> / inverse;
    if (wavelength < length / high) return inverse;
    if (wavelength > length / low) return inverse / factor;
    const float smooth = (length / wavelength - low) / (high - low);
    return (1 - smooth) * inverse / factor + smooth * inverse;
}

std::vector<float> yarnFrequencies(const RopeSpec& spec) {
    const double dim = static_cast<double>(spec.rotary);
    const auto correction = [&](double rotations) {
        return dim *
               std::log(static_cast<double>(spec.originalPositions) /
                        (rotations * 2 * std::numbers::pi)) /
               (2 * std::log(spec.theta));
    };
    double low = correction(spec.betaFast);
    double high = correction(spec.betaSlow);
    if (spec.truncate) {
        low = std::floor(low);
        high = std::ceil(high);
    }
    low = std::max(low, 0.0);
    high = std::min(high, dim - 1);
    if (low == high) high += 0.001;
    std::vector<float> values = powers(spec.theta, spec.rotary);
    for (std::size_t i = 0; i < values.size(); ++i) {
        const float ramp = std::clamp(
            static_cast<float>((static_cast<double>(i) - low) / (high - low)), 0.0f, 1.0f);
        const float extrapolated = 1.0f / values[i];
        const float interpolated = 1.0f / (static_cast<float>(spec.factor) * values[i]);
        values[i] = interpolated * ramp + extrapolated * (1 - ramp);
    }
    return values;
}

}  // namespace

Result<RopeSpec> readRope(const Json& config, const std::string& file, std::int64_t headSize,
                          double defaultTheta, double defaultPartial) {
    static const Json none = Json::object();
    const auto section = [&](const char* key) -> const Json* {
        const auto found = config.find(key);
        return found != config.end() && found->is_object() ? &*found : nullptr;
    };
    const Json* parameters = section("rope_parameters");
    const Json* scaling = section("rope_scaling");
    const Json& rope = parameters != nullptr ? *parameters : scaling != nullptr ? *scaling : none;

    RopeSpec spec;
    spec.theta = numberIn(rope, "rope_theta", numberIn(config, "rope_theta", defaultTheta));
    const double partial = numberIn(rope, "partial_rotary_factor",
                                    numberIn(config, "partial_rotary_factor", defaultPartial));
    spec.rotary = static_cast<std::int64_t>(static_cast<double>(headSize) * partial);
    if (spec.rotary <= 0 || spec.rotary % 2 != 0 || spec.rotary > headSize)
        return badRope(file, "the rotated part of a head is " + std::to_string(spec.rotary) +
                                 " of " + std::to_string(headSize) +
                                 " values; it must be even and at least 2.");
    if (!(spec.theta > 0) || !std::isfinite(spec.theta))
        return badRope(file, "rope_theta must be positive.");
    const double positions = numberIn(config, "max_position_embeddings", 2048);
    const double original =
        numberIn(rope, "original_max_position_embeddings",
                 numberIn(config, "original_max_position_embeddings", positions));
    for (const double count : {positions, original})
        if (!(count >= 1 && count <= 1LL << 40))
            return badRope(file,
                           "max_position_embeddings and original_max_position_embeddings must be "
                           "numbers of positions.");
    spec.maxPositions = static_cast<std::int64_t>(positions);
    spec.originalPositions = static_cast<std::int64_t>(original);
    spec.factor = numberIn(rope, "factor", 1);

    const auto named = rope.contains("rope_type") ? rope.find("rope_type") : rope.find("type");
    const std::string type = named == rope.end()  ? "default"
                             : named->is_string() ? named->get<std::string>()
                                                  : dumpLine(*named).substr(0, 60);
    if (type == "default" || type == "mrope") {
        spec.scaling = RopeScaling::Default;
    } else if (type == "linear") {
        spec.scaling = RopeScaling::Linear;
    } else if (type == "dynamic") {
        spec.scaling = RopeScaling::Dynamic;
    } else if (type == "llama3") {
        spec.scaling = RopeScaling::Llama3;
        spec.lowFrequencyFactor = numberIn(rope, "low_freq_factor", 1);
        spec.highFrequencyFactor = numberIn(rope, "high_freq_factor", 4);
    } else if (type == "yarn") {
        spec.scaling = RopeScaling::Yarn;
        readYarn(rope, spec);
    } else if (type == "longrope" || type == "su") {
        spec.scaling = RopeScaling::LongRope;
        readLongRope(rope, spec);
        const auto expected = static_cast<std::size_t>(spec.rotary / 2);
        if (spec.shortFactor.size() != expected || spec.longFactor.size() != expected)
            return badRope(file, "short_factor and long_factor must have " +
                                     std::to_string(expected) + " numbers each.");
    } else {
        return badRope(
            file,
            "the rope type \"" + type +
                "\" is not known; known are default, linear, dynamic, yarn, llama3, longrope.");
    }
    if (!(spec.factor > 0)) return badRope(file, "the rope factor must be positive.");
    return spec;
}

at::Tensor inverseFrequencies(const RopeSpec& spec, std::int64_t length) {
    std::vector<float> values;
    if (spec.scaling == RopeScaling::Yarn) {
        values = yarnFrequencies(spec);
        return at::tensor(values, at::kFloat);
    }
    double theta = spec.theta;
    if (spec.scaling == RopeScaling::Dynamic) {
        const double longest = static_cast<double>(std::max(length, spec.maxPositions));
        const double dim = static_cast<double>(spec.rotary);
        theta *= std::pow(
            spec.factor * longest / static_cast<double>(spec.maxPositions) - (spec.factor - 1),
            dim / (dim - 2));
    }
    values = powers(theta, spec.rotary);
    const std::vector<double>& perValue =
        length > spec.originalPositions ? spec.longFactor : spec.shortFactor;
    for (std::size_t i = 0; i < values.size(); ++i) {
        if (spec.scaling == RopeScaling::LongRope) values[i] *= static_cast<float>(perValue[i]);
        values[i] = 1.0f / values[i];
        if (spec.scaling == RopeScaling::Linear) values[i] /= static_cast<float>(spec.factor);
        if (spec.scaling == RopeScaling::Llama3) values[i] = llama3Frequency(values[i], spec);
    }
    return at::tensor(values, at::kFloat);
}

std::pair<at::Tensor, at::Tensor> rotaryAngles(const RopeSpec& spec, const at::Tensor& positions,
                                               std::int64_t length) {
    const at::Tensor inverse = inverseFrequencies(spec, length).to(positions.device());
    const at::Tensor angles =
        positions.to(at::kFloat).unsqueeze(1) * inverse.unsqueeze(0);  // [N, rotary/2]
    at::Tensor cos = angles.cos();
    at::Tensor sin = angles.sin();
    if (spec.attentionFactor != 1.0) {
        cos = cos * spec.attentionFactor;
        sin = sin * spec.attentionFactor;
    }
    return {cos.contiguous(), sin.contiguous()};
}

}  // namespace luthier
