// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// Playground: one prompt, the base beside the adapters of finished runs, streaming with one seed.

#include "pages/page.h"

class QComboBox;
class QLineEdit;
class QPlainTextEdit;
class QPushButton;

namespace luthier::ui {

class Banner;

class PlaygroundPage final : public Page {
    Q_OBJECT
public:
    explicit PlaygroundPage(Workbench& bench);
    QString title() const override { return tr("Playground"); }
    void enter() override { fill(); }
    void open(const QString& model, const QString& adapter);
    bool perform(PageCommand command) override;

private:
    void fill();
    void generate();
    QComboBox *m_model, *m_adapter;
    QPlainTextEdit *m_prompt, *m_base, *m_tuned;
    QLineEdit *m_temperature, *m_length, *m_seed;
    QPushButton* m_go;
    Banner* m_banner;
    int m_request = 0;
};

}  // namespace luthier::ui
