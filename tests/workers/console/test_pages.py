"""The pages of the console: figures equal the database, tables as CSV and JSON, hostile names stay text."""

import csv
import io
import re
import shlex
from datetime import datetime, timedelta
from html import unescape
from typing import Any

import pytest

from models.ops_user import Role
from models.paris import PARIS
from tests.kit.builders.contracts import add_contract
from tests.kit.console.busy_day import HOSTILE, beat, fill
from tests.kit.console.scene import make_scene
from tests.kit.console.visiting import console, make_user, visiting
from tests.kit.processes.support import change, forget, rows
from workers.cli.status import SENTENCES
from workers.console.filters import read_at
from workers.console.problems import SOON, shown_problems
from workers.console.routes.system import server_of
from workers.console.texts import TEXTS, IncompleteTexts, Texts
from workers.database import transaction

PAGES = ("/ops", "/ops/queues", "/ops/queues/enrollments", "/ops/system", "/ops/history", "/ops/sessions")


def table_of(answer: Any) -> list[dict[str, Any]]:
    assert (answer.status_code, answer.json()["version"]) == (200, 1)
    found: list[dict[str, Any]] = answer.json()["rows"]
    return found


def test_figures_equal_the_database_of_that_moment() -> None:
    fill()
    with visiting() as visit:
        beat()
        queues = {row["queue"]: row for row in table_of(visit.get("/ops?format=json"))}
        counted = rows("SELECT queue, count(*) FROM job WHERE due_at <= now() AND leased_until IS NULL GROUP BY 1")
        assert {(name, row["waiting"]) for name, row in queues.items() if row["waiting"]} == set(counted)
        enrollments = queues["enrollments"]
        assert (enrollments["running"], enrollments["dead"]) == (3, 7)
        assert (enrollments["in_per_minute"], enrollments["out_per_minute"]) == (9, 25)
        assert (enrollments["outlook"], enrollments["clears_in_seconds"]) == ("clears", 60 * 184 / 16)
        assert {name: row["outlook"] for name, row in queues.items()} == {
            "enrollments": "clears",
            "rosters": "paused",
            "certificates_bulk": "unserved",
            "emails": "empty",
            "emails_bulk": "empty",
            "certificates": "empty",
            "maintenance": "empty",
        }
        page = visit.get("/ops").text
        assert "4 things need a person" in page
        assert all(
            words in page for words in ("clears in", "paused until", "stalled", "360 sent, 60 refused, 0 given up")
        )


def test_a_queue_shows_its_lanes_its_work_and_how_long_it_waited() -> None:
    fill()
    with visiting() as visit:
        lanes = table_of(visit.get("/ops/queues/enrollments?format=json&table=lanes"))
        counted = rows("""
            SELECT CAST(lane AS text), count(*) FROM job WHERE queue = 'enrollments' AND leased_until IS NULL
              AND due_at IS NOT NULL GROUP BY 1 ORDER BY 2 DESC""")
        assert {(row["lane"], row["waiting"]) for row in lanes} == set(counted)
        running = table_of(visit.get("/ops/queues/enrollments?format=json&table=running"))
        assert [row["host"] for row in running] == ["par-01"] * 3 or [row["host"] for row in running] == ["par-02"] * 3
        page = visit.get("/ops/queues/enrollments").text
        assert re.search(r">15 minutes</th>.*?375</td>", page)
        assert visit.get("/ops/queues/nothing").status_code == 404


