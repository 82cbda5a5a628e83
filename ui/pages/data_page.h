// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// Data: a file as the trainer will see it under the chosen model and settings: source and settings
// left, rows as token chips in the middle, lengths and problems right. Every change is asked of the
// engine again; the rows shown are the rows trained on.

#include "pages/page.h"

class QBoxLayout;
class QComboBox;
class QLabel;
class QLineEdit;
class QProgressBar;
class QPushButton;
class QStackedWidget;
class QVBoxLayout;

namespace luthier::ui {

class Banner;
class Chip;
class ElidedLabel;
class EmptyState;
class LengthHistogram;
class PaneHeader;
class SegmentedControl;
class StatStrip;
class Toggle;
class TokenView;
class UnitField;

class DataPage final : public Page {
    Q_OBJECT
public:
    explicit DataPage(Workbench& bench);
    QString title() const override { return tr("Data"); }
    QString context() const override;
    void enter() override;
    void open(const QString& path);
    bool perform(PageCommand command) override;
    bool isSettled() const override { return !m_request && m_bench.catalogue.modelsLoaded(); }

protected:
    bool eventFilter(QObject* object, QEvent* event) override;

private:
    QWidget* buildSource();
    QWidget* buildRows();
    QWidget* buildFacts();
    void fillModels();
    /// Changes one setting: shown, remembered, undoable, asked again.
    void change(const QString& key, const QJsonValue& value, const QString& what);
    void setState(const QJsonObject& state);
    void showState();
    static QJsonObject configOf(const QJsonObject& state);
    void load();
    void take(const QJsonObject& value);
    void takeBeginning(const QJsonObject& value);
    void showRows(const QJsonObject& value);
    void showProblems(const QJsonObject& value);
    void showCounts();
    void askProbabilities(int row);
    void turn(int first);
    void useInNewRun();
    void startAnew(QJsonObject& run) const;
    void chooseFile();
    void chooseFolder();

    QJsonObject m_state;  ///< path, model, format, loss_on, max_length, split, packing
    QJsonObject m_value;  ///< the last answer
    int m_first = 0, m_request = 0;
    qint64 m_asked = 0;
    QStackedWidget *m_stack, *m_rowStack;
    EmptyState *m_empty, *m_rowProblem;
    ElidedLabel *m_fileName, *m_fileNote;
    QLabel *m_recognised, *m_lossNote, *m_mapping;
    QComboBox *m_model, *m_format;
    SegmentedControl *m_lossOn, *m_filter, *m_mode;
    UnitField *m_length, *m_split;
    Toggle* m_packing;
    QLabel* m_splitNote;
    QWidget* m_well;
    bool m_hasOwnEvaluation = false;
    QLineEdit* m_at;
    QPushButton *m_back, *m_next, *m_use, *m_cancel;
    QWidget *m_centre = nullptr, *m_head, *m_legend, *m_legendRule;
    QBoxLayout* m_headRow;
    TokenView* m_rows;
    QLabel* m_phase;
    QProgressBar* m_bar;
    QWidget* m_progress;
    PaneHeader* m_lengthHead;
    QLabel* m_lengthNote;
    LengthHistogram* m_histogram;
    StatStrip* m_tiles;
    Chip* m_problemChip;
    QVBoxLayout* m_problems;
};

}  // namespace luthier::ui
