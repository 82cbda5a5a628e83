// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// New run: model, data, name, group and device on a strip; methods | map over form | estimate. Map
// and form are one state, the values of SchemaForm. Every change asks the engine for an estimate
// after 150 ms; answers to older questions are dropped.

#include "pages/page.h"

#include <QTimer>

class QLabel;
class QSplitter;

namespace luthier::ui {

class Banner;
class Chip;
class EstimatePane;
class MethodPicker;
class ModelMap;
class PickerButton;
class PickerField;
class SchemaForm;
class SegmentedControl;
class EmptyState;

class NewRunPage final : public Page {
    Q_OBJECT
public:
    explicit NewRunPage(Workbench& bench);

    QString title() const override { return tr("New run"); }
    QString context() const override {
        return m_origin.isEmpty() ? QString() : tr("from %1").arg(m_origin);
    }
    QList<QWidget*> actions() override { return m_actions; }
    bool perform(PageCommand command) override;
    void enter() override;
    bool isSettled() const override {
        return m_isLoaded && m_pendingCounts.isEmpty() && !m_isAsking &&
               !m_estimateTimer.isActive();
    }

    /// Fills the page from a RUN.json with absolute paths.
    void load(const QJsonObject& config, const QString& origin);
    QJsonObject config() const;

protected:
    void resizeEvent(QResizeEvent*) override;

private:
    void buildStrip(QWidget* strip);
    QWidget* buildCentre();
    void applySchemas();
    void chooseModel(const QString& path);
    void chooseData(const QString& path);
    void chooseMethod(const QString& method);
    void modelMenu();
    void dataMenu();
    void deviceMenu();
    void formChanged();
    void updateMap();
    void updateStrip();
    void ask();        ///< for the estimate
    void askCounts();  ///< one method after the other, for the cards
    void updateStart();
    void start(bool first);
    void loadFile();
    void saveFile();
    void compareMethods();
    void showRunJson();
    void keepState();
    double secondsPerStep() const;

    QString m_origin, m_model, m_data, m_method, m_device = "auto";
    QJsonObject m_modelInfo, m_dataInfo, m_estimate;
    QJsonObject m_pending;  ///< a configuration that waits for the schemas
    QHash<QString, QJsonObject> m_methodValues;
    QHash<QString, QString> m_counts;  ///< "model|method" to words
    QStringList m_pendingCounts;
    QString m_problem;  ///< why Start is disabled
    int m_question = 0;
    bool m_isLoaded = false, m_isAsking = false, m_isLoading = false, m_nameIsOurs = true;

    QList<QWidget*> m_actions;
    PickerButton *m_modelPicker, *m_dataPicker, *m_devicePicker;
    PickerField *m_name, *m_group;
    MethodPicker* m_methods;
    ModelMap* m_map;
    SegmentedControl *m_presets, *m_usual;
    SchemaForm* m_form;
    Chip* m_changed;
    QLabel *m_helpName, *m_helpKey, *m_help;
    EstimatePane* m_estimatePane;
    QSplitter* m_splitter;
    EmptyState* m_noEngine;
    QWidget* m_body;
    QTimer m_estimateTimer;
};

}  // namespace luthier::ui