@pytest.mark.parametrize("path", PAGES)
def test_hostile_names_are_text_on_every_page(path: str) -> None:
    fill()
    change("UPDATE process SET host = :host WHERE kind = 'emails'", host=HOSTILE)
    change("UPDATE schedule SET name = :name WHERE name = 'purge'", name=HOSTILE)
    with visiting(Role.ADMIN) as visit:
        page = visit.get(path).text
        assert "<img" not in page
        assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in page
        assert "&lt;img" in page or path in ("/ops/history", "/ops/sessions", "/ops/queues/enrollments")
        assert not re.search(r"<[^>]+ (style|on\w+)=", page)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/ops", "queues"),
        ("/ops", "processes"),
        ("/ops/queues", "queues"),
        ("/ops/queues/enrollments", "lanes"),
        ("/ops/queues/enrollments", "running"),
        ("/ops/system", "processes"),
        ("/ops/system", "schedules"),
        ("/ops/system", "tables"),
        ("/ops/history", "curve"),
        ("/ops/history?at=2026-01-01", "curve"),
    ],
)
def test_every_table_is_there_for_programs(path: str, name: str) -> None:
    fill()
    change("UPDATE process SET host = '=1+1'")
    with visiting() as visit:
        sign = "&" if "?" in path else "?"
        as_json = visit.get(f"{path}{sign}format=json&table={name}")
        as_csv = visit.get(f"{path}{sign}format=csv&table={name}")
        assert f'filename="{name}-' in as_csv.headers["content-disposition"]
        lines = list(csv.reader(io.StringIO(as_csv.content.decode("utf-8-sig")), delimiter=";"))
        assert lines[0] == list(table_of(as_json)[0])
        assert len(lines) == 1 + len(as_json.json()["rows"])
        assert "=1+1" not in [cell for line in lines for cell in line]


def test_a_table_that_is_unknown_is_the_page() -> None:
    with visiting() as visit:
        for query in ("format=xml", "format=json&table=nothing", "format="):
            assert visit.get(f"/ops?{query}").headers["content-type"].startswith("text/html")


def test_the_past_is_read_from_the_rows() -> None:
    change("""
        INSERT INTO job (id, portal_id, kind, queue, lane, state, created_at, started_at, finished_at, due_at)
        SELECT gen_random_uuid(), (SELECT id FROM portal LIMIT 1), 'enroll', q, gen_random_uuid(), state,
          now() - made, now() - begun, now() - ended, CASE WHEN ended IS NULL THEN now() END
        FROM (VALUES
          ('emails', 'succeeded', interval '4 h', interval '3 h', interval '2 h'),
          ('emails', 'succeeded', interval '4 h', interval '1 h', interval '10 min'),
          ('rosters', 'queued', interval '3 h', NULL, NULL),
          ('rosters', 'dead', interval '9 h', interval '8 h', interval '7 h'),
          ('rosters', 'dead', interval '3 d', interval '3 d', interval '2 d'),
          ('rosters', 'queued', interval '1 h', NULL, NULL)) v (q, state, made, begun, ended)""")
    with visiting() as visit:
        at = {hours: rows(f"SELECT CAST(now() - interval '{hours}' AS text)")[0][0] for hours in ("2.5 h", "30 min")}
        then = table_of(visit.get("/ops/history", params={"at": at["2.5 h"], "format": "json", "table": "then"}))
        assert {(row["queue"], row["not_begun"], row["begun"]) for row in then} == {("emails", 1, 1), ("rosters", 1, 0)}
        then = table_of(visit.get("/ops/history", params={"at": at["30 min"], "format": "json", "table": "then"}))
        assert {(row["queue"], row["not_begun"], row["begun"]) for row in then} == {("emails", 0, 1), ("rosters", 2, 0)}
        page = visit.get("/ops/history", params={"at": at["2.5 h"]}).text
        assert "1 jobs, 0 mails" in page


def test_curves_are_those_of_the_counts() -> None:
    fill()

    def counted(table: str, since: str) -> tuple[object, ...]:
        return rows(f"""
            SELECT sum(rows), sum(rows) FILTER (WHERE state = 'dead') FROM ledger_{table}
            WHERE ledger = 'job' AND {table} > now() - interval '{since}' AND {table} <= now()""")[0]

    with visiting() as visit:
        spans = (("24h", "minute", "24 h", 96), ("7d", "hour", "7 d", 168), ("90d", "hour", "90 d", 90))
        for span, table, since, points in spans:
            before = counted(table, since)
            curve = table_of(visit.get(f"/ops/history?span={span}&format=json&table=curve"))
            assert len(curve) == points
            ended = (sum(row["jobs_ended"] for row in curve), sum(row["jobs_gave_up"] for row in curve))
            assert ended in (before, counted(table, since)), "the minute may turn meanwhile"


