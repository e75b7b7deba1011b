import os
import threading

import pytest

from ra_core import pool


def test_work_is_done_in_order_by_one_pool_of_as_many_threads_as_cores(monkeypatch):
    monkeypatch.setattr(pool, "own_cores", lambda: 3)
    first, threads = pool.pool(), set()

    def work(item, more):
        threads.add(threading.current_thread().name)
        return item + more

    assert pool.in_threads(work, range(50), range(50)) == [2 * item for item in range(50)]
    assert 1 <= len(threads) <= 3 and pool.pool() is first and pool.pool(5) is not first
    assert pool.in_threads(work, [], []) == []


def test_what_work_raises_is_raised_and_the_pool_lives_on():
    with pytest.raises(ZeroDivisionError):
        pool.in_threads(lambda item: 1 // item, [1, 0, 2])
    assert pool.in_threads(abs, [-1]) == [1]


def test_work_within_work_does_not_wait_for_itself():
    assert pool.in_threads(lambda n: sum(pool.in_threads(abs, range(n), threads=1)), [3, 4], threads=1) == [3, 6]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system forks no processes")
@pytest.mark.filterwarnings("ignore:This process")
def test_a_forked_process_has_a_pool_of_its_own():
    pool.in_threads(abs, [1])
    child = os.fork()
    if not child:
        os._exit(pool.in_threads(abs, [-7])[0])
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
