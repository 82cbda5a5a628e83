// SPDX-License-Identifier: GPL-3.0-or-later
// Another program to drag from, as a file manager would: a small window in the upper right corner
// that hands out the file or folder given as its argument over XDND. Ends 5 s after the drop.
#include <QApplication>
#include <QDrag>
#include <QMimeData>
#include <QMouseEvent>
#include <QScreen>
#include <QTimer>
#include <QUrl>
#include <QWidget>

namespace {

class Source final : public QWidget {
public:
    explicit Source(QString path)
        : QWidget(nullptr, Qt::BypassWindowManagerHint | Qt::WindowStaysOnTopHint),
          m_path(std::move(path)) {
        setWindowTitle("drag source");
        setGeometry(screen()->geometry().width() - 24, 0, 24, 24);
    }

protected:
    void mousePressEvent(QMouseEvent*) override {}
    void mouseMoveEvent(QMouseEvent* event) override {
        if (!(event->buttons() & Qt::LeftButton)) return;
        auto* data = new QMimeData;
        data->setUrls({QUrl::fromLocalFile(m_path)});
        auto* drag = new QDrag(this);
        drag->setMimeData(data);
        const bool isTaken = drag->exec(Qt::CopyAction) == Qt::CopyAction;
        // The other window asks for the data after the drop; a file manager does not go away
        // either.
        QTimer::singleShot(5000, qApp, [isTaken] { QApplication::exit(isTaken ? 0 : 1); });
    }

private:
    QString m_path;
};

}  // namespace

int main(int argc, char** argv) {
    QApplication app(argc, argv);
    if (argc < 2) return 2;
    Source source(QString::fromLocal8Bit(argv[1]));
    source.show();
    return QApplication::exec();
}