@pytest.mark.parametrize(
    "at", ["yesterday", "2126-01-01", "1999-01-01", "9999-12-31T23:59:59-23:00", "0001-01-01", "\0"]
)
def test_a_moment_that_cannot_be_shown_is_said(at: str) -> None:
    with visiting() as visit:
        answer = visit.get("/ops/history", params={"at": at})
        assert (answer.status_code, "This moment cannot be read" in answer.text) == (400, True)


def test_moments_without_a_zone_are_of_paris() -> None:
    assert str(read_at("2026-07-01T14:05")) == "2026-07-01 12:05:00+00:00"
    assert str(read_at("2026-01-01T14:05")) == "2026-01-01 13:05:00+00:00"


@pytest.mark.parametrize("ledger", ["jobs", "mails"])
def test_filters_read_moments_as_pages_show_them(ledger: str) -> None:
    make_scene()
    with visiting() as visit:
        for minutes, found in ((-30, True), (30, False)):
            typed = f"{datetime.now(PARIS) + timedelta(minutes=minutes):%Y-%m-%dT%H:%M}"
            assert bool(table_of(visit.get(f"/ops/{ledger}?since={typed}&format=json"))) is found
        far = visit.get(f"/ops/{ledger}", params={"since": "0001-01-01T00:00+14:00"})
        assert (far.status_code, "cannot be read" in far.text) == (400, True)


def test_a_command_line_quotes_what_a_portal_named() -> None:
    hostile = "$(id);`id`'\"|id"
    with transaction() as session:
        add_contract(session, hostile, seats=1)
    with visiting(Role.OPERATOR) as visit:
        visit.post("/ops/queues/enrollments/pause", **{"for": "h2", "reason": "a test", "lane": hostile})
        page = visit.get("/ops/queues/enrollments").text
    [line] = re.findall(r'<code class="cmd">(matricule queues resume .*?)</code>', page)
    assert shlex.split(unescape(line))[5] == hostile


def test_a_refused_pause_says_why_and_keeps_what_was_typed() -> None:
    with visiting(Role.OPERATOR) as visit:
        for fields, status, words in (
            ({"for": "h2", "reason": "anne@example.fr"}, 400, "Give a short reason"),
            ({"for": "h2", "reason": ""}, 400, "Give a short reason"),
            ({"for": "d99", "reason": "typed before"}, 400, "Choose a time"),
            ({"for": "h2", "reason": "typed before", "lane": "C-404"}, 409, "has no such contract"),
        ):
            answer = visit.post("/ops/queues/rosters/pause", **fields)
            assert (answer.status_code, words in answer.text) == (status, True)
            assert "typed before" not in fields.values() or 'value="typed before"' in answer.text
        answer = visit.post("/ops/queues/rosters/resume", reason="well")
        assert (answer.status_code, "not paused" in answer.text) == (409, True)
    assert rows("SELECT count(*) FROM queue_pause") == [(0,)]


def test_a_reader_sees_what_can_be_done_and_by_whom() -> None:
    with visiting(Role.READER) as visit:
        page = visit.get("/ops/queues/emails").text
        assert "Your role is reader. An operator can do this" in page
        assert "matricule queues pause emails" in page
        assert 'action="/ops/queues/emails/pause"' not in page


