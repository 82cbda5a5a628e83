// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// A method's page: its drawing, idea, formula, when to use it, knobs and papers; the text is the engine's (resources/help).

#include "client/catalogue.h"
#include "widgets/basics.h"

namespace luthier::ui {

class MethodHelp final : public FramedDialog {
    Q_OBJECT
public:
    MethodHelp(const MethodInfo& info, QWidget* parent);
};

}  // namespace luthier::ui
