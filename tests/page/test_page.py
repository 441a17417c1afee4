"""The status page in a real browser, as one sees it and as one hears it."""

import json
import re
import signal
from contextlib import ExitStack
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.page.browsers import accessibility, watched
from tests.support import free_port, running_sidecar
from tests.toy import ToyProcess

LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": {"width": 320, "height": 640}, "color_scheme": "light"},
    "phone in the dark": {"viewport": {"width": 320, "height": 640}, "color_scheme": "dark"},
}
# What Chromium itself says when nobody listens any more.
REFUSED = ("Failed to load resource: net::ERR_",)
FLIP = 40_000  # the demo's flaky model does it every 25 s


def verdict(page: Page):
    return page.get_by_role("heading", level=1)


def row(page: Page, name: str):
    return page.get_by_role("row").filter(has=page.get_by_role("rowheader", name=name))


@pytest.fixture
def log(tmp_path):
    return tmp_path / "sidecar.log"


def test_the_first_view_tells_the_verdict_and_every_check(browser, demo):
    with watched(browser, demo.port) as seen:
        page = seen.page
        expect(verdict(page)).to_have_text(re.compile("^(Ready|Not ready)$"))
        expect(page.get_by_role("table").get_by_role("columnheader")).to_have_text(
            ["Check", "Status", "Reason", "For", "Last answer", "Last 60 answers"]
        )
        expect(page.get_by_role("rowheader")).to_have_count(11)
        steady = row(page, "model:steady")
        expect(steady).to_contain_text("serving")
        expect(steady.get_by_role("cell").nth(3)).to_contain_text(re.compile(r"ok in .* ms, "))
        expect(steady.get_by_role("img")).to_have_accessible_name(
            re.compile(r"Of the last \d+ answers none failed")
        )
        expect(page.get_by_role("listitem").filter(has_text="/healthz")).to_contain_text("passes")
        expect(page.get_by_text("Kept up to date; last at")).to_be_visible()
        assert re.fullmatch(r"(Ready|Not ready) \u2013 127\.0\.0\.1:\d+", page.title())


def test_a_model_that_flips_is_seen_first_and_read_aloud_and_then_well_again(browser, demo):
    with watched(browser, demo.port) as seen:
        page = seen.page
        told = page.get_by_role("status")
        expect(verdict(page)).to_have_text("Ready", timeout=FLIP)
        expect(page.locator("#reasons")).to_contain_text("model:flaky error", timeout=FLIP)
        expect(verdict(page)).to_have_text("Not ready")
        expect(told).to_have_text("Not ready")
        expect(page.get_by_role("rowheader").first).to_have_text("model:flaky")
        expect(row(page, "model:flaky")).to_contain_text("not serving")
        expect(verdict(page)).to_have_text("Ready", timeout=FLIP)
        expect(told).to_have_text("Ready")
        expect(row(page, "model:flaky")).to_contain_text("Last failed")


def test_the_failures_are_reached_and_opened_with_the_keyboard_and_stay_so(browser, demo):
    with watched(browser, demo.port) as seen:
        page = seen.page
        summary = row(page, "model:slow-to-load").locator("summary")
        expect(summary).to_be_visible()
        page.get_by_role("searchbox").focus()
        for _ in range(10):
            page.keyboard.press("Tab")
            if summary.evaluate("node => node === document.activeElement"):
                break
        page.keyboard.press("Enter")
        expect(row(page, "model:slow-to-load").get_by_role("listitem")).to_contain_text("not_ready")
        with page.expect_response("**/status"), page.expect_response("**/status"):
            pass
        expect(summary).to_be_focused()
        expect(row(page, "model:slow-to-load").get_by_role("listitem")).to_be_visible()


def test_a_model_that_is_ready_in_name_only_is_seen(browser, demo):
    with watched(browser, demo.port) as seen:
        page = seen.page
        expect(page.locator("#reasons")).to_contain_text("canary:dead-worker error", timeout=FLIP)
        expect(row(page, "canary:dead-worker")).to_contain_text("not serving")
        expect(row(page, "model:dead-worker")).to_contain_text("serving")
        expect(verdict(page)).to_have_text("Ready", timeout=FLIP)


