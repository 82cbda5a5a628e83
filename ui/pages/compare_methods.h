// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// One run per method on the same model, data and seeds, in one group: the shoot-out dialog of New
// run. Shows what each will cost before it is queued; what cannot run on this model says why and
// cannot be ticked. The same for all is the number of steps, or the time: then each method's own
// pace is measured in a few steps and its number of steps follows.

#include "client/workbench.h"
#include "widgets/basics.h"

class QCheckBox;
class QGridLayout;
class QLabel;
class QLineEdit;
class QPushButton;

namespace luthier::ui {

class ElidedLabel;
class MemoryBar;
class SegmentedControl;
class UnitField;

class CompareMethods final : public FramedDialog {
    Q_OBJECT
public:
    /// `config` as New run would start it; `kept` the method sections edited before, by method.
    CompareMethods(Workbench& bench, const QJsonObject& config,
                   const QHash<QString, QJsonObject>& kept, QWidget* parent);
    ~CompareMethods() override;
    /// The configurations of the ticked methods; runs of one method together.
    std::vector<QJsonObject> configs() const;

private:
    struct Row {
        QString method, title;
        QJsonObject values;
        double stepSeconds;  ///< measured, else NaN
        QCheckBox* box;
        QLineEdit* rate;
        ElidedLabel* settings;
        QLabel *trainable, *memory, *time;
        MemoryBar* bar;
    };
    QLayout* makeChoices();
    QWidget* makeList();
    void addRow(QGridLayout* grid, const MethodInfo& info, double rate);
    QLayout* makeFoot();
    std::int64_t stepsOf(const Row& row) const;
    int runsEach() const;
    bool isByTime() const;
    QString problem() const;
    QJsonObject configOf(const Row& row) const;
    void askNext();
    void showEstimate(Row& row, const QJsonValue& value);
    void measureNext();
    void endMeasuring();
    void refresh();
    void refreshTimes();

    Workbench& m_bench;
    QJsonObject m_config;
    QString m_current;
    QHash<QString, QJsonObject> m_kept;
    std::vector<Row> m_rows;
    std::size_t m_asked = 0;
    int m_measuring = -1;  ///< request; -1 = none
    QString m_progress;
    SegmentedControl *m_same, *m_seeds, *m_rates;
    UnitField* m_amount;
    QLineEdit* m_group;
    QLabel *m_summary, *m_note, *m_memoryTitle;
    QPushButton *m_measure, *m_queue;
};

}  // namespace luthier::ui
