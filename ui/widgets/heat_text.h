// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// Text whose tokens are underlined by how surprised a model was: none at p >= 0.8, then 2, 3 and 4
// px and stronger. In difference mode the accent marks what an adapter made more likely than the
// base, dashes what it made less likely. Hovering a token, or the arrow keys, show its probability
// and what else the model had in mind.

#include <QAbstractScrollArea>
#include <QPointer>
#include <QTextLayout>

#include <vector>

namespace luthier::ui {

struct HeatAlternative {
    QString text;
    double probability = 0;
};

struct HeatToken {
    QString text;
    double probability = -1;      ///< below 0: not known (the first token of a text)
    double baseProbability = -1;  ///< below 0: not known
    std::vector<HeatAlternative> alternatives;
};

/// Width of the underline for a probability, 0 for none, and its share of the warn colour.
struct HeatLevel {
    int pixels;
    double strength;
};
HeatLevel heatLevel(double probability);

class HeatText final : public QAbstractScrollArea {
    Q_OBJECT
public:
    enum class Mode { Plain, Probability, Difference };

    explicit HeatText(const QString& accessibleName);
    void clear();
    void append(HeatToken token);
    void setTokens(std::vector<HeatToken> tokens);
    void setBaseProbabilities(const std::vector<double>& values);
    void setMode(Mode mode);
    /// Shown in t3 while there is no token.
    void setPlaceholder(const QString& text);
    void setTokenColor(const QColor& color) {
        m_color = color;
    }  ///< of the chosen token's bar in the popover
    const std::vector<HeatToken>& tokens() const { return m_tokens; }
    QString text() const;

protected:
    void paintEvent(QPaintEvent*) override;
    void resizeEvent(QResizeEvent*) override;
    void changeEvent(QEvent* event) override;
    void mouseMoveEvent(QMouseEvent* event) override;
    bool viewportEvent(QEvent* event) override;
    void keyPressEvent(QKeyEvent* event) override;
    void focusInEvent(QFocusEvent* event) override;
    void focusOutEvent(QFocusEvent* event) override;
    void contextMenuEvent(QContextMenuEvent* event) override;

private:
    void layOut();
    void scheduleLayout();
    std::vector<QRectF> boxesOf(std::size_t token) const;  ///< in content coordinates, one a line
    int tokenAt(QPointF content) const;
    void setCurrent(int token);
    void showPopover();

    std::vector<HeatToken> m_tokens;
    std::vector<int> m_starts;  ///< first character of each token in m_text; one more at the end
    QString m_text, m_placeholder;
    QTextLayout m_layout;
    QColor m_color;
    Mode m_mode = Mode::Probability;
    int m_current = -1;
    double m_height = 0;
    bool m_isLayoutDue = false;
    QPointer<QWidget> m_popover;  ///< a child of the window, which may go first
};

}  // namespace luthier::ui
