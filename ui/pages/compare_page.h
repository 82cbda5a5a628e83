// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// Compare: a table of runs against a pinned baseline, their curves under one crosshair, quality
// against cost, and what differs between their configurations. One selection for all of them.

#include "pages/page.h"
#include "plots/plot.h"
#include "plots/smoothing.h"

#include <QSet>
#include <QTimer>

class QComboBox;
class QGridLayout;
class QLabel;
class QLineEdit;
class QSlider;
class QStackedWidget;

namespace luthier::ui {

class EmptyState;
class PaneHeader;
class ScatterPlot;
class SegmentedControl;
class SimpleTable;
class Toggle;

class ComparePage final : public Page {
    Q_OBJECT
public:
    explicit ComparePage(Workbench& bench);
    QString title() const override { return tr("Compare"); }
    QString context() const override;
    void enter() override { refreshRuns(); }
    bool perform(PageCommand command) override;
    bool isSettled() const override {
        return m_bench.runs.isLoaded() && m_loading == 0 && m_smoothing.isEmpty() &&
               !m_rebuildTimer.isActive();
    }

private:
    /// A run's loss smoothed, with its pyramid: made by a worker thread, never changed after that.
    struct Curve {
        std::shared_ptr<const RunRecord> record;
        std::vector<float> smoothed;
        MinMaxPyramid pyramid;
        int weight = 0;  ///< hundredths
    };
    void refreshRuns();
    void fillTable();
    void showCounts();
    void loadCurves();
    void rebuildCurves();
    void fillScatter();
    void fillDifferences();
    void toggleShown(const QString& id);
    void setBaseline(const QString& id);
    void exportAs(const QString& suffix);
    void saveReport();
    std::vector<const RunInfo*> visibleRuns() const;
    const std::vector<float>* xsOf(const RunRecord& record) const;
    std::vector<TipRow> tip(double x) const;

    QSet<QString> m_hidden;
    QString m_baseline, m_selected, m_signature, m_differenceSignature;
    void smooth(const QString& id, std::shared_ptr<const RunRecord> record);
    std::map<QString, std::shared_ptr<const Curve>> m_curves;
    QSet<QString> m_smoothing;  ///< ids a worker thread is at
    QTimer m_rebuildTimer;
    QStringList m_curveIds;
    int m_loading = 0;
    QStackedWidget* m_stack;
    EmptyState* m_empty;
    QComboBox* m_group;
    QLineEdit* m_filter;
    QLabel* m_summary;
    SimpleTable* m_table;
    PlotGroup m_plotGroup;
    Plot* m_plot;
    QSlider* m_slider;
    ScatterPlot* m_scatter;
    SegmentedControl *m_unit, *m_what;
    QComboBox* m_cost;
    QGridLayout* m_differences;
    QLabel* m_differenceNote;
    Toggle* m_onlyDifferent;
};

/// Quality (lower is better) against a cost on a log axis; dominated points hollow, the Pareto
/// front stepped.
class ScatterPlot final : public QWidget {
    Q_OBJECT
public:
    enum class Ticks { OfTen, OfTwo };  ///< bytes are read in powers of two
    struct Point {
        QString id, label;
        double x, y;
        QColor color;
    };
    ScatterPlot() {
        setMouseTracking(true);
        setAccessibleName(tr("Quality and cost"));
    }
    void set(std::vector<Point> points, const QString& xLabel, Ticks ticks,
             std::function<QString(double)> xText, const QString& selected);

signals:
    void clicked(const QString& id);

protected:
    void paintEvent(QPaintEvent*) override;
    void mousePressEvent(QMouseEvent*) override;
    bool event(QEvent*) override;

private:
    void paintLabels(QPainter& p, const QRectF& area, const QPolygonF& front) const;
    int pointAt(QPointF position) const;
    QString words(const Point& point) const;
    std::vector<Point> m_points;
    std::vector<QPointF> m_at;
    QString m_xLabel, m_selected;
    Ticks m_ticks = Ticks::OfTen;
    std::function<QString(double)> m_xText;
};

}  // namespace luthier::ui
