// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// A method's page: its drawing, idea, formula, when to use it, knobs and papers; the text is the engine's (resources/help).

#include "client/catalogue.h"

#include <QDialog>

namespace luthier::ui {

class MethodHelp final : public QDialog {
    Q_OBJECT
public:
    MethodHelp(const MethodInfo& info, QWidget* parent);

protected:
    void paintEvent(QPaintEvent*) override;
};

}  // namespace luthier::ui
