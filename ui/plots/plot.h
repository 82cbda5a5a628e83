// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// One plot over QCustomPlot: axes, grid and export are its own; curves are
// drawn here from min/max pyramids, one vertical stroke a pixel column, so a million points cost
// what the screen shows. Its parts are in files of their own: plot_axes, plot_curves, plot_marks,
// plot_overlay, plot_input, plot_words.

#include "plots/minmax_pyramid.h"
#include "plots/plot_group.h"
#include "plots/strip_canvas.h"

#include <QColor>
#include <QElapsedTimer>
#include <QList>
#include <QTimer>
#include <QWidget>

#include <functional>
#include <memory>

class QCustomPlot;
class QPainter;

namespace luthier::ui {

struct Tokens;

struct PlotCurve {
    const std::vector<float>* x = nullptr;
    const std::vector<float>* y = nullptr;
    std::shared_ptr<const void> keep;  ///< whatever owns x and y, when it may go away
    QColor color;
    double width = 2;
    QList<qreal> dash;
    bool isRaw = false;  ///< 1 px, under the others
    bool isVisible = true;
    bool isFilled = false;  ///< to the axis, for memory
    QString label;          ///< at the right end, when shown
    QString meaning;  ///< the label's words in the sentence, the table and the crosshair's table
    bool isStrong = false;
    MinMaxPyramid pyramid;  ///< of y
};

struct PlotMark {
    double x;
    enum Kind { Checkpoint, Resume, Rate, Warning } kind;
};
struct PlotPoint {
    double x, y;
    QColor color;
};  ///< hollow diamond
struct PlotLine {
    double y;
    QColor color;
    QString label;
    bool isDashed;
};
struct TipRow {
    QColor color;
    QList<qreal> dash;
    QString name, value, difference;
    bool isStrong = false;
    enum Shape { Line, Diamond, None } shape = Line;
};

/// A plot as a table: the first column is x.
struct PlotNumbers {
    QStringList columns;
    std::vector<QStringList> rows;
};

class Plot final : public QWidget {
    Q_OBJECT
public:
    enum class YRule { Loss, FromZero, Log, FromZeroOrLog };
    Plot(PlotGroup& group, YRule rule, const QString& accessibleName);
    ~Plot() override;

    std::vector<std::unique_ptr<PlotCurve>> curves;
    std::vector<PlotPoint> points;
    std::vector<PlotMark> marks;
    std::vector<PlotLine> lines;
    QString pointLabel;                 ///< beside the best point
    double hatchFrom = 0, hatchTo = 0;  ///< steps to go; none when equal
    QString hatchLabel, xLabel;
    std::function<std::vector<TipRow>(double x)>
        tip;  ///< rows of the crosshair's table; empty = none on this plot
    bool showEndLabels = false;
    bool showXTag = false;                 ///< "step 612" on the axis
    std::function<QString(double)> yText;  ///< labels of the y axis
    double yUnit = 1;                      ///< y ticks are round multiples of this, such as a MiB

    PlotCurve* addCurve();
    void setLog(bool log);
    bool isLog() const { return m_isLog; }
    void setCompactAxes(bool compact);
    void refresh();  ///< data changed; drawn within 33 ms
    void refreshNow();
    /// Index of the logged point nearest to x in a curve; -1 when it has none.
    static int nearest(const PlotCurve& curve, double x);
    QString xWords(double x) const;
    QString summary() const;      ///< one sentence for screen readers
    PlotNumbers numbers() const;  ///< what is in view as a table, at most 60 rows

    bool exportTo(const QString& file,
                  QSize size);  ///< png, svg or pdf by suffix, in the light theme
    double lastDrawMs() const { return m_lastDrawMs; }

signals:
    void curveClicked(int index);
    void curveHovered(int index);

protected:
    bool eventFilter(QObject* object, QEvent* event) override;
    void resizeEvent(QResizeEvent*) override;
    void keyPressEvent(QKeyEvent*) override;

private:
    void makeAxes();
    void applyTheme();
    void applyRanges();
    void applyMargins();
    MinMax shownRange(double low, double high) const;
    void paintBackground(QPainter& p);
    void paintCurves(QPainter& p, bool raw);
    void paintEvents(QPainter& p);
    void paintPoints(QPainter& p);
    void paintLineLabels(QPainter& p);
    void paintMark(QPainter& p, const PlotMark& mark);
    void paintOverlay(QPainter& p);
    void paintTip(QPainter& p, double atX);
    void paintEndLabels(QPainter& p);
    void mouseMoved(QPointF at);
    void mouseReleased(QPointF at, bool isLeft);
    void moveCrosshair(int by);  ///< logged points
    double coordinate(QPointF at) const;
    const Tokens& tokens() const;
    double pixelX(double x) const;
    double pixelY(double y) const;
    QRectF plotRect() const;
    bool isUnderXLabel(double tick, const QString& text) const;
    double crowding(const QRectF& box) const;
    void paintLabel(QPainter& p, const QString& text, const QList<QPointF>& corners,
                    const QColor& color);
    int curveNear(QPointF point) const;

    PlotGroup& m_group;
    YRule m_rule;
    QCustomPlot* m_plot;
    QTimer m_timer;
    bool m_isLog = false, m_isCompact = false, m_isExporting = false;
    double m_dragFrom, m_dragTo, m_panFrom, m_lastDrawMs = 0;
    int m_endLabelWidth = 0;
    StripCanvas m_canvas;
    QElapsedTimer m_sinceDraw;
    QList<QRectF> m_labels;  ///< places taken by texts inside the plot, of the drawing under way
};

}  // namespace luthier::ui
