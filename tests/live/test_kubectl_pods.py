"""logs and exec through the API: WebSocket channels, exit codes, standard input, refusals."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.live.api_house import ApiHouse

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiHouse]:
    house = ApiHouse(tmp_path_factory.mktemp("api"))
    house.start()
    house.kubectl("run", "p", "--image=i:1")
    house.kubectl("run", "waiting", "--image=i:1")
    yield house
    house.stop()


def test_a_command_speaks_on_both_streams_and_its_exit_code_comes_back(house: ApiHouse) -> None:
    done = house.run("exec", "p", "--", "sh", "-c", "echo out; echo err >&2; exit 3")

    assert (done.stdout, done.returncode) == ("out\n", 3)
    assert done.stderr.startswith("err\n") and "command terminated with exit code 3" in done.stderr


def test_standard_input_reaches_the_command_and_its_end_too(house: ApiHouse) -> None:
    text = "line\n" * 50_000

    assert house.run("exec", "-i", "p", "--", "cat", stdin=text).stdout == text


def test_much_output_arrives_whole(house: ApiHouse) -> None:
    done = house.run("exec", "p", "--", "seq", "200000")

    assert done.stdout.splitlines()[-1] == "200000" and done.returncode == 0


def test_a_command_of_several_words_keeps_them_apart(house: ApiHouse) -> None:
    assert house.kubectl("exec", "p", "--", "printf", "%s|", "a b", "c=d", "ü&") == "a b|c=d|ü&|"


def test_exec_in_what_is_not_there_is_not_found(house: ApiHouse) -> None:
    assert 'pods "nope" not found' in house.refused("exec", "nope", "--", "ls")


def test_exec_in_a_container_that_is_not_there_is_refused(house: ApiHouse) -> None:
    assert "container x is not valid for pod p" in house.refused("exec", "p", "-c", "x", "--", "ls")


def test_a_reader_may_not_exec(house: ApiHouse) -> None:
    said = house.refused("exec", "p", "--", "ls", who="viewer")

    assert 'cannot create resource "pods/exec"' in said


def test_logs_are_streamed_and_cut(house: ApiHouse) -> None:
    assert house.kubectl("logs", "p") == "p line 1\np line 2\np line 3\n"
    assert house.kubectl("logs", "p", "--tail=1") == "p line 3\n"
    assert house.kubectl("logs", "p", "--limit-bytes=4") == "p li"


def test_logs_of_a_container_that_has_not_started_say_so(house: ApiHouse) -> None:
    assert "is waiting to start: ContainerCreating" in house.refused("logs", "waiting")


def test_traffic_is_answered_by_the_node(house: ApiHouse) -> None:
    path = "/apis/segue.dev/v1/namespaces/default/pods/p/traffic"

    assert '"passiveOpens":7' in house.kubectl("get", "--raw", path)
    assert "not found" in house.refused("get", "--raw", path.replace("/p/", "/nope/"))