def test_pages_answer_while_the_database_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    with visiting(Role.ADMIN) as visit:
        assert visit.get("/ops").status_code == 200
        with monkeypatch.context() as away:
            away.setenv("DATABASE_URL", "postgresql://user:secret@127.0.0.1:1/nothing")
            forget()
            answer = visit.get("/ops")
            assert answer.status_code == 200
            assert "PostgreSQL does not answer" in answer.text
            assert "Nothing that was accepted is lost" in answer.text
            assert "secret" not in answer.text
            assert "anne · reader" in answer.text, "an admin only reads meanwhile"
            assert visit.get("/ops/queues/emails").status_code == 503
            assert visit.client.get("/ops/sign-in").status_code == 503
        forget()
        assert visit.get("/ops").status_code == 200


def test_passwords_in_settings_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMTP_URL", "smtp://relay:geheim@smtp.example.fr:587")
    monkeypatch.setenv("METRICS_TOKEN", "geheimnis")
    forget()
    with visiting(Role.ADMIN) as visit:
        page = visit.get("/ops/system").text
        assert "smtp.example.fr:587" in page
        assert not any(secret in page for secret in ("geheim", "5a5a5a", "3c3c3c"))


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://a:b@host:25", "host:25"),
        ("smtp://a:b@c@host:25?x=1", "host:25"),
        ("unix:///run/redis.sock", ""),
        ("redis+sentinel://u:p@a:1,b:2/m/0", "a:1,b:2"),
        ("http://[", ""),
    ],
)
def test_of_a_server_only_its_host_is_shown(url: str, server: str) -> None:
    assert server_of(url) == server


def test_every_problem_has_its_words_and_one_step() -> None:
    for code in SENTENCES:
        assert TEXTS.has(f"problems.{code}.title"), code
        assert TEXTS.has(f"problems.{code}.text"), code
        [shown] = shown_problems([{"code": code, "subject": "emails", "count": 1}])
        assert bool(shown.step.address) is not bool(shown.step.command), code
        assert not shown.step.address or TEXTS.has(f"problems.step.{shown.step.key}")
    assert set(SENTENCES) >= SOON


def test_what_stops_people_now_stands_first() -> None:
    problems = [{"code": code, "subject": "x", "count": 1} for code in ("queue_paused", "late", "drift", "expired")]
    assert [one.code for one in shown_problems(problems)] == ["late", "drift", "queue_paused", "expired"]


def test_a_problem_of_a_newer_release_is_shown_as_it_is() -> None:
    make_user("anne")
    with visiting(name="nora") as visit, pytest.MonkeyPatch.context() as changed:
        odd = {"code": "brand_new", "subject": "<b>x</b>", "count": 3}
        changed.setattr("workers.ops.status.find_problems", lambda *_: [odd])
        assert "brand_new: &lt;b&gt;x&lt;/b&gt; (3)" in visit.get("/ops").text


def test_the_language_is_kept() -> None:
    make_user("anne")
    with console() as client:
        assert "Sign in" in client.get("/ops/sign-in").text
        assert "Se connecter" in client.get("/ops/sign-in?lang=fr").text
        assert "Se connecter" in client.get("/ops/sign-in").text
        assert "Se connecter" in client.get("/ops/sign-in?lang=de").text


def test_texts_must_be_there_in_both_languages(tmp_path: Any) -> None:
    for text in ('[fr]\na = "x"\n[en]\nb = "x"\n', '[fr]\na = "{x}"\n[en]\na = "{y}"\n'):
        (tmp_path / "one.toml").write_text(text)
        with pytest.raises(IncompleteTexts):
            Texts(tmp_path)


def test_files_of_the_console_are_kept_by_browsers_and_small() -> None:
    make_user("anne")
    with console() as client:
        page = client.get("/ops/sign-in").text
        [address] = re.findall(r'href="(/ops/static/ops\.css\?v=[0-9a-f]+)"', page)
        assert "immutable" in client.get(address).headers["cache-control"]
        script = client.get("/ops/static/live.js")
        assert (script.headers["content-type"], len(script.content) < 3_000) == ("text/javascript; charset=utf-8", True)
        assert client.get("/ops/static/../app.py").status_code == 404
        assert client.get("/ops/static/none.css").status_code == 404
