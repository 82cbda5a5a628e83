// SPDX-License-Identifier: GPL-3.0-or-later
#include "fixture.h"

#include "client/serve_client.h"

using namespace luthier::ui;

namespace {

struct Answer {
    QJsonValue value;
    ServeProblem problem;
    int results = 0, problems = 0;
    ServeClient::Handlers handlers() {
        return {[this](const QJsonValue& v) {
                    value = v;
                    ++results;
                },
                [this](const ServeProblem& p) {
                    problem = p;
                    ++problems;
                },
                {}};
    }
};

}  // namespace

class ServeClientTest final : public QObject {
    Q_OBJECT
private slots:
    void init() {
        for (const char* name : {"FAKE_DIE", "FAKE_SILENT", "FAKE_GARBLE"}) qunsetenv(name);
    }

    void answersFindTheirRequest() {
        ServeClient client(LUTHIER_FAKE_CLI);
        QObject context;
        Answer first, second;
        client.request("inspect", {{"path", "/models/a"}}, &context, first.handlers());
        client.request("inspect", {{"path", "/data/b.jsonl"}}, &context, second.handlers());
        QTRY_COMPARE_WITH_TIMEOUT(second.results, 1, 20000);
        QCOMPARE(first.results, 1);
        QCOMPARE(first.value["path"].toString(), QString("/models/a"));
        QCOMPARE(second.value["kind"].toString(), QString("dataset"));
    }

    void aProblemKeepsItsHintAndField() {
        ServeClient client(LUTHIER_FAKE_CLI);
        QObject context;
        Answer answer;
        client.request("estimate",
                       {{"config", QJsonObject{{"train", QJsonObject{{"learning_rate", 5}}}}}},
                       &context, answer.handlers());
        QTRY_COMPARE_WITH_TIMEOUT(answer.problems, 1, 20000);
        QCOMPARE(answer.problem.code, QString("out_of_range"));
        QCOMPARE(answer.problem.field, QString("train.learning_rate"));
        QCOMPARE(answer.problem.all.size(), 1);
    }

    void malformedLinesAreSkipped() {
        qputenv("FAKE_GARBLE", "1");
        ServeClient client(LUTHIER_FAKE_CLI);
        QObject context;
        Answer answer;
        for (int i = 0; i < 3; ++i)
            client.request("inspect", {{"path", "/models/a"}}, &context, answer.handlers());
        QTRY_COMPARE_WITH_TIMEOUT(answer.results, 3, 20000);
        QCOMPARE(answer.problems, 0);
    }

    void aDeathFailsEveryOpenRequestAndTheNextOneStartsAgain() {
        qputenv("FAKE_DIE", "preview");
        ServeClient client(LUTHIER_FAKE_CLI);
        QSignalSpy died(&client, &ServeClient::died);
        QObject context;
        Answer first, second;
        client.request("preview", {{"first", 0}, {"count", 1}}, &context, first.handlers());
        client.request("inspect", {{"path", "/models/a"}}, &context, second.handlers());
        QTRY_COMPARE_WITH_TIMEOUT(first.problems, 1, 20000);
        QCOMPARE(second.problems, 1);
        QCOMPARE(died.count(), 1);
        QCOMPARE(first.problem.code, QString("engine_died"));
        QVERIFY2(first.problem.hint.contains("killed by FAKE_DIE"),
                 qPrintable(first.problem.hint));  // its last words
        qunsetenv("FAKE_DIE");
        Answer third;
        client.request("inspect", {{"path", "/models/a"}}, &context, third.handlers());
        QTRY_COMPARE_WITH_TIMEOUT(third.results, 1, 20000);
    }

    /// The session that told of its end is still at it while its handler asks for a new one.
    void aRequestMadeWhileADeathIsToldStartsAgain() {
        qputenv("FAKE_DIE", "preview");
        ServeClient client(LUTHIER_FAKE_CLI);
        QObject context;
        Answer again;
        client.request("preview", {{"first", 0}, {"count", 1}}, &context,
                       {{},
                        [&](const ServeProblem&) {
                            qunsetenv("FAKE_DIE");
                            client.request("inspect", {{"path", "/models/a"}}, &context,
                                           again.handlers());
                        },
                        {}});
        QTRY_COMPARE_WITH_TIMEOUT(again.results, 1, 20000);
        QCOMPARE(again.problems, 0);
    }

    void aSilentEngineIsEndedAndSaysSo() {
        qputenv("FAKE_SILENT", "preview");
        ServeClient client(LUTHIER_FAKE_CLI, 1500);
        QSignalSpy died(&client, &ServeClient::died);
        QObject context;
        Answer answer;
        client.request("preview", {{"first", 0}, {"count", 1}}, &context, answer.handlers());
        const qint64 hung = client.processId();
        QTRY_COMPARE_WITH_TIMEOUT(answer.problems, 1, 20000);
        QCOMPARE(answer.problem.code, QString("engine_silent"));
        QCOMPARE(died.count(), 1);
        QVERIFY(!client.isRunning());
        QVERIFY(::kill(static_cast<pid_t>(hung), 0) != 0);
        qunsetenv("FAKE_SILENT");
        Answer next;
        client.request("inspect", {{"path", "/models/a"}}, &context, next.handlers());
        QTRY_COMPARE_WITH_TIMEOUT(next.results, 1, 20000);
    }

    void anIdleEngineMayBeSilentForever() {
        ServeClient client(LUTHIER_FAKE_CLI, 300);
        QSignalSpy died(&client, &ServeClient::died);
        QObject context;
        Answer answer;
        while (answer.results ==
               0) {  // a slow start may take longer than the short limit of this test
            client.request("inspect", {{"path", "/models/a"}}, &context, answer.handlers());
            QTRY_VERIFY_WITH_TIMEOUT(answer.results + answer.problems > 0, 20000);
            answer.problems = 0;
        }
        died.clear();
        QTest::qWait(800);
        QCOMPARE(died.count(), 0);
        QVERIFY(client.isRunning());
    }

    void aMissingProgramIsAProblemNotACrash() {
        ServeClient client("/nowhere/luthier-cli");
        QObject context;
        Answer answer;
        client.request("methods", {}, &context, answer.handlers());
        QTRY_COMPARE(answer.problems, 1);
        QCOMPARE(answer.problem.code, QString("engine_missing"));
    }

    void noHandlerRunsAfterItsContextIsGone() {
        ServeClient client(LUTHIER_FAKE_CLI);
        auto context = std::make_unique<QObject>();
        Answer gone, last;
        client.request("inspect", {{"path", "/models/a"}}, context.get(), gone.handlers());
        context.reset();
        QObject other;
        client.request("inspect", {{"path", "/models/b"}}, &other, last.handlers());
        QTRY_COMPARE_WITH_TIMEOUT(last.results, 1, 20000);
        QCOMPARE(gone.results, 0);
    }
};

int main(int argc, char** argv) { return runTest<ServeClientTest>(argc, argv); }
#include "serve_client_test.moc"