def test_a_canary_tells_how_long_it_waits_or_took_and_what_it_lacks(browser, log):
    refusal = {"status": "INVALID_ARGUMENT", "details": "unexpected shape"}
    models = dict.fromkeys("abc", True)
    flags = ("--models=a,b,c", "--canary=auto", "--canary-period-seconds=0.2")
    with (
        ToyProcess(models=models, inferences={"a": "silence", "b": refusal}) as toy,
        running_sidecar(log, f"--server-url={toy.url}", *flags) as sidecar,
        watched(browser, sidecar.port) as seen,
    ):
        page = seen.page
        expect(row(page, "canary:a")).to_contain_text(
            re.compile(r"has waited for a reply for \d+ s")
        )
        expect(row(page, "canary:b")).to_contain_text("unconfigured: no request is known")
        expect(row(page, "canary:c").get_by_role("img")).to_have_accessible_name(
            re.compile(r"Of the last \d+ answers none failed; they took .* ms to .* ms")
        )


def test_the_repository_is_shown_where_models_are_discovered(browser, log):
    row_of = {
        "name": "<b>bert</b>",
        "version": "3",
        "state": "unavailable",
        "reason": "no <memory>",
    }
    with (
        ToyProcess(models={"a": True}) as toy,
        running_sidecar(log, f"--server-url={toy.url}", "--models=a") as sidecar,
        watched(browser, sidecar.port) as seen,
    ):
        page = seen.page
        expect(page.get_by_role("heading", name="Repository")).to_be_hidden()

        def with_repository(route):
            report = route.fetch().json()
            states = {"ready": 2, "unavailable": 1, "missing": 0}
            report["repository"] = {"states": states, "left_out": 4, "models": [row_of]}
            route.fulfill(json=report)

        page.route("**/status", with_repository)
        page.reload()
        expect(page.locator("#repository-states")).to_have_text(
            "2 ready, 1 unavailable. 4 models more are not checked."
        )
        expect(page.locator("#repository-models").get_by_role("listitem")).to_have_text(
            "<b>bert</b>:3 unavailable no <memory>"
        )


@pytest.mark.parametrize("look", LOOKS)
def test_axe_finds_nothing_wrong_and_nothing_sticks_out(browser, demo, look):
    with watched(browser, demo.port, **LOOKS[look]) as seen:
        page = seen.page
        expect(page.get_by_role("rowheader")).to_have_count(11)
        summary = row(page, "model:slow-to-load").locator("summary")
        summary.click()
        assert accessibility(page) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_it_is_dark_where_one_wants_it_dark(browser, demo):
    with watched(browser, demo.port, color_scheme="dark") as seen:
        expect(seen.page.locator("body")).to_have_css("background-color", "rgb(21, 24, 26)")


@pytest.mark.parametrize(
    ("motion", "animation"), [("reduce", "none"), ("no-preference", "changed")]
)
def test_nothing_moves_for_those_who_want_no_motion(browser, demo, motion, animation):
    with watched(browser, demo.port, reduced_motion=motion) as seen:
        node = row(seen.page, "model:steady")
        node.evaluate("node => node.classList.add('changed')")
        expect(node).to_have_css("animation-name", animation)


@pytest.mark.parametrize("look", ["light", "dark"])
def test_it_says_so_when_the_sidecar_no_longer_answers_and_when_it_does_again(browser, log, look):
    with ToyProcess(models={"a": True}) as toy:
        flags = (f"--http-port={free_port()}", "--models=a", f"--server-url={toy.url}")
        with running_sidecar(log, *flags) as sidecar:
            port = sidecar.port
            with watched(browser, port, complaints=REFUSED, **LOOKS[look]) as seen:
                page = seen.page
                expect(verdict(page)).to_have_text("Ready")
                sidecar.signal(signal.SIGKILL)
                sidecar.wait()
                expect(verdict(page)).to_have_text("No answer from the sidecar")
                expect(page.get_by_role("status")).to_have_text("No answer from the sidecar")
                expect(page.locator("#reasons")).to_contain_text("The verdict was “Ready”")
                expect(page.get_by_text("Out of date; last at")).to_be_visible()
                assert accessibility(page) == []
                with running_sidecar(log, *flags):
                    expect(verdict(page)).to_have_text("Ready")


