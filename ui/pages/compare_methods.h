// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// One run per method on the same model, data, steps and seeds, in one group: the shoot-out dialog of New run. Shows what each will
// cost before it is queued; what cannot run on this model says why and cannot be ticked.

#include "client/workbench.h"

#include <QDialog>

class QCheckBox;
class QLabel;
class QLineEdit;
class QPushButton;

namespace luthier::ui {

class SegmentedControl;
class UnitField;

class CompareMethods final : public QDialog {
    Q_OBJECT
public:
    /// `config` as New run would start it; `kept` the method sections edited before, by method.
    CompareMethods(Workbench& bench, const QJsonObject& config, const QHash<QString, QJsonObject>& kept, double secondsPerStep, QWidget* parent);
    /// The configurations of the ticked methods, seeds of one method together.
    std::vector<QJsonObject> configs() const;

protected:
    void paintEvent(QPaintEvent*) override;

private:
    struct Row {
        QString method, title;
        QJsonObject values;
        QCheckBox* box;
        QLineEdit* rate;
        QLabel *trainable, *memory;
    };
    QJsonObject configOf(const Row& row, int seed) const;
    void askNext();
    void refresh();

    Workbench& m_bench;
    QJsonObject m_config;
    double m_secondsPerStep;
    std::vector<Row> m_rows;
    std::size_t m_asked = 0;
    UnitField* m_steps;
    SegmentedControl* m_seeds;
    QLineEdit* m_group;
    QLabel *m_summary, *m_note;
    QPushButton* m_queue;
};

/// How much higher a method is usually trained than LoRA at 2e-4; 1 when nothing is known.
double usualRateFactor(const QString& method);

}  // namespace luthier::ui
