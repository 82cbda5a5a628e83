// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// Data: rows as the trainer sees them; tokens that carry loss are blue, cut ones struck out.

#include "pages/page.h"

class QLabel;
class QTextEdit;

namespace luthier::ui {

class Banner;

class DataPage final : public Page {
    Q_OBJECT
public:
    explicit DataPage(Workbench& bench);
    QString title() const override { return tr("Data"); }
    QString context() const override { return m_path; }
    void enter() override;
    void open(const QString& path);

private:
    void load();
    QString m_path;
    int m_first = 0;
    QLabel* m_facts;
    Banner* m_banner;
    QTextEdit* m_rows;
};

}  // namespace luthier::ui
