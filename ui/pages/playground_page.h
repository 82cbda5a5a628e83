// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// Playground: one prompt; the base, adapters of finished runs and mixtures of them side by side,
// written together with one seed on one base in memory; every token underlined by its probability;
// the perplexity of any text under each column.

#include "pages/page.h"
#include "pages/playground_column.h"

#include <QTimer>

class QComboBox;
class QHBoxLayout;
class QLabel;
class QLineEdit;
class QPlainTextEdit;
class QPushButton;
class QScrollArea;
class QStackedWidget;

namespace luthier::ui {

class Banner;
class ElidedLabel;
class EmptyState;
class FactRows;
class PerplexityPane;
class SegmentedControl;
class Toggle;
class UnitField;
class ValueSlider;

class PlaygroundPage final : public Page {
    Q_OBJECT
public:
    explicit PlaygroundPage(Workbench& bench);
    QString title() const override { return tr("Playground"); }
    QString context() const override;
    QList<QWidget*> actions() override;
    void enter() override { fill(); }
    /// `adapter` "" shows the base beside the newest adapters made for it.
    void open(const QString& model, const QString& adapter);
    bool perform(PageCommand command) override;
    bool isSettled() const override {
        return m_bench.catalogue.modelsLoaded() && m_bench.runs.isLoaded() && !m_request &&
               !m_measure;
    }

private:
    QWidget* buildPrompt();
    QWidget* buildSampling();
    QWidget* buildShow();
    void fill();
    void fillMemory();
    void nameMeasured();  ///< tells the perplexity pane whom it measures
    void setModel(const QString& path);
    void setColumns(const QList<ColumnSpec>& specs);
    QList<ColumnSpec> specs() const;
    QList<ColumnSpec> rememberedColumns() const;
    void changeColumns(const QList<ColumnSpec>& wanted, const QString& what);
    void rebuildColumns(int count);
    void addColumn();
    void bindColumn(PlaygroundColumn* column);
    std::vector<AdapterChoice> choicesFor(const QString& model) const;
    QJsonObject chatMessages() const;
    void showMode();
    void countPrompt();
    void generate();
    void finish();
    void measure();
    void showHeat();
    void copyAll();
    void save();
    QString transcript() const;
    void remember();

    QString m_modelPath;
    QStringList m_extraAdapters;  ///< folders opened from elsewhere
    QJsonObject m_modelFacts;
    QComboBox* m_model;
    SegmentedControl *m_mode, *m_sampling;
    QLabel* m_promptNote;
    ElidedLabel* m_sameBase;
    QPlainTextEdit* m_prompt;
    QLineEdit* m_system;
    QPushButton *m_go, *m_add, *m_copy, *m_save;
    Banner* m_banner;
    QStackedWidget* m_body;
    EmptyState* m_empty;
    QScrollArea* m_columnArea;
    QHBoxLayout* m_columnRow;
    QList<PlaygroundColumn*> m_columns;
    PerplexityPane* m_perplexity;
    ValueSlider *m_temperature, *m_topP, *m_topK, *m_penalty;
    UnitField *m_length, *m_seed, *m_stop;
    Toggle *m_heat, *m_difference, *m_together;
    FactRows* m_memory;
    QString m_dtype;
    double m_weightsBytes = 0;
    int m_request = 0, m_measure = 0, m_count = 0;
    QTimer m_countTimer;
};

}  // namespace luthier::ui
