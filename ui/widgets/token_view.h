// SPDX-License-Identifier: GPL-3.0-or-later
#pragma once
// Rows of data as the trainer sees them, one chip a token: what is only read is grey, what carries
// loss blue, what lies behind the maximum length struck out, control tokens outlined. A chip under
// the pointer, or reached with the arrow keys, says its id, position, label and what the base model
// thought of it.

#include <QAbstractScrollArea>
#include <QJsonArray>
#include <QPointer>

#include <vector>

namespace luthier::ui {

enum class TokenState { Prompt, Loss, Cut, Special };

struct TokenChip {
    int id = 0;
    QString text;  ///< as the vocabulary spells it
    TokenState state = TokenState::Prompt;
    double probability = -1;  ///< of the base model; below 0: not asked yet
};

struct TokenRow {
    std::int64_t number = 0;  ///< row in its file, from 1
    bool isEvaluation = false;
    std::int64_t cutTokens = 0;
    QString label;  ///< class, when rows have one
    std::vector<TokenChip> tokens;
};

class TokenView final : public QAbstractScrollArea {
    Q_OBJECT
public:
    enum class Mode { Tokens, Text, Ids };

    TokenView();
    void setRows(std::vector<TokenRow> rows, std::int64_t maxLength);
    void setMode(Mode mode);
    const std::vector<TokenRow>& rows() const { return m_rows; }
    /// Probabilities of the row's kept tokens, in order.
    void setProbabilities(std::size_t row, const QJsonArray& values);

signals:
    void probabilitiesWanted(int row);  ///< the pointer rests on a row whose tokens have none yet
    void rowCopied(const QString& text);

protected:
    void paintEvent(QPaintEvent*) override;
    void resizeEvent(QResizeEvent*) override { layOut(); }
    void mouseMoveEvent(QMouseEvent* event) override;
    void mousePressEvent(QMouseEvent* event) override;
    bool viewportEvent(QEvent* event) override;
    void keyPressEvent(QKeyEvent* event) override;
    void focusInEvent(QFocusEvent* event) override;
    void focusOutEvent(QFocusEvent* event) override;

private:
    struct Placed {
        QRectF box;
        QString shown;
        bool hasDot;
    };
    struct PlacedRow {
        double top = 0, left = 0, height = 0;
        QRectF copy;
        std::vector<Placed> chips;
    };
    void layOut();
    void setCurrent(int row, int token);
    void showPopover();
    void paintHead(QPainter& p, const TokenRow& row, const PlacedRow& place) const;
    void paintChip(QPainter& p, const TokenChip& chip, const Placed& place) const;
    std::pair<int, int> tokenAt(QPointF content) const;

    std::vector<TokenRow> m_rows;
    std::vector<PlacedRow> m_places;
    std::int64_t m_maxLength = 0;
    Mode m_mode = Mode::Tokens;
    int m_columns = 1, m_row = -1, m_token = -1, m_hoverCopy = -1;
    QPointer<QWidget> m_popover;  ///< a child of the window, which may go first
};

/// The vocabulary's spelling as people read it: the space of "▁the" and "Ġthe" taken off into
/// `hasSpace`, line breaks as ↵.
QString readableToken(const QString& piece, bool* hasSpace);

}  // namespace luthier::ui
