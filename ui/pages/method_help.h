// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// A method's page: what it trains in the chosen model, drawn, then idea, formula, when to use it,
// knobs and papers; the text is the engine's (resources/help).

#include "client/catalogue.h"
#include "widgets/basics.h"

namespace luthier::ui {

class ModelMap;

class MethodHelp final : public FramedDialog {
    Q_OBJECT
public:
    /// `map`: the chosen model and what the method trains in it; without parts there is no drawing.
    MethodHelp(const MethodInfo& info, const ModelMap& map, QWidget* parent);
};

}  // namespace luthier::ui