def test_a_page_that_hangs_is_no_answer_either(browser, log):
    with ToyProcess(models={}) as toy, running_sidecar(log, f"--server-url={toy.url}") as sidecar:
        with watched(browser, sidecar.port, complaints=REFUSED) as seen:
            expect(verdict(seen.page)).to_have_text("Ready")
            sidecar.signal(signal.SIGSTOP)
            expect(verdict(seen.page)).to_have_text("No answer from the sidecar", timeout=20_000)
            sidecar.signal(signal.SIGCONT)
            expect(verdict(seen.page)).to_have_text("Ready")


@pytest.mark.parametrize("document", ["{}", "null", "[]", "of another program"])
def test_what_is_no_document_of_the_sidecars_is_no_answer(browser, log, document):
    with ToyProcess(models={}) as toy, running_sidecar(log, f"--server-url={toy.url}") as sidecar:
        with watched(browser, sidecar.port) as seen:
            expect(verdict(seen.page)).to_have_text("Ready")
            seen.page.route("**/status", lambda route: route.fulfill(body=document))
            expect(verdict(seen.page)).to_have_text("No answer from the sidecar")
            seen.page.unroute("**/status")
            expect(verdict(seen.page)).to_have_text("Ready")


def test_a_drain_a_dead_server_and_one_never_heard_of_are_told_apart(browser, log):
    toy = ToyProcess(models={"a": True})
    flags = (f"--server-url={toy.url}", "--models=a", "--drain-seconds=30")
    with running_sidecar(log, *flags) as sidecar, watched(browser, sidecar.port) as seen:
        page = seen.page
        with toy:
            expect(verdict(page)).to_have_text("Ready")
        expect(verdict(page)).to_have_text("Server not live")
        expect(page.locator("#reasons")).to_contain_text("unreachable no connection to the server")
        assert accessibility(page) == []
        sidecar.signal(signal.SIGTERM)
        expect(verdict(page)).to_have_text("Draining")
        assert accessibility(page) == []
        sidecar.signal(signal.SIGTERM)
        sidecar.wait()


def test_the_meanings_are_those_that_the_status_tells(browser, log):
    with (
        ToyProcess(models={"a": False}) as toy,
        running_sidecar(log, f"--server-url={toy.url}", "--models=a") as sidecar,
        watched(browser, sidecar.port) as seen,
    ):
        page = seen.page
        expect(verdict(page)).to_have_text("Not ready")

        def reword(route):
            report = route.fetch().json()
            report["meanings"] = {name: f"meaning of {name}" for name in report["meanings"]}
            for name, endpoint in report["endpoints"].items():
                endpoint["meaning"] = f"meaning of {name}"
            route.fulfill(json=report)

        page.route("**/status", reword)
        page.reload()
        reasons = page.locator("#reasons").get_by_role("listitem")
        expect(reasons.filter(has_text="model:a")).to_have_text(
            "model:a not_ready meaning of not_ready"
        )
        endpoints = page.locator("#endpoints").get_by_role("listitem")
        expect(endpoints).to_have_text(
            [
                re.compile(rf"^ ?/{name} (passes|fails)meaning of {name}$")
                for name in ("healthz", "readyz", "startupz", "livez")
            ]
        )


def test_a_policy_that_spares_a_failing_model_is_explained(browser, log):
    with (
        ToyProcess(models={"a": True, "b": False}) as toy,
        running_sidecar(
            log, f"--server-url={toy.url}", "--models=a,b", "--readiness-policy=any",
            "--require-server-ready=false",
        ) as sidecar,
        watched(browser, sidecar.port) as seen,
    ):  # fmt: skip
        expect(verdict(seen.page)).to_have_text("Ready")
        reasons = seen.page.locator("#reasons")
        expect(reasons).to_contain_text("1 of 2 required models ready, 1 needed.")
        expect(reasons).to_contain_text("allowed by the policy")
        expect(row(seen.page, "server-ready")).to_contain_text("does not gate /readyz")


def test_settings_that_were_refused_are_told(browser, log, tmp_path):
    config = tmp_path / "sidecar.yaml"
    config.write_text("models: [a]\n")
    with ToyProcess(models={"a": True}) as toy:
        with (
            running_sidecar(log, f"--server-url={toy.url}", f"--config={config}") as sidecar,
            watched(browser, sidecar.port) as seen,
        ):
            facts = seen.page.locator("#sidecar")
            expect(facts).to_contain_text("loaded")
            config.write_text("models: 7.5\n")
            expect(facts).to_contain_text("newer ones were refused")
            config.write_text("models: [b]\n")
            expect(row(seen.page, "model:b")).to_contain_text("model_not_found")
            expect(row(seen.page, "model:a")).to_have_count(0)
            expect(facts).not_to_contain_text("refused")


