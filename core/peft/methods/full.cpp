// SPDX-License-Identifier: Apache-2.0
// Full fine-tuning: every weight of the model is trained, as a float32 master. The result is a
// model folder.
#include "peft/method.h"
#include "peft/methods/base_weights.h"

namespace luthier {

namespace {

Result<std::shared_ptr<Adapter>> createFull(const MethodContext& context) {
    return std::shared_ptr<Adapter>(std::make_shared<BaseWeightsAdapter>(
        "full", context.model, context.model.weights().names(), context.settings));
}

}  // namespace

Method fullMethod() {
    Method method{
        "full", "Full", "Adjust existing weights", "Trains every weight. Needs the most memory.",
        "",     true,   {"full", depthSettings()}, &createFull};
    method.usualRate = {2e-5,
                        "Devlin et al. 2019 (2e-5 to 5e-5), Taori et al. 2023 (Alpaca, 2e-5)"};
    method.trainsAll = true;
    method.leavesModel = true;
    method.keepsInputs = true;
    method.glyph = "layers 2 26 3";
    method.marks = {"all", "norms"};
    return method;
}

}  // namespace luthier