def test_names_are_text_however_they_look(browser, log):
    names = ["<img src=x onerror=alert(1)>", "a&amp;b", "x" * 200, "é中"]
    with ToyProcess(models=dict.fromkeys(names, True)) as toy:
        flags = (f"--server-url={toy.url}", f"--models={json.dumps(names)}")
        with (
            running_sidecar(log, *flags) as sidecar,
            watched(browser, sidecar.port, **LOOKS["phone"]) as seen,
        ):
            heads = seen.page.get_by_role("rowheader")
            expect(heads).to_have_count(3 + len(names))
            assert heads.all_inner_texts()[3:] == [f"model:{name}" for name in names]
            assert seen.page.locator("img:not(svg)").count() == 0
            assert seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_thousand_models_stay_usable(browser, log):
    names = [f"model-{number}" for number in range(1000)]
    models = dict.fromkeys(names, True) | {"model-777": False}
    with ToyProcess(models=models) as toy:
        flags = (f"--server-url={toy.url}", f"--models={','.join(names)}")
        rounds = ("--period-seconds=5", "--recovery-period-seconds=5")
        with running_sidecar(log, *flags, *rounds) as sidecar, ExitStack() as stack:
            # The whole round, or the page would not ask again for some seconds.
            sidecar.wait_for_line("[+]model:model-999 ok")
            page = stack.enter_context(watched(browser, sidecar.port)).page
            heads = page.get_by_role("rowheader")
            expect(page.get_by_text("1,003 checks, 2 failing")).to_be_visible()
            expect(heads).to_have_count(200)
            expect(heads.nth(0)).to_have_text("model:model-777")
            page.get_by_role("searchbox").fill("MODEL-99")
            expect(heads).to_have_count(11)
            expect(page.get_by_text("11 of 1,003 checks, 2 failing")).to_be_visible()
            page.get_by_role("searchbox").fill("not_ready")
            gates_nothing = "server-readydoes not gate /readyz"
            expect(heads).to_have_text(["model:model-777", gates_nothing])
            page.get_by_role("searchbox").fill("")
            page.get_by_role("button", name="Show all 1,003").click()
            expect(heads).to_have_count(1003)
            milliseconds = page.evaluate(
                "() => { const start = performance.now(); showChecks(latest, Date.now() + 1e4);"
                " document.body.offsetHeight; return performance.now() - start; }"
            )
            assert milliseconds < 2000
            assert accessibility(page) == []


SLOW = """
  window.asked = [];
  const plain = window.fetch;
  window.fetch = async (...given) => {
    asked.push(performance.now());
    await new Promise((done) => setTimeout(done, 600));
    if (FAILS) throw new TypeError("no answer");
    return plain(...given);
  };
"""


@pytest.mark.parametrize("fails", [False, True])
def test_it_asks_less_often_when_answers_are_slow(browser, demo, fails):
    with browser.new_context(bypass_csp=True) as context:
        page = context.new_page()
        page.add_init_script(SLOW.replace("FAILS", str(fails).lower()))
        page.goto(f"http://127.0.0.1:{demo.port}/")
        page.wait_for_function("asked.length >= 2")
        first, second = page.evaluate("asked")
        assert second - first >= 10 * 600


def test_without_its_script_it_says_where_the_same_stands(browser, demo):
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{demo.port}/")
        expect(page.get_by_text("This page needs its script.")).to_be_visible()


def test_it_works_under_another_path_as_through_the_api_server(browser, demo):
    with browser.new_context() as context:
        page = context.new_page()
        origin = f"http://127.0.0.1:{demo.port}"

        def forward(route):
            route.fulfill(
                response=route.fetch(url=origin + route.request.url.partition("proxy")[2])
            )

        context.route("**/proxy/**", forward)
        page.goto(f"{origin}/api/v1/namespaces/default/pods/inference:9808/proxy/")
        expect(verdict(page)).to_have_text(re.compile("^(Ready|Not ready)$"))
